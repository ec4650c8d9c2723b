"""Takes the pictures of the page for the README: `python tests/e2e/screenshots.py [--model NAME]`."""

import argparse

from playwright.sync_api import Browser, Page, sync_playwright
from program import ROOT, launch_chromium, running
from steps import PATIENCE, await_gallery, draw, gallery, open_page, set_number

OUT = ROOT / "assets" / "screenshots"
BIRD = "this bird is red with a yellow belly and a short beak"
WIDE, PHONE = {"width": 1280, "height": 960}, {"width": 390, "height": 844}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="emoji")
    model = parser.parse_args().model
    OUT.mkdir(exist_ok=True)
    with running(model) as (address, _), sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        for shoot in (_drawing_and_light, _dark, _phone, _sweep, _priming):
            shoot(browser, address)


def _drawing_and_light(browser: Browser, address: str) -> None:
    page = _visit(browser, address)
    set_number(page, "samples", 32)
    draw(page, BIRD)
    gallery(page, "sampling").wait_for()
    page.wait_for_function("document.querySelector('.card').style.getPropertyValue('--drawn') >= 0.5")
    _shoot(page, "drawing")
    await_gallery(page)
    _shoot(page, "light")


def _dark(browser: Browser, address: str) -> None:
    page = _visit(browser, address, color_scheme="dark")
    set_number(page, "samples", 32)
    for prompt in (BIRD, "a blue strawberry", "three red hearts"):
        draw(page, prompt)
        await_gallery(page)
        page.get_by_role("button", name="Star picture 1").click()
    page.get_by_role("tab", name="History").click()
    _shoot(page, "dark")


def _phone(browser: Browser, address: str) -> None:
    page = _visit(browser, address, viewport=PHONE, device_scale_factor=2)
    set_number(page, "samples", 16)
    draw(page, BIRD)
    await_gallery(page)
    _shoot(page, "phone")


def _sweep(browser: Browser, address: str) -> None:
    """A phone in fifteen periods."""
    page = _visit(browser, address)
    set_number(page, "samples", 8)
    page.get_by_role("tab", name="Templates").click()
    page.locator("#templates .family", has_text="Time").click()
    page.get_by_label("Side by side").select_option("period")
    page.get_by_role("button", name="Draw 15 columns").click()
    page.get_by_role("button", name="Copy link").wait_for()
    page.locator(".columns").evaluate("(columns) => columns.scrollTo(0, 0)")
    _shoot(page, "sweep")


def _priming(browser: Browser, address: str) -> None:
    """The best picture of a first drawing is continued in a second one."""
    page = _visit(browser, address)
    set_number(page, "samples", 32)
    draw(page, BIRD)
    await_gallery(page)
    page.get_by_role("button", name="Continue picture 1:").click()
    page.locator("#canvas img").first.wait_for()
    draw(page, "this bird is red with a blue belly and a short beak")
    await_gallery(page)
    page.mouse.wheel(0, -10_000)
    _shoot(page, "priming")


def _visit(browser: Browser, address: str, **settings: object) -> Page:
    page = browser.new_page(**{"viewport": WIDE, "reduced_motion": "reduce", **settings})
    page.set_default_timeout(3 * PATIENCE)  # nothing is wrong on a slow machine
    open_page(page, address)
    return page


def _shoot(page: Page, name: str) -> None:
    page.evaluate("document.activeElement.blur()")
    page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth)")
    page.screenshot(path=OUT / f"{name}.png")


if __name__ == "__main__":
    main()
