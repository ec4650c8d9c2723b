"""What a visitor does, in words."""

import base64
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

PATIENCE = 120_000  # milliseconds for a model to load, or to draw, on a busy machine


def open_page(page: Page, address: str) -> None:
    page.goto(address, timeout=PATIENCE)
    expect(page.locator("#status")).to_contain_text("Ready", timeout=PATIENCE)


def write(page: Page, prompt: str) -> None:
    page.locator("#prompt textarea").fill(prompt)


def draw(page: Page, prompt: str) -> None:
    """Types the prompt and presses Enter. From now on, the gallery that is there counts as an old one."""
    write(page, prompt)
    page.evaluate("document.querySelector('#pictures .gallery')?.setAttribute('data-old', '')")
    page.locator("#prompt textarea").press("Enter")


def set_number(page: Page, slider: str, value: int) -> None:
    field = page.locator(f"#{slider} input[type=number]")
    field.fill(str(value))
    field.press("Tab")


def gallery(page: Page, stage: str) -> Locator:
    """That of the latest drawing."""
    return page.locator(f"#pictures > * .gallery[data-stage={stage}]:not([data-old])").first


def await_gallery(page: Page) -> Locator:
    """Waits for the ranked cards."""
    ranked = gallery(page, "done")
    expect(ranked).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#draw")).to_be_visible(timeout=PATIENCE)
    return ranked


def wait_until(page: Page, met: Callable[[], bool]) -> None:
    """Waits for what the page does not show."""
    end = time.monotonic() + PATIENCE / 1000
    while not met():
        assert time.monotonic() < end
        page.wait_for_timeout(50)


def open_panel(page: Page, panel: str) -> None:
    """What a closed panel was told by the program arrives some frames after that of the open parts, and is shown some
    frames after the panel opened; whoever is faster than that loses what they typed.
    """
    _settle(page)
    page.locator(f"#{panel} > button").click()
    _settle(page)


def _settle(page: Page) -> None:
    page.evaluate(
        """async () => {
          for (let frame = 0; frame < 5; frame++) {
            await new Promise(requestIdleCallback);
            await new Promise(requestAnimationFrame);
          }
        }"""
    )


def copied_link(page: Page) -> str:
    """Presses "Copy link" and reads the link from the page."""
    page.get_by_role("button", name="Copy link").click()
    return page.locator(".address input").input_value()


def drop_file(page: Page, path: Path) -> None:
    """Drops a file somewhere on the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([data, name]) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const files = new DataTransfer();
          files.items.add(new File([bytes], name));
          const event = { dataTransfer: files, bubbles: true, cancelable: true };
          document.querySelector("#wall").dispatchEvent(new DragEvent("drop", event));
        }""",
        [data, path.name],
    )


def starred(page: Page) -> Locator:
    return page.locator(".stars button")
