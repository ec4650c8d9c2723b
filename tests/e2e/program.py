"""Starting what the tests and the screenshots look at: `app.py` and Chromium."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # seconds for a busy machine to open the page
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


def launch_chromium(playwright: Playwright) -> Browser:
    """The system's own. Raises RuntimeError where there is none: the page's tests are not to be skipped."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise RuntimeError("The tests of the page need Chromium: apt-get install chromium")
    return playwright.chromium.launch(executable_path=path, args=CHROMIUM)


@contextmanager
def running(model: str, root: Path = ROOT, python: str = sys.executable) -> Iterator[tuple[str, Path]]:
    """The address of `app.py` with a model, and its log. `root` and `python`: where it lies, and what runs it."""
    port, log = free_port(), Path(tempfile.mkdtemp()) / "app.log"
    command = [python, "app.py", "--model", model, "--device", "cpu", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=root, stdout=output, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, process, log)
        yield address, log
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    raise RuntimeError(f"app.py does not answer:\n{log.read_text()[-2000:]}")
