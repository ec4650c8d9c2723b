"""Sentences with slots: linked, free, detached by hand, marked by what a model was measured to draw."""

import json
import re
from collections.abc import Iterator

import pytest
from conftest import visit
from playwright.sync_api import Browser, Locator, Page, expect
from program import ROOT
from steps import await_gallery, draw, gallery, open_page, set_number, write
from test_access import faults

PROMPT = "#prompt textarea"
MADE_OF = "a snail made of violin. a snail with the texture of a violin."


@pytest.fixture
def studio(stripes):
    studio, _ = stripes
    studio.pause = 0.01
    return studio


@pytest.fixture
def desk(page: Page, stripes) -> Page:
    """The page, with the templates open."""
    open_page(page, stripes[1])
    page.get_by_role("tab", name="Templates").click()
    return page


def family(desk: Page, title: str) -> None:
    desk.locator("#templates .family", has_text=title).click()


def slot(desk: Page, name: str, which: int = 0) -> Locator:
    return desk.locator(f"#templates [data-slot={name}]").nth(which)


def state(desk: Page, name: str) -> None:
    expect(desk.locator("#templates .frame")).to_have_attribute("data-state", name)


def test_an_empty_prompt_follows_the_first_look_at_a_template(desk: Page):
    family(desk, "Blends")
    expect(desk.locator(PROMPT)).to_have_value(MADE_OF)
    state(desk, "attached")


def test_a_prompt_that_is_there_is_left_alone_until_the_sentence_is_used(desk: Page):
    write(desk, "my own sentence")
    family(desk, "Blends")
    expect(desk.locator("#templates .frame")).to_have_attribute("data-template", "made-of")
    slot(desk, "thing").click()
    desk.get_by_role("option", name="elephant").click()
    expect(slot(desk, "thing")).to_have_value("elephant")
    expect(desk.locator(PROMPT)).to_have_value("my own sentence")
    desk.get_by_role("button", name="Use this sentence").click()
    expect(desk.locator(PROMPT)).to_have_value(MADE_OF.replace("a snail", "an elephant"))


def test_slots_of_one_name_say_the_same(desk: Page):
    family(desk, "Blends")
    state(desk, "attached")
    slot(desk, "material", 1).click()
    desk.get_by_role("option", name="pizza").click()
    expect(slot(desk, "material")).to_have_value("pizza")
    expect(desk.locator(PROMPT)).to_have_value(MADE_OF.replace("violin", "pizza"))
    slot(desk, "thing").fill("giraf")  # while it is being typed
    expect(slot(desk, "thing", 1)).to_have_value("giraf")


def test_a_slot_takes_words_of_ones_own(desk: Page):
    family(desk, "Blends")
    state(desk, "attached")
    own = slot(desk, "thing")
    own.click()
    own.fill("emu \"<b>'")
    expect(desk.locator(".suggestions [role=option]")).to_have_text("emu \"<b>' – your own words")
    own.press("Enter")
    expect(desk.locator(PROMPT)).to_have_value(MADE_OF.replace("a snail", "an emu \"<b>'"))
    expect(own).to_have_value("emu \"<b>'")
    expect(own).to_be_focused()


def test_a_hand_edit_detaches_the_prompt_from_the_template(desk: Page):
    family(desk, "Blends")
    state(desk, "attached")
    desk.locator(PROMPT).press_sequentially(" in the snow")
    state(desk, "detached")
    expect(desk.get_by_text("You changed the prompt by hand")).to_be_visible()
    slot(desk, "material").click()
    desk.get_by_role("option", name="pizza").click()
    expect(slot(desk, "material", 1)).to_have_value("pizza")
    expect(desk.locator(PROMPT)).to_have_value(f"{MADE_OF} in the snow")
    desk.get_by_role("button", name="Use this sentence").click()
    expect(desk.locator(PROMPT)).to_have_value(MADE_OF.replace("violin", "pizza"))
    state(desk, "attached")


def test_an_edit_that_is_taken_back_attaches_it_again(desk: Page):
    family(desk, "Blends")
    state(desk, "attached")
    desk.locator(PROMPT).press("End")
    desk.keyboard.type("!")
    state(desk, "detached")
    desk.keyboard.press("Backspace")
    state(desk, "attached")


