"""End to end: one sentence to the PNGs of a ranked gallery, with a model that is loaded and warm."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from dalle.bench.machine import seconds
from dalle.contracts import Bundle, Candidate, Request, State, TokenModel
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
    _run(studio, samples, keep)
    return _run(studio, samples, keep)


def _run(studio: Studio, samples: int, keep: int) -> Journey:
    clocked = _Clocked(studio.bundle.model)
    bundle = replace(studio.bundle, model=cast(TokenModel, clocked))
    request, previewed = Request(PROMPT, samples, keep), None
    start = time.perf_counter()
    for update in Studio(bundle, studio.device).generate(request):
        if update.candidates and previewed is None:
            previewed = time.perf_counter() - start
    png = seconds(lambda: _save(request, update.candidates, bundle))
    whole = time.perf_counter() - start
    parts = {"prefill": clocked.prefilling, **update.timings, "PNG": png}
    parts["sampling"] -= clocked.prefilling
    shares = {name: spent / whole for name, spent in parts.items()}
    return Journey(bundle.name, samples, keep, whole, shares, (previewed or whole) / whole)


def _save(request: Request, candidates: Sequence[Candidate], bundle: Bundle) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for candidate in candidates:
            path = Path(folder) / f"{candidate.index}.png"
            save_png(candidate.picture, path, metadata(request, candidate, bundle))


class _Clocked:
    """A model that counts the seconds of its prefills; the rest of it is untouched."""

    def __init__(self, model: TokenModel):
        self._model, self.prefilling = model, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, State]:
        start = time.perf_counter()
        try:
            return self._model.prefill(text, image)
        finally:
            self.prefilling += time.perf_counter() - start
