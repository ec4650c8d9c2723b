"""The page itself, on a studio that draws stripes: what every panel does, and what it does with nonsense."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import visit
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from steps import await_gallery, draw, gallery, open_page, open_panel, set_number, write

from dalle.errors import PromptError

PROMPT = "#prompt textarea"


@pytest.fixture
def studio(stripes):
    studio, _ = stripes
    studio.pause = 0.02
    return studio


@pytest.fixture
def desk(page: Page, stripes) -> Page:
    """The page, open and ready."""
    open_page(page, stripes[1])
    return page


# Prompt


def test_an_idea_fills_the_prompt_and_the_meter_counts_it(desk: Page):
    desk.get_by_role("button", name="a blue strawberry").click()
    expect(desk.locator(PROMPT)).to_have_value("a blue strawberry")
    expect(desk.locator("#meter")).to_contain_text("5 / 64 tokens")


def test_the_meter_warns_where_the_sentence_does_not_fit(desk: Page):
    write(desk, "bird " * 70)
    expect(desk.locator("#meter .over")).to_contain_text("72 / 64 tokens · the end does not fit")


def test_what_people_type_is_shown_as_text(desk: Page):
    draw(desk, "<img src=x onerror=alert(1)> & \"quotes\" 'n' ${alert(2)} {{value}}")
    card = await_gallery(desk).locator("img").first
    assert card.get_attribute("alt") == "<img src=x onerror=alert(1)> & \"quotes\" 'n' ${alert(2)} {{value}}, picture 5"
    expect(desk.locator("img[src=x]")).to_have_count(0)


def test_settings_reach_the_studio(desk: Page, studio):
    set_number(desk, "samples", 3)
    set_number(desk, "keep", 9)
    desk.locator("#seed input").fill("4711")
    desk.locator("#same input").check()
    draw(desk, "a red bird")
    await_gallery(desk)
    request = studio.requests[-1]
    assert (request.prompt, request.samples, request.keep, request.seed) == ("a red bird", 3, 3, 4711)
    assert request.options == studio.bundle.options  # the sliders started at the model's own settings
    assert request.prime is None


def test_without_a_kept_seed_every_drawing_gets_a_new_one(desk: Page, studio):
    set_number(desk, "samples", 1)
    for _ in range(2):
        draw(desk, "a red bird")
        expect(desk.locator("#stop")).to_be_visible()
        await_gallery(desk)
    first, second = (request.seed for request in studio.requests[-2:])
    assert first != second
    expect(desk.locator("#seed input")).to_have_value(str(second))


def test_everything_works_from_the_keyboard(desk: Page, studio):
    studio.pause = 0.1
    desk.keyboard.press("Tab")
    for _ in range(12):
        if desk.evaluate("document.activeElement.tagName") == "TEXTAREA":
            break
        desk.keyboard.press("Tab")
    desk.keyboard.type("a red bird")
    desk.keyboard.press("Control+Enter")
    expect(gallery(desk, "sampling")).to_be_visible()
    closed = studio.closed
    desk.keyboard.press("Escape")
    expect(desk.locator("#status")).to_have_text("Stopped.")
    expect(desk.locator("#draw")).to_be_visible()
    for _ in range(50):  # the drawing ends at its next row
        if studio.closed > closed:
            break
        desk.wait_for_timeout(100)
    assert studio.closed == closed + 1


# Gallery


def test_plates_keep_their_place_while_they_fill(desk: Page, studio):
    studio.pause = 0.05
    places = "[...document.querySelectorAll('#pictures .plate')].map((p) => [p.offsetLeft, p.offsetTop, p.offsetWidth])"
    before = desk.evaluate(places)
    draw(desk, "a red bird")
    expect(gallery(desk, "sampling")).to_be_visible()
    assert desk.evaluate(places) == before
    await_gallery(desk)
    assert desk.evaluate(places) == before


def test_what_was_not_kept_is_one_click_away(desk: Page):
    set_number(desk, "samples", 12)
    set_number(desk, "keep", 4)
    draw(desk, "a red bird")
    expect(await_gallery(desk).locator(".card")).to_have_count(4)
    dropped = desk.locator(".dropped .card")
    expect(dropped.first).to_be_hidden()
    desk.get_by_text("8 more that CLIP ranked lower").click()
    expect(dropped.first).to_be_visible()
    expect(dropped).to_have_count(8)
    ranks = [int(rank) for rank in desk.locator("#pictures .rank").all_inner_texts()]
    assert ranks == list(range(1, 13))


def test_a_new_gallery_takes_the_files_of_the_old_one_away(desk: Page):
    set_number(desk, "samples", 1)
    addresses = []
    for prompt in ("a red bird", "a blue bird"):
        draw(desk, prompt)
        expect(desk.locator("#stop")).to_be_visible()
        addresses.append(desk.url + (await_gallery(desk).locator("a.plate").get_attribute("href") or ""))
    assert [desk.request.get(address).status for address in addresses] == [404, 200]


def test_an_error_keeps_the_gallery(desk: Page, studio, monkeypatch):
    draw(desk, "a red bird")
    before = await_gallery(desk).inner_html()
    for error, sentence in (
        (PromptError("That sentence cannot be drawn."), "That sentence cannot be drawn."),
        (RuntimeError("/srv/secret/path.py, line 3"), "Something went wrong here"),
    ):
        monkeypatch.setattr(studio, "generate", _failing(error))
        draw(desk, "a red bird")
        expect(desk.locator("#status .alarm")).to_contain_text(sentence)
        expect(desk.locator("#draw")).to_be_visible()
        assert gallery(desk, "done").inner_html() == before
        assert "secret" not in desk.content()


def _failing(error: Exception):
    def generate(request) -> Iterator[None]:
        raise error
        yield

    return generate


# Templates


def test_a_template_fills_the_prompt(desk: Page):
    desk.get_by_role("tab", name="Composition").click()
    sheet = desk.locator(".template:visible")
    sheet.get_by_role("button", name="Use this sentence").click()
    expect(desk.locator(PROMPT)).to_have_value("a blue strawberry")
    color = sheet.locator("[data-slot=color]")
    color.select_option("orange")
    expect(desk.locator(PROMPT)).to_have_value("an orange strawberry")
    expect(color).to_be_focused()


def test_a_slot_takes_words_of_ones_own(desk: Page):
    desk.get_by_role("tab", name="Composition").click()
    sheet = desk.locator(".template:visible")
    sheet.locator("[data-slot=object]").select_option("")
    own = sheet.locator("input[data-slot=object]")
    own.fill("ukulele \"<b>'")
    own.press("Enter")
    expect(desk.locator(PROMPT)).to_have_value("a blue ukulele \"<b>'")
    expect(own).to_have_value("ukulele \"<b>'")


@pytest.mark.parametrize("family", ["Composition", "Time", "Image to image"])
def test_every_template_of_a_family_makes_a_sentence(desk: Page, family: str):
    desk.get_by_role("tab", name=family).click()
    sheet = desk.locator(".template:visible")
    for chip in sheet.locator(".chip").all():
        chip.click()
        expect(chip).to_have_attribute("aria-pressed", "true")
        write(desk, "")
        sheet.get_by_role("button", name="Use this sentence").click()
        expect(desk.locator(PROMPT)).to_have_value(re.compile(r"^\w+ .*\w.?$"))


# Priming


def upload(page: Page, path: Path) -> None:
    page.locator("#prime input[type=file]").set_input_files(path)


def test_a_picture_is_kept_in_part(desk: Page, studio, tmp_path: Path):
    picture = Image.new("RGB", (300, 200), "red")
    picture.save(tmp_path / "red.png")
    open_panel(desk, "priming")
    upload(desk, tmp_path / "red.png")
    expect(desk.locator("#prime-preview img")).to_be_visible()
    set_number(desk, "rows", 5)
    kept = "getComputedStyle(document.querySelector('.primed')).getPropertyValue('--kept')"
    assert float(desk.evaluate(kept)) == pytest.approx(5 / 16)
    draw(desk, "a red bird")
    await_gallery(desk)
    request = studio.requests[-1]
    assert request.rows == 5
    assert request.prime.getpixel((9, 9)) == (255, 0, 0)
    assert request.prime.width == request.prime.height
    desk.get_by_role("button", name="Remove the picture").click()
    expect(desk.locator("#prime")).to_be_visible()
    draw(desk, "a red bird")
    expect(desk.locator("#stop")).to_be_visible()
    await_gallery(desk)
    assert studio.requests[-1].prime is None


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


GOOD = {
    "turned.jpg": _turned,
    "animated.gif": _animated,
    "cmyk.jpg": lambda path: Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(path),
    "grey16.png": lambda path: Image.new("I;16", (40, 40), 40_000).save(path),
    "clear.png": lambda path: Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(path),
    "narrow.png": lambda path: Image.new("RGB", (1, 400), "red").save(path),
}


def test_pictures_of_every_kind_are_read(desk: Page, studio, tmp_path: Path):
    open_panel(desk, "priming")
    set_number(desk, "samples", 1)
    for name, write_file in GOOD.items():
        write_file(tmp_path / name)
        upload(desk, tmp_path / name)
        expect(desk.locator("#prime-preview img"), name).to_be_visible()
        draw(desk, "a red bird")
        expect(desk.locator("#stop")).to_be_visible()
        await_gallery(desk)
        prime = studio.requests[-1].prime
        assert (prime.mode, prime.size) == ("RGB", (256, 256))
        if name == "turned.jpg":  # upright: red on top
            assert prime.getpixel((128, 40))[0] > 200 > prime.getpixel((128, 200))[0]
        desk.get_by_role("button", name="Remove the picture").click()
        expect(desk.locator("#prime")).to_be_visible()


NO_PICTURE, DAMAGED, LARGE = "not a picture that can be read", "damaged or incomplete", "too large, 108 megapixels"
BAD = {  # no two neighbors get the same answer, so that each answer can be waited for
    "empty.png": (NO_PICTURE, lambda path: path.write_bytes(b"")),
    "cut.png": (DAMAGED, lambda path: path.write_bytes(_bytes(path)[:300])),
    "text.png": (NO_PICTURE, lambda path: path.write_text("this is no picture")),
    "cut.jpg": (DAMAGED, lambda path: path.write_bytes(_bytes(path)[:700])),
    "drawing.svg": (NO_PICTURE, lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")),
    "huge.png": (LARGE, lambda path: Image.new("1", (12_000, 9_000)).save(path)),
}


def _bytes(path: Path) -> bytes:
    Image.effect_noise((80, 80), 60).convert("RGB").save(path)
    return path.read_bytes()


def test_pictures_that_cannot_be_read_are_refused_in_a_sentence(desk: Page, studio, tmp_path: Path):
    draw(desk, "a red bird")
    before = await_gallery(desk).inner_html()
    open_panel(desk, "priming")
    for name, (answer, write_file) in BAD.items():
        write_file(tmp_path / name)
        upload(desk, tmp_path / name)
        alarm = desk.locator("#prime-preview .alarm")
        expect(alarm, name).to_contain_text(answer)
        assert "/" not in alarm.inner_text()
        assert gallery(desk, "done").inner_html() == before


# Looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(browser: Browser, stripes, scheme: str):
    for page in visit(browser, color_scheme=scheme):
        open_page(page, stripes[1])
        for panel in ("priming", "advanced", "about"):
            open_panel(page, panel)
        page.get_by_role("tab", name="Composition").click()
        draw(page, "an illustration of an avocado in a helmet walking a dog " + "w" * 300)
        await_gallery(page)
        for width in (320, 390, 768, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 19, 17)"
        assert dark == (scheme == "dark")


def test_the_lamp_is_remembered(desk: Page):
    dark = "document.body.classList.contains('dark')"
    assert not desk.evaluate(dark)
    desk.get_by_role("button", name="Light or dark page").click()
    assert desk.evaluate(dark)
    desk.reload()
    expect(desk.locator(PROMPT)).to_be_visible()
    assert desk.evaluate(dark)
