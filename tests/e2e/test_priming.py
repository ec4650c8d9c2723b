"""Start from a picture: every way in, crop, borders by pointer, touch and keys, and files that are no pictures."""

import base64
from pathlib import Path

import numpy as np
import pytest
from conftest import visit
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from steps import await_gallery, draw, open_page, open_panel, set_number
from test_access import faults

import dalle
from dalle.images import read_picture

HANDLE, WINDOW = "#canvas .handle", "#canvas .window"


@pytest.fixture
def studio(stripes):
    studio, _ = stripes
    studio.pause = 0.02
    return studio


@pytest.fixture
def desk(page: Page, stripes) -> Page:
    """The page, with the panel open."""
    open_page(page, stripes[1])
    open_panel(page, "priming")
    return page


def upload(page: Page, path: Path) -> None:
    page.locator("#prime input[type=file]").set_input_files(path)


def start_from(page: Page, path: Path) -> None:
    """Uploads a picture and waits until all of the panel is there."""
    upload(page, path)
    for part in (HANDLE, "#rows", "#unprime"):
        expect(page.locator(part)).to_be_visible()
    expect(page.locator("#prime")).to_be_hidden()


def seen(page: Page) -> np.ndarray:
    """(h, w) gray values of the picture on the canvas, one for each token of the fake studio."""
    expect(page.locator("#canvas .reading")).to_have_count(0)  # a crop was read
    pixels = page.locator("#canvas .primed img").evaluate(
        """async (img) => {
          await img.decode();
          const canvas = new OffscreenCanvas(16, 16), brush = canvas.getContext("2d");
          brush.drawImage(img, 0, 0, 16, 16);
          return [...brush.getImageData(0, 0, 16, 16).data].filter((_, i) => i % 4 === 0);
        }"""
    )
    return np.array(pixels).reshape(16, 16)


def stripes_from_left_to_right(path: Path) -> Path:
    """480 x 160: black, gray, white squares side by side."""
    picture = Image.new("RGB", (480, 160), "gray")
    picture.paste("black", (0, 0, 160, 160))
    picture.paste("white", (320, 0, 480, 160))
    picture.save(path)
    return path


def kept_by(page: Page, studio) -> np.ndarray:
    """(h, w) whether a drawing keeps the token."""
    draw(page, "a red bird")
    await_gallery(page)
    return studio.requests[-1].kept >= 0


def test_the_top_rows_are_kept_just_under_half_at_first(desk: Page, studio, tmp_path: Path):
    set_number(desk, "samples", 1)
    start_from(desk, stripes_from_left_to_right(tmp_path / "a.png"))
    expect(desk.locator(HANDLE)).to_have_attribute("aria-valuetext", "7 of 16 rows kept")
    kept = kept_by(desk, studio)
    assert kept[:7].all() and not kept[7:].any()
    expect(desk.locator("#pictures .card svg.kept")).to_have_count(1)  # outlined in the result
    desk.get_by_role("button", name="Remove the picture").click()
    expect(desk.locator("#prime")).to_be_visible()
    draw(desk, "a red bird")
    await_gallery(desk)
    assert studio.requests[-1].kept is None


def test_the_border_moves_by_pointer_keys_and_slider(desk: Page, studio, tmp_path: Path):
    set_number(desk, "samples", 1)
    start_from(desk, stripes_from_left_to_right(tmp_path / "a.png"))
    handle, plate = desk.locator(HANDLE), desk.locator("#canvas .primed")
    handle.scroll_into_view_if_needed()
    box, grip = plate.bounding_box(), handle.bounding_box()
    desk.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    desk.mouse.down()
    desk.mouse.move(grip["x"], box["y"] + box["height"] * 10 / 16)
    desk.mouse.up()
    expect(handle).to_have_attribute("aria-valuenow", "10")
    expect(desk.locator("#rows input[type=number]")).to_have_value("10")
    handle.press("ArrowUp")
    handle.press("ArrowUp")
    expect(handle).to_have_attribute("aria-valuenow", "8")
    handle.press("End")
    expect(handle).to_have_attribute("aria-valuenow", "15")
    set_number(desk, "rows", 3)
    expect(handle).to_have_attribute("aria-valuetext", "3 of 16 rows kept")
    kept = kept_by(desk, studio)
    assert kept[:3].all() and not kept[3:].any()


