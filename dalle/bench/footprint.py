"""What the program takes of the machine: memory for one request, seconds from its start to a page that answers.

Both are measured from outside, on fresh processes; Unix only, which tells how much memory a process had at most.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "a red bird"
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, or kibibytes, as the system counts them
PATIENCE = 120.0  # seconds to wait for the page


@dataclass(frozen=True)
class Footprint:
    model: str
    samples: int
    peak: int  # resident bytes at most, from start to last PNG
    ready: float  # seconds from `python app.py` to the first answer

    def table(self) -> str:
        return (
            f"{self.model}: at most {self.peak / 1e9:.2f} GB resident for {self.samples} samples;"
            f" the page answers {self.ready:.1f} s after its start"
        )


def measure(model: str = "emoji", samples: int = 16) -> Footprint:
    return Footprint(model, samples, _peak(model, samples), _ready(model))


def _peak(model: str, samples: int) -> int:
    """Resident bytes of a process that draws, at most."""
    with tempfile.TemporaryDirectory() as folder:
        asked = ["generate", PROMPT, "--model", model, "--samples", str(samples), "--out", folder]
        child = subprocess.Popen([sys.executable, "-m", "dalle", *asked], cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, "generate")
    return usage.ru_maxrss * UNIT


def _ready(model: str) -> float:
    """Seconds from a start of the page to its first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    server = [sys.executable, "app.py", "--model", model, "--port", str(port)]
    with subprocess.Popen(server, cwd=ROOT, stdout=subprocess.DEVNULL) as page:
        try:
            while not _answers(f"http://127.0.0.1:{port}/"):
                if page.poll() is not None or time.perf_counter() - start > PATIENCE:
                    raise TimeoutError("The page did not start.")
                time.sleep(0.05)
            return time.perf_counter() - start
        finally:
            page.terminate()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as reply:
            return reply.status == 200
    except urllib.error.URLError:  # not yet
        return False
