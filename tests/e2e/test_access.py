"""The page for everybody: by keyboard, on a phone, in the dark, to a screen reader."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import visit
from playwright.sync_api import Browser, Page, expect
from steps import await_gallery, draw, gallery, open_page, open_panel, set_number

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
AXE = Axe()


def faults(page: Page) -> list[str]:
    """What axe finds to be serious or critical."""
    return [
        f"{fault['id']}: {node['html'][:160]}"
        for fault in AXE.run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_axe_finds_nothing_serious(browser: Browser, stripes, scheme: str, size: dict[str, int]):
    studio, address = stripes
    studio.pause = 0.01
    for page in visit(browser, color_scheme=scheme, viewport=size):
        open_page(page, address)
        assert faults(page) == []
        set_number(page, "samples", 6)
        set_number(page, "keep", 4)
        draw(page, "a red bird " * 40)
        await_gallery(page)
        page.get_by_role("button", name="Copy link").click()
        page.get_by_role("button", name="Star picture 1").click()
        for panel in ("advanced", "priming", "about"):
            open_panel(page, panel)
        page.locator(".dropped summary").click()
        page.get_by_role("tab", name="History").click()
        expect(page.locator(".stars button")).to_be_visible()
        page.locator(".picker summary").click()
        assert faults(page) == []
        page.keyboard.press("Escape")
        page.locator("a.plate").first.click()
        assert faults(page) == []


def _tab_to(page: Page, selector: str, most: int = 80) -> None:
    """Presses Tab until the focus is on such an element, and sees to it that the focus can be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none" or page.evaluate(
                "Boolean(document.activeElement.closest('#sentence'))"
            )
            return
    raise AssertionError(f"The Tab key does not lead to {selector}.")


def test_a_drawing_and_all_its_cards_by_keyboard_alone(browser: Browser, stripes):
    studio, address = stripes
    studio.pause = 0.01
    for page in visit(browser):
        open_page(page, address)
        _tab_to(page, "#prompt textarea")
        page.keyboard.type("a red bird")
        page.keyboard.press("Enter")
        await_gallery(page)
        _tab_to(page, "[data-act=star]", most=200)
        page.keyboard.press("Space")
        expect(page.locator("[data-act=star]").first).to_have_attribute("aria-pressed", "true")
        _tab_to(page, "[data-order=index]", most=200)
        page.keyboard.press("Enter")
        indices = page.locator(".drawn > .gallery .card").evaluate_all("cards => cards.map(c => c.dataset.index)")
        assert indices == [str(index) for index in range(8)]
        _tab_to(page, "[data-act=share]")
        page.keyboard.press("Enter")
        expect(page.locator(".address input")).to_be_visible()


def test_models_are_listed_and_chosen_by_keyboard(browser: Browser, stripes):
    for page in visit(browser):
        open_page(page, stripes[1])
        _tab_to(page, ".picker summary")
        page.keyboard.press("Enter")
        mine = page.get_by_role("radio", name="Colored stripes")
        expect(mine).to_be_checked()
        away = page.locator(".picker label", has=page.locator("[value=dalle-mini]"))
        expect(away.get_by_role("radio")).to_be_disabled()
        expect(away).to_contain_text("needs a download of 2.1 GB")
        expect(away.locator("small")).to_contain_text("English · Apache-2.0")
        expect(page.locator(".picker .badge")).to_have_text("CPU")
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(mine).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(browser: Browser, stripes, scheme: str):
    studio, address = stripes
    studio.pause = 0.01
    for page in visit(browser, color_scheme=scheme):
        open_page(page, address)
        for panel in ("priming", "advanced", "about"):
            open_panel(page, panel)
        set_number(page, "samples", 40)
        draw(page, "an illustration of an avocado in a helmet walking a dog " + "w" * 300)
        expect(gallery(page, "sampling")).to_be_visible()
        _assert_that_all_fits(page)
        await_gallery(page)
        page.get_by_role("button", name="Copy link").click()
        page.locator(".dropped summary").click()
        page.locator(".picker summary").click()
        _assert_that_all_fits(page)
        page.keyboard.press("Escape")
        for name in ("Templates", "History"):
            page.get_by_role("tab", name=name).click()
            _assert_that_all_fits(page)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 19, 17)"
        assert dark == (scheme == "dark")


def _assert_that_all_fits(page: Page) -> None:
    for width in (320, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
