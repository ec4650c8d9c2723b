"""A browser, the real program with a model, and a page on a studio that draws stripes."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from fakes import FakeStudio  # noqa: E402

CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 300  # seconds for a busy machine to load a model

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("These tests need Chromium: `apt-get install chromium`.")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=CHROMIUM)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh visitor; the test fails where the page raised an error or asked anything outside this machine."""
    yield from visit(browser)


def visit(browser: Browser, **settings: object) -> Iterator[Page]:
    context = browser.new_context(reduced_motion="reduce", **settings)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    page, trouble = context.new_page(), []
    page.on("pageerror", lambda error: trouble.append(f"page error: {error}"))
    page.on("console", lambda m: m.type == "error" and trouble.append(f"console: {m.text}"))
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
def program(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `app.py`, started as a person would start it."""
    port, log = _free_port(), tmp_path_factory.mktemp("log") / "app.log"
    command = [sys.executable, "app.py", "--model", model, "--device", "cpu", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in log.read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"app.py ended:\n{log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    pytest.fail(f"app.py did not answer within {PATIENCE} s:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def stripes() -> Iterator[tuple[FakeStudio, str]]:
    """A fake studio and the address of its page: everything but the nets is real."""
    from dalle import ui

    studio: FakeStudio = FakeStudio()
    loaded: Future[FakeStudio] = Future()
    loaded.set_result(studio)
    blocks, options = ui.build(loaded)  # type: ignore[arg-type]
    blocks.launch(server_port=_free_port(), prevent_thread_lock=True, quiet=True, **options)
    yield studio, blocks.local_url
    blocks.close()
