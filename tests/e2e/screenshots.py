"""Takes the pictures of the page for the README: `python tests/e2e/screenshots.py [--model NAME]`."""

import argparse
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from program import ROOT, launch_chromium, running
from steps import await_gallery, draw, gallery, open_page, open_panel, set_number

OUT = ROOT / "assets" / "screenshots"
WIDE, PHONE = {"width": 1280, "height": 960}, {"width": 390, "height": 844}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="emoji")
    model = parser.parse_args().model
    OUT.mkdir(exist_ok=True)
    with running(model) as (address, _), sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        _drawing_and_light(browser, address)
        _dark(browser, address)
        _phone(browser, address)
        _priming(browser, address)


def _drawing_and_light(browser: Browser, address: str) -> None:
    page = _visit(browser, address)
    draw(page, "this bird is red with a yellow belly and a short beak")
    gallery(page, "sampling").wait_for()
    page.wait_for_function("document.querySelector('.gallery').style.getPropertyValue('--drawn') >= 0.5")
    _shoot(page, "drawing")
    await_gallery(page)
    _shoot(page, "light")


def _dark(browser: Browser, address: str) -> None:
    page = _visit(browser, address, color_scheme="dark")
    page.get_by_role("tab", name="Time").click()
    page.get_by_role("button", name="Use this sentence").locator("visible=true").click()
    page.locator("#draw").click()
    await_gallery(page)
    _shoot(page, "dark")


def _phone(browser: Browser, address: str) -> None:
    page = _visit(browser, address, viewport=PHONE, device_scale_factor=2)
    draw(page, "this bird is very shiny and red in color")
    await_gallery(page)
    _shoot(page, "phone")


def _priming(browser: Browser, address: str) -> None:
    """The best picture of a first drawing is continued in a second one."""
    page = _visit(browser, address)
    set_number(page, "samples", 4)
    draw(page, "a red bird")
    await_gallery(page)
    with page.expect_download() as download:
        page.locator(".save").first.click()
    open_panel(page, "priming")
    page.locator("#prime input[type=file]").set_input_files(Path(download.value.path()).rename(OUT / "start.png"))
    page.locator("#prime-preview img").wait_for()
    (OUT / "start.png").unlink()
    draw(page, "a green bird")
    page.locator("#stop").wait_for()
    await_gallery(page)
    _shoot(page, "priming")


def _visit(browser: Browser, address: str, **settings: object) -> Page:
    page = browser.new_page(**{"viewport": WIDE, "reduced_motion": "reduce", **settings})
    open_page(page, address)
    return page


def _shoot(page: Page, name: str) -> None:
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=OUT / f"{name}.png")


if __name__ == "__main__":
    main()
