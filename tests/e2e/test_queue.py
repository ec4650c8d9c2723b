"""Many visitors at one device: who waits, who leaves, who is refused."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from conftest import serve, visit
from fakes import FakeStudio
from playwright.sync_api import Browser, Page, expect
from steps import await_gallery, draw, open_page, wait_until


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FakeStudio, str]]:
    yield from serve(FakeStudio(), queue=3)


@pytest.fixture
def narrow(served) -> Iterator[tuple[FakeStudio, str]]:
    """A page where only three drawings may wait, and none gets far until the studio is released."""
    studio, address = served
    studio.hold()
    yield studio, address
    studio.release()


@contextmanager
def visitors(browser: Browser, address: str, count: int, **settings: object) -> Iterator[list[Page]]:
    with ExitStack() as stack:
        pages = [stack.enter_context(contextmanager(visit)(browser, **settings)) for _ in range(count)]
        for page in pages:
            open_page(page, address)
        yield pages


def status(page: Page, text: str) -> None:
    expect(page.locator("#status")).to_contain_text(text, use_inner_text=True)


def test_six_browsers_at_a_queue_of_three(browser: Browser, narrow):
    studio, address = narrow
    with visitors(browser, address, 6, expected="503") as pages:
        for place, page in enumerate(pages[:4]):
            draw(page, f"bird number {place}")
            if place:
                expect(page.locator("#status")).to_have_attribute("data-place", f"Place {place} in the queue …")
            else:
                status(page, "Row")
        for page in pages[4:]:
            draw(page, "one too many")
            status(page, "Too many drawings are waiting")
            expect(page.locator("#draw")).to_be_visible()
            expect(page.locator(".toast-body")).to_have_count(0, timeout=8_000)  # they stay for ten seconds
        studio.release()
        for place, page in enumerate(pages[:4]):
            ranked = await_gallery(page)
            expect(ranked.locator("img").first).to_have_attribute("alt", f"bird number {place}, picture 5")
        draw(pages[5], "now there is room")
        await_gallery(pages[5])


def test_a_drawing_that_waits_can_be_stopped(browser: Browser, narrow):
    studio, address = narrow
    with visitors(browser, address, 2) as (first, second):
        draw(first, "the first")
        status(first, "Row")
        draw(second, "the second")
        expect(second.locator("#status")).to_have_attribute("data-place", "Place 1 in the queue …")
        second.keyboard.press("Escape")
        status(second, "Stopped.")
        expect(second.locator("#draw")).to_be_visible()
        studio.release()
        await_gallery(first)
        assert studio.requests[-1].prompt == "the first"
        draw(second, "the second")
        await_gallery(second)


def test_a_visitor_who_leaves_makes_room(browser: Browser, narrow):
    studio, address = narrow
    closed = studio.closed
    with visitors(browser, address, 2) as (first, second):
        draw(first, "the first")
        status(first, "Row")
        first.close()
        wait_until(second, lambda: studio.closed == closed + 1)
        draw(second, "the second")
        studio.release()
        await_gallery(second)