def test_slots_are_chosen_from_the_keyboard_and_esc_belongs_to_the_suggestions(desk: Page, studio):
    family(desk, "Time")
    state(desk, "attached")
    studio.pause = 0.2
    draw(desk, "a red bird")
    expect(gallery(desk, "sampling")).to_be_visible()
    thing = slot(desk, "thing")
    thing.focus()
    desk.keyboard.press("ArrowDown")
    expect(desk.get_by_role("option", name="phone")).to_have_attribute("aria-selected", "true")
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Escape")
    expect(desk.get_by_role("listbox")).to_have_count(0)
    expect(thing).to_have_value("phone")
    await_gallery(desk)  # the drawing was not stopped
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Enter")
    expect(thing).to_have_value("television")
    expect(thing).to_be_focused()
    expect(thing).to_have_attribute("aria-expanded", "false")


def test_every_family_makes_a_sentence(desk: Page):
    for title in desk.locator("#templates .family").all_inner_texts():
        family(desk, title)
        expect(desk.locator("#templates .family[aria-pressed=true]")).to_have_text(title)
        sentence = desk.locator("#templates .frame").get_attribute("data-sentence") or ""
        expect(desk.locator(PROMPT)).to_have_value(sentence)
        assert re.fullmatch(r"\w+ .*[\w.']", sentence)


@pytest.fixture
def measured(studio, tmp_path) -> Iterator[None]:
    """A model that knows objects well and blends badly, and was never shown anything else."""
    report = json.loads((ROOT / "assets" / "emoji" / "evaluation.json").read_text())
    rows = {row["family"]: row for row in report["rows"]}
    rows["object"]["ranked"]["recall"] = rows["object"]["real"]["recall"]
    rows["made_of"]["ranked"]["recall"] = rows["made_of"]["real"]["recall"] / 3
    report["rows"] = [rows["object"], rows["made_of"]]
    (tmp_path / "evaluation.json").write_text(json.dumps(report))
    studio.bundle.place = tmp_path
    yield
    studio.bundle.place = None


def test_what_a_model_draws_badly_is_marked_and_what_it_never_saw_is_left_out(measured, desk: Page):
    expect(desk.locator("#templates .family")).to_have_text(["One thing", "Blends"])
    family(desk, "Blends")
    expect(desk.locator("#templates .chip.hard")).to_have_text("Made of")
    expect(desk.locator("#templates .note")).to_contain_text("Hard for this model")
    expect(desk.locator("#templates .note")).to_contain_text("33%")
    family(desk, "One thing")
    expect(desk.locator("#templates .chip").first).to_have_text("One thing")
    expect(desk.locator("#templates .chip.hard")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_templates_suggestions_and_columns(
    browser: Browser, measured, stripes, scheme: str
):
    for page in visit(browser, color_scheme=scheme):
        open_page(page, stripes[1])
        page.get_by_role("tab", name="Templates").click()
        family(page, "Blends")
        state(page, "attached")
        slot(page, "thing").click()
        assert faults(page) == []
        page.keyboard.press("Escape")
        page.locator(PROMPT).press("x")
        state(page, "detached")
        family(page, "One thing")
        page.locator("#templates .chip", has_text="A thing somewhere").click()
        page.get_by_label("Side by side").select_option("size")
        set_number(page, "samples", 2)
        page.get_by_role("button", name="Draw 4 columns").click()
        expect(page.locator("#status")).to_contain_text("4 columns", timeout=120_000)
        assert faults(page) == []


def test_on_a_telephone_the_keyboard_waits_until_it_is_asked_for(browser: Browser, stripes):
    for page in visit(browser, viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark"):
        open_page(page, stripes[1])
        page.get_by_role("tab", name="Templates").tap()
        page.locator("#templates .family", has_text="Blends").tap()
        state(page, "attached")
        slot(page, "thing").tap()
        assert slot(page, "thing").evaluate("slot => slot.inputMode") == "none"
        page.get_by_role("option", name="your own words").tap()
        assert slot(page, "thing").evaluate("slot => slot.inputMode") == "text"
        page.keyboard.type("quokka")
        page.keyboard.press("Enter")
        expect(page.locator(PROMPT)).to_have_value(MADE_OF.replace("snail", "quokka"))
        slot(page, "material", 1).tap()
        expect(page.get_by_role("listbox")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
