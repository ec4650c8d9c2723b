"""A studio that draws colored stripes: everything the page can see of the real one, in milliseconds."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
from PIL import Image

from dalle import images
from dalle.contracts import Candidate, Request, SamplingOptions, Update
from dalle.errors import PromptError

ROWS = 16


class FakeStudio:
    def __init__(self, pause: float = 0.02, name: str = "stripes", can_guide: bool = True) -> None:
        self.pause = pause
        self.device = "cpu"
        self.closed = 0  # how many drawings were stopped
        self.requests: list[Request] = []
        self._going = threading.Event()
        self.release()
        self.bundle = SimpleNamespace(
            name=name,
            title=f"Colored {name}",
            options=SamplingOptions(guidance=2.0),
            fingerprint=name.encode().hex(),
            text=SimpleNamespace(length=64, count=_count, null=object() if can_guide else None),
            images=SimpleNamespace(grid=(ROWS, ROWS), size=256, vocab=8192),
            ranker=object(),
            place=None,
            languages=(),
            agreement=False,
        )

    def hold(self) -> None:
        """Drawings get no further than their second row until they are released."""
        self._going.clear()

    def release(self) -> None:
        self._going.set()

    def read(self, picture: Image.Image) -> np.ndarray:
        return np.asarray(images.square(picture, ROWS).convert("L")).astype(np.int64)

    def show(self, tokens: np.ndarray) -> Image.Image:
        return _shown(tokens).convert("RGB")

    def generate(self, request: Request) -> Iterator[Update]:
        if not request.prompt.strip():
            raise PromptError("Please type a sentence first.")
        self.requests.append(request)
        begun = time.monotonic()
        try:
            for row in range(_first_row(request), ROWS + 1):
                time.sleep(self.pause)
                while row == 2 and not self._going.wait(0.05):
                    yield Update("sampling", row, ROWS, time.monotonic() - begun, None)
                shown = tuple(_candidate(request, i, row) for i in range(request.samples)) if row % 2 == 0 else ()
                yield Update("sampling", row, ROWS, time.monotonic() - begun, self.pause * (ROWS - row), shown)
            yield Update("ranking", ROWS, ROWS, time.monotonic() - begun, None)
            ranked = sorted(
                (_candidate(request, i, ROWS, score=0.2 + (i * 37 % 11) / 100) for i in range(request.samples)),
                key=lambda c: -(c.score or 0),
            )
            keep = request.keep or request.samples
            yield Update("done", ROWS, ROWS, time.monotonic() - begun, 0, tuple(ranked[:keep]), tuple(ranked[keep:]))
        except GeneratorExit:
            self.closed += 1
            raise


def _count(prompt: str) -> int:
    return len(prompt.split()) + 2


def _first_row(request: Request) -> int:
    return 0 if request.kept is None else int((request.kept < 0).any(1).argmax())


def _shown(tokens: np.ndarray) -> Image.Image:
    return Image.fromarray(tokens.clip(0, 255).astype(np.uint8)).resize((256, 256), Image.Resampling.NEAREST)


def _candidate(request: Request, index: int, row: int, score: float | None = None) -> Candidate:
    rng = np.random.default_rng((request.seed, index))
    base = rng.integers(90, 230, 3)
    wave = np.sin(np.linspace(0, 9, 256) + index)[:, None, None] * 30
    pixels = np.broadcast_to(base + wave, (256, 256, 3)).clip(0, 255).astype(np.uint8).copy()
    tokens = np.full((ROWS, ROWS), index)
    tokens[row:] = -1
    pixels[row * 16 :] = 255
    picture = Image.fromarray(pixels)
    if request.kept is not None:
        picture.paste(_shown(request.kept), mask=Image.fromarray((request.kept >= 0).repeat(16, 0).repeat(16, 1)))
    return Candidate(index, picture, tokens, score)
