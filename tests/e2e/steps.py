"""What a visitor does, in words."""

from playwright.sync_api import Locator, Page, expect

PATIENCE = 300_000  # milliseconds for a model to load, or to draw, on a busy machine


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#status")).to_contain_text("Ready", timeout=PATIENCE)


def write(page: Page, prompt: str) -> None:
    page.locator("#prompt textarea").fill(prompt)


def draw(page: Page, prompt: str) -> None:
    """Types the prompt and presses Enter."""
    write(page, prompt)
    page.locator("#prompt textarea").press("Enter")


def set_number(page: Page, slider: str, value: int) -> None:
    field = page.locator(f"#{slider} input[type=number]")
    field.fill(str(value))
    field.press("Tab")


def gallery(page: Page, stage: str) -> Locator:
    return page.locator(f"#pictures > * .gallery[data-stage={stage}]").first


def await_gallery(page: Page) -> Locator:
    """Waits for the ranked cards."""
    ranked = gallery(page, "done")
    expect(ranked).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#draw")).to_be_visible()
    return ranked


def open_panel(page: Page, panel: str) -> None:
    page.locator(f"#{panel} > button").click()