def test_all_but_the_lower_right_corner_is_kept(desk: Page, studio, tmp_path: Path):
    set_number(desk, "samples", 1)
    start_from(desk, stripes_from_left_to_right(tmp_path / "a.png"))
    desk.get_by_role("button", name="All but a corner").click()
    handle = desk.locator(HANDLE)
    handle.press("ArrowRight")
    handle.press("ArrowDown")
    expect(handle).to_have_attribute("aria-valuetext", "8 of 16 rows, 9 of 16 columns kept")
    free = ~kept_by(desk, studio)
    assert free[8:, 9:].all() and free.sum() == 8 * 7
    desk.get_by_role("button", name="Top rows", exact=True).click()
    kept = kept_by(desk, studio)
    assert kept[:8].all() and not kept[8:].any()


def test_the_crop_moves_by_keys_and_by_pointer(desk: Page, tmp_path: Path):
    start_from(desk, stripes_from_left_to_right(tmp_path / "a.png"))
    assert seen(desk) == pytest.approx(128, abs=12)
    desk.get_by_role("button", name="Crop").click()
    window = desk.locator(WINDOW)
    for _ in range(16):
        window.press("ArrowRight")
    desk.get_by_role("button", name="What is kept").click()
    expect(desk.locator("#canvas .crop")).to_have_attribute("data-x", "320")
    assert (seen(desk) > 240).all()
    desk.get_by_role("button", name="Crop").click()
    box = window.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    desk.mouse.move(*middle)
    desk.mouse.down()
    desk.mouse.move(middle[0] + box["width"] * 5, middle[1])  # further than there is picture
    desk.mouse.up()
    desk.get_by_role("button", name="What is kept").click()
    expect(desk.locator("#canvas .crop")).to_have_attribute("data-x", "0")
    assert (seen(desk) < 15).all()


