"""The shapes that the floors agree on: what a tokenizer, a model and a ranker are, what is asked and what comes back.

Letters: B pictures or sentences, T text tokens, (h, w) the token grid, I = h*w image tokens, V image codes,
H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

if TYPE_CHECKING:  # the page imports this file and must not wait for torch
    import numpy as np
    from PIL import Image
    from torch import Tensor


class ImageTokenizer(Protocol):
    """A discrete VAE seen from outside: pictures to a grid of codes and back."""

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w)"""

    @property
    def vocab(self) -> int:
        """V"""

    @property
    def size(self) -> int:
        """Pixels along each side."""

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) in [0, 1] -> (B, h, w) int64."""

    def decode(self, tokens: Tensor) -> Tensor:
        """(B, r, w) int64, the top r <= h rows -> (B, 3, r/h * size, size) in [0, 1]."""


class TextTokenizer(Protocol):
    """Sentences to the text tokens that a model was trained on."""

    length: int  # T

    @property
    def null(self) -> Tensor | None:
        """(T,) the empty caption, for guidance; None where the model never saw one."""

    def encode(self, prompt: str) -> Tensor:
        """str -> (T,) int64, padding and special tokens included; what does not fit is cut."""

    def count(self, prompt: str) -> int:
        """How many of the T tokens the prompt would need (it may be more than T)."""

    def readable(self, prompt: str) -> bool:
        """Whether any part of the prompt is written in letters that the model knows."""


class State(Protocol):
    """What a model remembers between steps (keys, values, position); it is the caller's, never the model's."""

    def repeat(self, n: int) -> Self:
        """Each of the B sequences n times, in order: row b becomes rows b*n … b*n + n-1."""


class TokenModel(Protocol):
    """The transformer seen from outside: logits of the next image token."""

    @property
    def vocab(self) -> int:
        """V"""

    @property
    def lanes(self) -> int | None:
        """How many sequences a step must always read at once, each in its own place, to give the same bits for it
        in any company: a matrix product of another number of rows may round differently. None: any number."""

    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, State]:
        """(B, T) text and (B, n) first image tokens, n >= 0 -> (B, V) logits of image token n, and the state."""

    def step(self, tokens: Tensor, state: Any) -> Tensor:
        """(B,) the image tokens just chosen -> (B, V) logits of the next one; changes only `state`."""


class Ranker(Protocol):
    """CLIP seen from outside."""

    def score(self, prompt: str, images: Tensor) -> Tensor:
        """str, (B, 3, H, W) in [0, 1] -> (B,) cosine similarities, higher is better."""


@dataclass(frozen=True)
class SamplingOptions:
    """How a token is drawn from the logits; the filters apply in this order."""

    guidance: float = 1.0  # classifier-free guidance scale; 1 is none
    temperature: float = 1.0  # 0 takes the likeliest token
    top_k: int = 0  # keep the k likeliest tokens; 0 keeps all
    top_p: float = 1.0  # keep the likeliest tokens that hold this share of the probability


@dataclass(frozen=True)
class Bundle:
    """A model that is ready to draw: what `dalle.models` makes from files."""

    name: str
    title: str
    text: TextTokenizer
    model: TokenModel
    images: ImageTokenizer
    ranker: Ranker | None
    options: SamplingOptions  # the settings that this model draws best with
    fingerprint: str  # of the weights: the same fingerprint, prompt, seed and settings give the same picture
    place: Path | None = None  # its file or folder; what was measured of it lies beside
    languages: tuple[str, ...] = ()  # of prompts; none where they are not known
    agreement: bool = False  # counts as much as CLIP in completions and for quoted words, where it was found to help


@dataclass(frozen=True)
class Request:
    """One wish: a sentence and how to draw it. Candidate i of seed s is the same picture at any `samples`."""

    prompt: str
    samples: int = 8  # pictures drawn
    keep: int | None = None  # pictures returned, those of the best scores; None: all
    seed: int = 0
    options: SamplingOptions | None = None  # None: the model's own
    kept: np.ndarray | None = field(default=None, compare=False)  # (h, w) tokens to keep; -1: to be drawn
    previews: int = 8  # how often the unfinished pictures are shown: some always, more while it takes little time


@dataclass(frozen=True)
class Borders:
    """What stays of a priming picture: token rows at its top and bottom, token columns at its left and right.

    Where two of them meet, all of it stays.
    """

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def of(self, tokens: np.ndarray) -> np.ndarray:
        """(h, w) tokens -> the same, with -1 inside the borders."""
        kept = tokens.copy()
        h, w = kept.shape
        kept[self.top : max(h - self.bottom, self.top), self.left : max(w - self.right, self.left)] = -1
        return kept

    def strips(self, h: int, w: int) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each border of an (h, w) grid; to the last one that has a corner it belongs."""
        rows, columns = slice(h), slice(w)
        if self.bottom:
            yield slice(max(h - self.bottom, 0), h), columns
        if self.right:
            yield rows, slice(max(w - self.right, 0), w)
        if self.left:
            yield rows, slice(self.left)
        if self.top:
            yield slice(self.top), columns


ScoredBy = Literal["CLIP", "likelihood", "CLIP and agreement"]


@dataclass(frozen=True)
class Candidate:
    """One picture of a request, finished or not. Scores compare within one prompt only; higher is better.

    Where there is CLIP, a score is its cosine similarity of sentence and picture; where there is none, the model's own
    log-likelihood of the picture's tokens given the sentence, in nats per token. With `Bundle.agreement` that of a
    completed picture, or of one with a quoted word, is its mean standing by CLIP and by agreement, in standard
    deviations.
    """

    index: int  # the i of (seed, i)
    picture: Image.Image  # RGB; rows not yet drawn are blank
    tokens: np.ndarray  # (h, w) int64; -1 where not yet drawn
    score: float | None = None
    scored_by: ScoredBy = "CLIP"


@dataclass(frozen=True)
class Update:
    """News of a request. The last one has `stage == "done"` and its candidates best first."""

    stage: str  # "sampling", "ranking" where there is CLIP, or "done"
    row: int  # token rows finished, kept ones included
    rows: int  # token rows in all
    seconds: float  # since the request began
    remaining: float | None  # seconds, estimated; None while there is nothing to estimate from
    candidates: tuple[Candidate, ...] = ()  # empty when this update carries no new pictures
    dropped: tuple[Candidate, ...] = ()  # with "done": the ones that were drawn and not kept, best first
    timings: dict[str, float] = field(default_factory=dict)  # with "done": seconds by part of the work


Progress = Callable[[float, str], None]  # share done in [0, 1], what is being done
