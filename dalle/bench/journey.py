"""End to end: one sentence to the PNGs of a ranked gallery, with a model that is loaded and warm."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalle.bench.machine import seconds
from dalle.contracts import Bundle, Candidate, Request
from dalle.engine import Studio
from dalle.images import metadata, save_png

PROMPT = "a red bird"


@dataclass(frozen=True)
class Journey:
    """One request; the shares are of its whole time."""

    model: str
    samples: int
    keep: int
    seconds: float  # from the sentence to the last PNG
    shares: dict[str, float]
    first_preview: float  # when the first pictures were shown

    def table(self) -> str:
        parts = (f"  {name:12}{share:7.1%}" for name, share in self.shares.items())
        title = f"{self.model}: {self.samples} samples, {self.keep} kept, {self.seconds:.2f} s"
        return "\n".join([title, *parts, f"  first preview after {self.first_preview:.1%}"])


def measure(model: str = "emoji", samples: int = 16, keep: int = 8) -> Journey:
    """Draw once to warm up, then once by the clock."""
    studio = Studio.load(model)
    studio.settle()
    _run(studio, samples, keep)
    return _run(studio, samples, keep)


def _run(studio: Studio, samples: int, keep: int) -> Journey:
    request, previewed = Request(PROMPT, samples, keep), None
    start = time.perf_counter()
    for update in studio.generate(request):
        if update.candidates and previewed is None:
            previewed = time.perf_counter() - start
    png = seconds(lambda: _save(request, update.candidates, studio.bundle))
    whole = time.perf_counter() - start
    shares = {name: spent / whole for name, spent in {**update.timings, "PNG": png}.items()}
    return Journey(studio.bundle.name, samples, keep, whole, shares, (previewed or whole) / whole)


def _save(request: Request, candidates: Sequence[Candidate], bundle: Bundle) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for candidate in candidates:
            path = Path(folder) / f"{candidate.index}.png"
            save_png(candidate.picture, path, metadata(request, candidate, bundle))
