"""End to end: one sentence to the PNGs of a ranked gallery, with a model that is loaded and warm."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dalle.bench.machine import seconds
from dalle.contracts import Bundle, Candidate, Request
from dalle.engine import Studio
from dalle.images import metadata, save_png

PROMPT = "a red bird"


@dataclass(frozen=True)
class Journey:
    """One request without previews, as the command line makes it, and one with them, as the page does."""

    model: str
    samples: int
    keep: int
    seconds: float  # without previews, from the sentence to the last PNG
    shares: dict[str, float]  # of that, by part
    seconds_with_previews: float
    first_preview: float  # when the first pictures were shown, as a share of that

    def table(self) -> str:
        parts = (f"  {name:12}{share:7.1%}" for name, share in self.shares.items())
        title = f"{self.model}: {self.samples} samples, {self.keep} kept, {self.seconds:.2f} s without previews"
        page = f"  with previews {self.seconds_with_previews:.2f} s, the first of them after {self.first_preview:.1%}"
        return "\n".join([title, *parts, page])


def measure(model: str = "emoji", samples: int = 16, keep: int = 8, device: str = "cpu") -> Journey:
    """Draw once to warm up, then by the clock."""
    studio, request = Studio.load(model, device), Request(PROMPT, samples, keep)
    studio.settle()
    _run(studio, request)
    whole, shares, _ = _run(studio, replace(request, previews=0))
    page, _, preview = _run(studio, request)
    return Journey(studio.bundle.name, samples, keep, whole, shares, page, preview / page)


def _run(studio: Studio, request: Request) -> tuple[float, dict[str, float], float]:
    """Seconds in all, the share of each part, seconds to the first pictures."""
    start = time.perf_counter()
    shown = []
    for update in studio.generate(request):
        if update.candidates:
            shown.append(time.perf_counter() - start)
    png = seconds(lambda: _save(request, update.candidates, studio.bundle))
    whole = time.perf_counter() - start
    return whole, {name: spent / whole for name, spent in {**update.timings, "PNG": png}.items()}, shown[0]


def _save(request: Request, candidates: Sequence[Candidate], bundle: Bundle) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for candidate in candidates:
            path = Path(folder) / f"{candidate.index}.png"
            save_png(candidate.picture, path, metadata(request, candidate, bundle))
