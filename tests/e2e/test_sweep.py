"""Every value of a slot side by side: live columns from one seed, a labelled sheet, and Stop."""

import io
import zipfile

import pytest
from conftest import visit
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from steps import PATIENCE, copied_link, open_page, set_number, wait_until

from dalle.prompts import templates
from dalle.ui.templates import MAX_COLUMNS, Filling

PHONE = next(template for template in templates() if template.id == "device")
PERIODS = PHONE.slots["period"]


@pytest.fixture
def studio(stripes):
    studio, _ = stripes
    studio.pause = 0.01
    return studio


def sweep(page: Page, samples: int) -> None:
    set_number(page, "samples", samples)
    page.get_by_role("tab", name="Templates").click()
    page.locator("#templates .family", has_text="Time").click()
    page.get_by_label("Side by side").select_option("period")
    page.get_by_role("button", name="Draw 15 columns").click()


def test_fifteen_periods_of_a_phone(page: Page, stripes, studio):
    open_page(page, stripes[1])
    before, studio.pause = len(studio.requests), 0.03
    sweep(page, 2)
    page.locator(".columns:has([data-stage=done]):has([data-stage=sampling])").wait_for()  # they fill one by one
    expect(page.locator(".columns h2")).to_have_text(list(PERIODS))
    expect(page.locator("#status")).to_contain_text("15 columns, the best of 2 on top of each", timeout=120_000)
    expect(page.locator("#draw")).to_be_visible()
    asked = studio.requests[before:]
    assert [request.prompt for request in asked] == [f"a photo of a phone from {period}" for period in PERIODS]
    assert len({request.seed for request in asked}) == 1
    expect(page.locator("#seed input")).to_have_value(str(asked[0].seed))
    for column in page.locator(".columns section").all():
        first, second = (float(text.split()[0]) for text in column.locator(".score").all_inner_texts())
        assert first >= second
    sheet = Image.open(io.BytesIO(_file(page, "Sheet")))
    assert sheet.format == "PNG" and sheet.width > 15 * 256 and sheet.height > 2 * 256
    names = zipfile.ZipFile(io.BytesIO(_file(page, "ZIP of all"))).namelist()
    assert len(names) == 30 and names[0] == f"01/{asked[0].seed}-0.png"


def _file(page: Page, link: str) -> bytes:
    address = page.locator(".sweep").get_by_text(link, exact=True).get_attribute("href") or ""
    return page.request.get(page.url + address).body()


def test_a_sweep_stops_and_what_is_drawn_stays(page: Page, stripes, studio):
    studio.pause = 0.05
    open_page(page, stripes[1])
    closed = studio.closed
    sweep(page, 1)
    page.locator(".columns .gallery[data-stage=done]").nth(1).wait_for()
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Stopped.", use_inner_text=True)
    expect(page.locator("#draw")).to_be_visible()
    drawn = page.locator(".columns .gallery[data-stage=done]").count()
    assert 2 <= drawn < 15
    wait_until(page, lambda: studio.closed == closed + 1)  # it ends at its next row
    assert Image.open(io.BytesIO(_file(page, "Sheet"))).width < 15 * 256
    page.locator(".columns .card [data-act=continue]").first.click()  # a card of a column is as good as any
    expect(page.locator("#canvas .handle")).to_be_visible()


def test_a_sweep_is_remembered_as_one_and_shared_as_one(page: Page, browser: Browser, stripes, studio):
    open_page(page, stripes[1])
    set_number(page, "samples", 1)
    page.get_by_role("tab", name="Templates").click()
    page.locator("#templates .chip", has_text="A thing somewhere").click()
    page.get_by_label("Side by side").select_option("size")
    page.locator("#templates [data-slot=object]").fill("emu")
    page.locator("#templates [data-slot=object]").press("Enter")
    page.get_by_role("button", name="Draw 4 columns").click()
    drawn_columns(page, 4)
    asked, link = studio.requests[-4:], copied_link(page)
    assert asked[0].prompt == "a tiny red emu in the sky"

    page.get_by_role("tab", name="History").click()
    expect(page.locator(".recent b")).to_have_text(["a … red emu in the sky"])
    expect(page.locator(".recent small")).to_have_text([f"seed {asked[0].seed} · 4 columns"])
    set_number(page, "samples", 3)
    page.locator(".recent button").click()
    expect(page.locator("#status")).to_contain_text("Everything is set")
    page.get_by_role("button", name="Draw 4 columns").click()
    expect(page.locator("#stop")).to_be_visible()
    drawn_columns(page, 4)
    assert studio.requests[-4:] == asked and studio.requests[-4] is not asked[0]

    for visitor in visit(browser):
        visitor.goto(link)
        drawn_columns(visitor, 4)
        assert studio.requests[-4:] == asked
        expect(visitor.locator("#templates [data-slot=object]")).to_have_value("emu")
        expect(visitor.locator("#prompt textarea")).to_have_value("a tiny red emu in the sky")


def drawn_columns(page: Page, count: int) -> None:
    expect(page.locator("#status")).to_contain_text(f"{count} columns", timeout=PATIENCE)
    expect(page.locator("#draw")).to_be_visible()


def test_on_a_telephone_columns_scroll_sideways_and_the_page_does_not(browser: Browser, stripes, studio):
    for page in visit(browser, viewport={"width": 390, "height": 844}, color_scheme="dark"):
        open_page(page, stripes[1])
        sweep(page, 1)
        expect(page.locator("#status")).to_contain_text("15 columns", timeout=120_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        shown = page.locator(".columns").evaluate("(row) => [row.scrollLeft, row.scrollWidth, row.clientWidth]")
        assert shown[1] > 3 * shown[2] and shown[0] > 0  # it followed the column that was being drawn


def test_words_of_ones_own_are_the_first_column_and_long_lists_are_cut():
    filling = Filling(PHONE, {"thing": "camera", "period": "the stone age"}, "period")
    assert filling.columns()[0] == ("the stone age", "a photo of a camera from the stone age")
    assert len(filling.columns()) == 16
    assert filling.title() == "a photo of a camera from …"
    long = next(t for t in templates() if any(len(options) > MAX_COLUMNS for options in t.slots.values()))
    axis = next(name for name, options in long.slots.items() if len(options) > MAX_COLUMNS)
    assert len(Filling(long, {}, axis).columns()) == MAX_COLUMNS