def test_the_crop_zooms(desk: Page, tmp_path: Path):
    picture = Image.new("RGB", (200, 200), "white")
    picture.paste("black", (75, 75, 125, 125))
    picture.save(tmp_path / "dot.png")
    start_from(desk, tmp_path / "dot.png")
    desk.get_by_role("button", name="Crop").click()
    for _ in range(20):
        desk.locator(WINDOW).press("+")
    desk.locator(".zoom input").evaluate(
        "(zoom) => { zoom.value = 5; zoom.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    desk.get_by_role("button", name="What is kept").click()
    expect(desk.locator("#canvas .crop")).to_have_attribute("data-side", "40")
    assert (seen(desk) < 15).all()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_canvas(browser: Browser, stripes, tmp_path: Path, scheme: str):
    for page in visit(browser, color_scheme=scheme):
        open_page(page, stripes[1])
        open_panel(page, "priming")
        start_from(page, stripes_from_left_to_right(tmp_path / "a.png"))
        page.get_by_role("button", name="All but a corner").click()
        assert faults(page) == []
        page.get_by_role("button", name="Crop").click()
        assert faults(page) == []


def test_fingers_move_the_border(browser: Browser, stripes, tmp_path: Path):
    for page in visit(browser, viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark"):
        open_page(page, stripes[1])
        open_panel(page, "priming")
        start_from(page, stripes_from_left_to_right(tmp_path / "a.png"))
        handle = page.locator(HANDLE)
        handle.scroll_into_view_if_needed()
        grip, plate = handle.bounding_box(), page.locator("#canvas .primed").bounding_box()
        scrolled = page.evaluate("scrollY")
        x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
        finger = page.context.new_cdp_session(page)
        touch = {"touchStart": [(x, y)], "touchMove": [(x, plate["y"] + plate["height"] * 4 / 16)], "touchEnd": []}
        for kind, points in touch.items():
            places = [{"x": px, "y": py} for px, py in points]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
        expect(handle).to_have_attribute("aria-valuenow", "4")
        assert page.evaluate("scrollY") == scrolled  # the page did not follow the finger
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def give(page: Page, path: Path, event: str, target: str) -> None:
    """Pastes or drops a picture somewhere."""
    data = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([data, event, target]) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const files = new DataTransfer();
          files.items.add(new File([bytes], "image.png", { type: "image/png" }));
          const told = { clipboardData: files, dataTransfer: files, bubbles: true, cancelable: true };
          const kind = event === "paste" ? ClipboardEvent : DragEvent;
          document.querySelector(target).dispatchEvent(new kind(event, told));
        }""",
        [data, event, target],
    )


def test_a_picture_is_pasted_anywhere_and_the_next_one_takes_its_place(page: Page, stripes, tmp_path: Path):
    open_page(page, stripes[1])
    give(page, stripes_from_left_to_right(tmp_path / "a.png"), "paste", "body")
    expect(page.locator(HANDLE)).to_be_visible()
    assert seen(page) == pytest.approx(128, abs=12)
    shown = page.locator("#canvas .primed img").get_attribute("src") or ""
    Image.new("RGB", (50, 50), "white").save(tmp_path / "b.png")
    give(page, tmp_path / "b.png", "drop", "#canvas")
    expect(page.locator("#canvas .primed img")).not_to_have_attribute("src", shown)
    assert (seen(page) > 240).all()


def test_a_template_that_needs_a_picture_leads_to_the_panel(page: Page, stripes):
    open_page(page, stripes[1])
    page.get_by_role("tab", name="Templates").click()
    page.locator("#templates .family", has_text="Image to image").click()
    page.get_by_role("button", name="start from one").click()
    expect(page.locator("#prime")).to_be_visible()


# Files of every kind: each ends in the right picture or in a sentence.


def _turned(path: Path) -> None:
    """Left half red, right half blue, and a note that says: turn by 90 degrees."""
    picture = Image.new("RGB", (64, 64), "red")
    picture.paste("blue", (32, 0, 64, 64))
    exif = picture.getexif()
    exif[274] = 6
    picture.save(path, exif=exif, quality=95)


def _animated(path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _cut(path: Path, length: int) -> None:
    Image.effect_noise((80, 80), 60).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:length])


def _heic(path: Path) -> None:
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400))


RED, BLUE, WHITE = 76, 29, 255  # gray values
NO_PICTURE, DAMAGED = "not a picture that can be read", "damaged or incomplete"
FILES = {  # name: how it is written, and the gray values of its top and bottom or the sentence that refuses it
    "turned.jpg": (_turned, (RED, BLUE)),
    "empty.png": (lambda path: path.write_bytes(b""), NO_PICTURE),
    "animated.gif": (_animated, (RED, RED)),
    "cut.png": (lambda path: _cut(path, 300), DAMAGED),
    "cmyk.jpg": (lambda path: Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(path), (RED, RED)),
    "text.png": (lambda path: path.write_text("this is no picture"), NO_PICTURE),
    "gray16.png": (lambda path: Image.new("I;16", (40, 40), 40_000).save(path), (156, 156)),
    "cut.jpg": (lambda path: _cut(path, 700), DAMAGED),
    "clear.png": (lambda path: Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(path), (WHITE, WHITE)),
    "drawing.svg": (lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"), NO_PICTURE),
    "narrow.png": (lambda path: Image.new("RGB", (1, 400), "red").save(path), (RED, RED)),
    "photo.heic": (_heic, NO_PICTURE),
    "palette.png": (lambda path: Image.new("RGB", (40, 40), "red").quantize().save(path), (RED, RED)),
    "huge.png": (lambda path: Image.new("1", (12_000, 9_000)).save(path), "too large, 108 megapixels"),
    "tiny.bmp": (lambda path: Image.new("RGB", (2, 2), "red").save(path), (RED, RED)),
    "bomb.png": (lambda path: Image.new("1", (20_000, 20_000)).save(path), "too large. Please use"),
}


def test_files_of_every_kind(desk: Page, tmp_path: Path):
    for name, (write_file, end) in FILES.items():
        write_file(tmp_path / name)
        upload(desk, tmp_path / name)
        if isinstance(end, str):
            alarm = desk.locator("#canvas .alarm")
            expect(alarm, name).to_contain_text(end)
            assert "/" not in alarm.inner_text(), name
        else:
            expect(desk.locator(HANDLE), name).to_be_visible()
            top, *_, bottom = seen(desk).mean(1)
            assert (top, bottom) == pytest.approx(end, abs=6), name
            desk.get_by_role("button", name="Remove the picture").click()
            expect(desk.locator("#prime")).to_be_visible()


# Programs


def test_programs_continue_a_picture_through_the_named_endpoint(stripes, studio, tmp_path: Path):
    client = Client(stripes[1], verbose=False)
    picture = handle_file(stripes_from_left_to_right(tmp_path / "a.png"))

    def kept(**borders: int) -> np.ndarray:
        client.predict("a red bird", samples=1, picture=picture, **borders, api_name="/generate")
        return studio.requests[-1].kept >= 0

    usual = kept()
    assert usual[:7].all() and not usual[7:].any()
    free = ~kept(top=3, left=5, right=1)
    assert free[3:, 5:15].all() and free.sum() == 13 * 10
    client.predict("a red bird", samples=1, api_name="/generate")
    assert studio.requests[-1].kept is None
    told = client.view_api(print_info=False, return_format="dict")["named_endpoints"]["/generate"]["parameters"]
    types = {parameter["parameter_name"]: parameter["python_type"]["type"] for parameter in told}
    assert types["prompt"] == "str" and types["top"] == "None | int" and "path" in types["picture"]


def test_programs_are_refused_in_sentences(stripes, tmp_path: Path):
    client = Client(stripes[1], verbose=False)
    (tmp_path / "text.png").write_text("this is no picture")
    secret = stripes_from_left_to_right(tmp_path / "secret.png")
    for wish, answer in (
        ({"picture": handle_file(tmp_path / "text.png")}, NO_PICTURE),
        ({"picture": handle_file(secret), "top": 16}, "Between 0 and 15 rows"),
        ({"top": 3}, "please send one"),
        ({"picture": {"path": str(secret)}}, "Please upload the picture"),  # a file of the server's own
    ):
        with pytest.raises(AppError, match=answer):
            client.predict("a red bird", samples=1, **wish, api_name="/generate")


# The real model


def test_the_kept_rows_equal_the_reconstruction_to_the_pixel(page: Page, program: str, model: str, tmp_path: Path):
    """A net sees a little beyond each token: the rows that see only kept tokens have to be equal."""
    photo = tmp_path / "photo.jpg"
    picture = Image.radial_gradient("L").resize((300, 220)).convert("RGB")
    picture.paste("orange", (60, 40, 120, 160))
    exif = picture.getexif()
    exif[274] = 6  # to be turned by 90 degrees
    picture.save(photo, exif=exif, quality=95)
    studio = dalle.load(model, "cpu")
    tokens = studio.read(read_picture(photo))
    rows = len(tokens) - 1

    open_page(page, program)
    set_number(page, "samples", 1)
    open_panel(page, "priming")
    start_from(page, photo)
    set_number(page, "rows", rows)
    draw(page, "a red bird")
    card = await_gallery(page).locator("img").first
    (tmp_path / "card.png").write_bytes(page.request.get(page.url + (card.get_attribute("src") or "")).body())
    drawn = np.asarray(Image.open(tmp_path / "card.png"))  # (S, S, 3)
    whole = np.asarray(studio.show(tokens))
    others = [np.where(np.arange(rows + 1)[:, None] < rows, tokens, code) for code in range(8)]
    same = [(np.asarray(studio.show(other)) == whole).all((1, 2)) for other in others]  # each (S,)
    untouched = int(np.all(same, axis=0).argmin()) - 8  # rows of pixels that no token of the last row reaches
    assert untouched > 0
    assert np.array_equal(drawn[:untouched], whole[:untouched])
