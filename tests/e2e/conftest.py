"""A browser, the real program with a model, and a page on a studio that draws stripes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from fakes import FakeStudio
from program import ROOT, free_port, launch_chromium, running

expect.set_options(timeout=60_000)  # a busy machine is no failure


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A click that comes within a frame of an update can be lost, by the page's framework and only on a machine too
    busy for its browser: what fails twice is broken.
    """
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield launch_chromium(playwright)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh visitor; the test fails where the page raised an error or asked anything outside this machine."""
    yield from visit(browser)


def visit(browser: Browser, expected: str = "nothing", **settings: object) -> Iterator[Page]:
    """`expected` is part of those messages of the console that are no trouble."""
    context = browser.new_context(reduced_motion="reduce", **settings)  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    page, trouble = context.new_page(), []
    page.on("pageerror", lambda error: trouble.append(f"page error: {error}"))
    page.on("console", lambda m: m.type == "error" and expected not in m.text and trouble.append(f"console: {m.text}"))
    page.on("request", lambda r: _outside(r.url) and trouble.append(f"request to {r.url}"))
    yield page
    context.close()
    assert trouble == []


def _outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model; where its weights are not at hand, a tiny one with random weights."""
    if (ROOT / "assets" / "emoji" / "model.json").is_file():
        return "emoji"
    import tiny_model

    return str(tiny_model.make(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="session")
def program(model: str) -> Iterator[str]:
    """The address of `app.py`, started as a person would start it; it must not print a traceback."""
    with running(model) as (address, log):
        yield address
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def stripes() -> Iterator[tuple[FakeStudio, str]]:
    """A fake studio and the address of its page: everything but the nets is real."""
    yield from serve(FakeStudio())


def serve(
    studio: FakeStudio, *more: FakeStudio, loaded: Event | None = None, **settings: int
) -> Iterator[tuple[FakeStudio, str]]:
    """The page of a studio, and of others that can be chosen; they load until `loaded` is set."""
    from dalle import ui

    named = {known.bundle.name: known for known in (studio, *more)}

    def load(name: str) -> FakeStudio:
        if loaded:
            loaded.wait(120)
        return named[name]

    studios = ui.Studios(load, list(named))  # type: ignore[arg-type]
    blocks, options = ui.build(studios, **settings)
    blocks.launch(server_port=free_port(), prevent_thread_lock=True, quiet=True, **options)
    yield studio, blocks.local_url
    blocks.close()
