"""The cards of a gallery and what a visitor can do with each."""

import io
import json
import zipfile

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from steps import await_gallery, draw, open_page, open_panel, set_number

PROMPT = "#prompt textarea"


@pytest.fixture
def desk(page: Page, stripes) -> Page:
    studio, address = stripes
    studio.pause = 0.01
    open_page(page, address)
    return page


def _drawn(desk: Page, samples: int = 6, keep: int = 4) -> Page:
    set_number(desk, "samples", samples)
    set_number(desk, "keep", keep)
    draw(desk, "a red bird")
    await_gallery(desk)
    return desk


def test_scores_are_shares_of_one_vote(desk: Page):
    _drawn(desk)
    shares = [int(text.rstrip("%")) for text in desk.locator("#pictures .share").all_text_contents()]
    assert len(shares) == 6 and 98 <= sum(shares) <= 102
    assert shares == sorted(shares, reverse=True)
    assert "one prompt only" in (desk.locator(".score").first.get_attribute("title") or "")


def test_cards_can_stand_in_the_order_in_which_they_were_drawn(desk: Page):
    _drawn(desk)
    places = "cards => cards.map(card => Number(card.dataset.{}))"
    cards = desk.locator(".drawn > .gallery .card")
    for button, key in (("As drawn", "index"), ("Best first", "rank")):
        desk.get_by_role("button", name=button).click()
        order = cards.evaluate_all(places.format(key))
        assert order == sorted(order) and len(order) == 4
        expect(desk.get_by_role("button", name=button)).to_have_attribute("aria-pressed", "true")


def test_the_strip_shows_what_more_samples_are_worth(desk: Page):
    _drawn(desk)
    strip = desk.locator(".best-of li")
    assert strip.locator("b").all_inner_texts() == ["1", "2", "4", "6"]
    scores = [float(text) for text in strip.locator("span").all_inner_texts()]
    assert scores == sorted(scores)
    assert strip.last.locator("img").get_attribute("src") == desk.locator(".card img").first.get_attribute("src")


def test_a_picture_is_seen_large_and_the_arrows_go_through_the_gallery(desk: Page):
    _drawn(desk)
    desk.locator("a.plate").nth(1).click()
    viewer = desk.get_by_role("dialog")
    shown = viewer.locator("img")
    addresses = [card.get_attribute("href") or "" for card in desk.locator(".drawn > .gallery a.plate").all()]
    for key, place in (("", 1), ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowRight", 0), ("ArrowLeft", 3)):
        if key:
            desk.keyboard.press(key)
        expect(shown).to_have_attribute("src", desk.url + addresses[place])
    expect(viewer).to_contain_text("4 · 0.")
    desk.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    expect(desk.locator("a.plate").nth(3)).to_be_focused()


def test_everything_drawn_comes_as_one_archive(desk: Page):
    _drawn(desk)
    address = desk.get_by_role("link", name="ZIP of all").get_attribute("href") or ""
    archive = zipfile.ZipFile(io.BytesIO(desk.request.get(desk.url + address).body()))
    names = archive.namelist()
    assert len(names) == 6 and all(name.endswith(".png") for name in names)
    meta = json.loads(Image.open(io.BytesIO(archive.read(names[0]))).info["dalle"])
    assert meta["prompt"] == "a red bird"
    assert desk.request.get(desk.url + "drawn/somewhere/pictures.zip").status == 404


@pytest.mark.parametrize(("choice", "kind"), [("JPEG", "JPEG"), ("WebP", "WEBP")])
def test_downloads_come_in_other_formats(desk: Page, choice: str, kind: str):
    open_panel(desk, "advanced")
    desk.get_by_role("radio", name=choice).check()
    _drawn(desk)
    with desk.expect_download() as download:
        desk.locator(".save").first.click()
    with Image.open(download.value.path()) as picture:
        assert picture.format == kind
        assert b"trainedAlgorithmicMedia" in picture.info["xmp"]


def test_a_switch_leaves_prompt_and_settings_out(desk: Page):
    open_panel(desk, "advanced")
    desk.locator("#telling input").uncheck()
    _drawn(desk)
    for name in ("a.plate", "a[download='grid.png']"):
        address = desk.locator(name).first.get_attribute("href") or ""
        body = desk.request.get(desk.url + address).body()
        assert b"red bird" not in body and b"trainedAlgorithmicMedia" in body
        assert json.loads(Image.open(io.BytesIO(body)).info["dalle"]) == {}


@pytest.mark.parametrize(("act", "free"), [("Vary", (9, 9)), ("Continue", (9, 16))])
def test_another_drawing_starts_from_a_card(desk: Page, stripes, act: str, free: tuple[int, int]):
    studio, _ = stripes
    _drawn(desk)
    desk.get_by_role("button", name=f"{act} picture 1").click()
    expect(desk.locator("#status")).to_contain_text("Start from a picture")
    expect(desk.locator("#canvas img").first).to_be_visible()
    draw(desk, "a blue bird")
    expect(desk.locator("#pictures .card svg.kept").first).to_be_attached()
    await_gallery(desk)
    kept = studio.requests[-1].kept
    first = studio.requests[-2]
    assert ((kept < 0).any(1).sum(), (kept < 0).any(0).sum()) == free
    assert kept.max() in range(first.samples)  # the tokens of one of its candidates
    expect(desk.locator(".card").first.locator("svg.kept")).to_be_attached()


def test_settings_come_back_from_a_card(desk: Page, stripes):
    studio, _ = stripes
    _drawn(desk)
    first = studio.requests[-1]
    desk.locator(PROMPT).fill("something else")
    set_number(desk, "samples", 2)
    desk.get_by_role("button", name="Use the prompt, seed and settings of picture 2 again").click()
    expect(desk.locator("#status")).to_contain_text("Everything is set")
    expect(desk.locator(PROMPT)).to_have_value("a red bird")
    expect(desk.locator("#same input")).to_be_checked()
    draw(desk, "a red bird")
    await_gallery(desk)
    assert studio.requests[-1] == first
