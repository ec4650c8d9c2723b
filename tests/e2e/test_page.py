"""The page itself, on a studio that draws stripes: what every panel does, and what it does with nonsense."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from steps import await_gallery, draw, gallery, open_page, set_number, wait_until, write

from dalle.contracts import Update
from dalle.errors import PromptError
from dalle.ui.drawing import status

PROMPT = "#prompt textarea"


@pytest.fixture
def studio(stripes):
    studio, _ = stripes
    studio.pause = 0.02
    yield studio
    studio.release()


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
    expect(desk.locator("#meter .over")).to_contain_text("72 / 64 tokens · the gray end does not fit")
    expect(desk.locator(".mirror")).to_have_text("bird " * 70, use_inner_text=True)
    expect(desk.locator(".mirror span")).to_have_text("bird " * 8, use_inner_text=True)
    write(desk, "a bird")
    expect(desk.locator(".mirror")).to_be_hidden()


def test_words_and_languages_that_the_model_never_met_get_a_hint(desk: Page, studio, monkeypatch, tmp_path: Path):
    (tmp_path / "words.json").write_text('{"red": 9, "bird": 9}')
    monkeypatch.setattr(studio.bundle, "place", tmp_path)
    monkeypatch.setattr(studio.bundle, "languages", ("English",))
    hint = desk.locator("#meter .hint")
    for prompt, told in (("a <i>lute</i>", "‘lute’"), ("красная птица", "hardly understands"), ("a red bird", None)):
        write(desk, prompt)
        expect(hint).to_contain_text(told) if told else expect(hint).to_have_count(0)


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
    assert request.kept is None


def test_the_dice_roll_a_new_seed(desk: Page, studio):
    desk.locator("#same input").check()
    desk.locator("#dice").click()
    seed = desk.locator("#seed input")
    expect(seed).not_to_have_value("1")
    draw(desk, "a red bird")
    await_gallery(desk)
    expect(seed).to_have_value(str(studio.requests[-1].seed))


def test_without_a_kept_seed_every_drawing_gets_a_new_one(desk: Page, studio):
    set_number(desk, "samples", 1)
    for _ in range(2):
        draw(desk, "a red bird")
        await_gallery(desk)
    first, second = (request.seed for request in studio.requests[-2:])
    assert first != second
    expect(desk.locator("#seed input")).to_have_value(str(second))


def test_a_second_enter_does_not_ask_for_a_second_drawing(desk: Page, studio):
    asked = len(studio.requests)
    studio.hold()
    draw(desk, "a red bird")
    expect(gallery(desk, "sampling")).to_be_visible()
    desk.locator(PROMPT).press("Enter")
    studio.release()
    await_gallery(desk)
    desk.wait_for_timeout(500)  # for a second one to begin
    assert len(studio.requests) == asked + 1


def test_everything_works_from_the_keyboard(desk: Page, studio):
    studio.pause, asked = 0.1, len(studio.requests)
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
    expect(desk.locator("#status")).to_have_text("Stopped.", use_inner_text=True)
    expect(desk.locator("#draw")).to_be_visible()
    wait_until(desk, lambda: studio.closed == closed + 1)  # it ends at its next row
    assert len(studio.requests) == asked + 1


# Gallery


def test_the_status_tells_the_row_and_the_time_that_is_left():
    update = Update("sampling", row=12, rows=32, seconds=3.0, remaining=4.6)
    assert status(update) == "Row 12 of 32 · 5 s left"
    assert status(replace(update, remaining=None)) == "Row 12 of 32"


def test_plates_keep_their_place_while_they_fill(desk: Page, studio):
    studio.hold()
    places = "[...document.querySelectorAll('#pictures .plate')].map((p) => [p.offsetLeft, p.offsetTop, p.offsetWidth])"
    desk.evaluate("document.fonts.ready.then(() => null)")
    before = desk.evaluate(places)
    draw(desk, "a red bird")
    expect(gallery(desk, "sampling")).to_be_visible()
    expect(desk.locator("#status")).to_contain_text("Row 2 of 16")
    assert desk.evaluate(places) == before
    studio.release()
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
        addresses.append(desk.url + (await_gallery(desk).locator("a.plate").get_attribute("href") or ""))
    assert [desk.request.get(address).status for address in addresses] == [404, 200]


def test_an_error_keeps_the_gallery(desk: Page, studio, monkeypatch):
    draw(desk, "a red bird")
    before = await_gallery(desk).inner_html()
    wall = desk.locator("#pictures .gallery").first
    for error, sentence in (
        (PromptError("That sentence cannot be drawn."), "That sentence cannot be drawn."),
        (RuntimeError("/srv/secret/path.py, line 3"), "Something went wrong here"),
    ):
        monkeypatch.setattr(studio, "generate", _failing(error))
        draw(desk, "a red bird")
        expect(desk.locator("#status .alarm")).to_contain_text(sentence)
        expect(desk.locator("#draw")).to_be_visible()
        assert wall.inner_html() == before
        assert "secret" not in desk.content()


def _failing(error: Exception):
    def generate(request) -> Iterator[None]:
        raise error
        yield

    return generate


# Looks


def test_the_lamp_is_remembered(desk: Page):
    body, dark = desk.locator("body"), re.compile(r"\bdark\b")
    expect(body).not_to_have_class(dark)
    desk.get_by_role("button", name="Light or dark page").click()
    expect(body).to_have_class(dark)
    desk.reload()
    expect(desk.locator("#status")).to_contain_text("Ready")
    expect(body).to_have_class(dark)
