"""The one road from a sentence to a ranked gallery.

Letters: n candidates, T text tokens, (h, w) the token grid, S pixels along a side.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dalle import agreement, images, models, sampling
from dalle.contracts import Borders, Bundle, Candidate, Request, SamplingOptions, ScoredBy, TokenModel, Update
from dalle.errors import ModelError, PromptError, SettingError
from dalle.native import Accelerator
from dalle.nn.transformer import Transformer

BATCH = 32  # candidates drawn at once
MAX_SAMPLES = 256
MAX_CHARACTERS = 2000
BLANK = (236, 236, 236)  # what is not drawn yet
SURE = 3  # parts of a picture that are shown as they are reached, however long that takes
PREVIEWING = 0.1  # of the time that a request takes, what further previews may take


class Studio:
    """A model, ready to draw."""

    def __init__(self, bundle: Bundle, device: torch.device, lookahead: int = 1):
        """`lookahead` tokens are read at once by a net that can, at most a row; 1 takes the fastest single step."""
        self.bundle = bundle
        self.device = device
        self.lookahead = min(lookahead, bundle.images.grid[1]) if _looks_ahead(bundle.model) else 1
        self._accelerator = Accelerator(bundle.model)

    @classmethod
    def load(cls, name: str = "emoji", device: str = "auto", dtype: str = "float32", lookahead: int = 1) -> Self:
        """A registered model, or the one in a file or folder. `dtype` is that of the transformer's weights.

        With a `lookahead` of 2 or more, fewer passes draw the same pictures: faster where a pass over several tokens
        takes little longer than a step, as it does for a single candidate, or on a device that waits for memory.

        Raises ModelError, or SettingError for the device or the type.
        """
        place = models.pick_device(device)
        return cls(models.load(name, place, models.pick_dtype(dtype)), place, lookahead)

    def settle(self) -> None:
        """Wait for the fastest step that this machine has, as no drawing does."""
        self._accelerator.finish()

    def generate(self, request: Request) -> Iterator[Update]:
        """Draw, decode, rank. Closing the iterator stops the work within a row.

        Yields an update for every token row; some carry the unfinished pictures, the last one the ranked gallery.
        Raises InputError before anything is drawn.
        """
        options = self._check(request)
        job = _Job(request, options, self.bundle.images.grid, time.perf_counter())
        text = self.bundle.text.encode(request.prompt).to(self.device)  # (T,)
        kept = self._kept(request)  # (h*w,)
        model = self._accelerator.best() if self.lookahead == 1 else self.bundle.model
        for start in range(0, request.samples, BATCH):
            batch = range(start, min(start + BATCH, request.samples))
            yield from self._draw(job, model, batch, text, kept)
        if self.bundle.ranker is not None:
            yield job.update("ranking")
            self._ask(job)
        yield self._rank(job)

    def read(self, picture: Image.Image) -> np.ndarray:
        """The (h, w) tokens of the largest centred square of a picture."""
        return self._encode(self._square(picture))

    def read_strips(self, picture: Image.Image, borders: Borders) -> np.ndarray:
        """The (h, w) tokens of the borders of that square, -1 inside: each is read as a picture of its own, so that
        nothing of what is drawn anew shows in what is kept.
        """
        pixels, (h, w) = self._square(picture), self.bundle.images.grid
        stride = self.bundle.images.size // h
        tokens = np.full((h, w), -1)
        for strip in borders.strips(h, w):
            rows, columns = (slice((cells.start or 0) * stride, cells.stop * stride) for cells in strip)
            tokens[strip] = self._encode(pixels[:, :, rows, columns])
        return tokens

    def show(self, tokens: np.ndarray) -> Image.Image:
        """The picture of (h, w) tokens."""
        grid = torch.from_numpy(tokens)[None].to(self.device)
        return images.to_pictures(self.bundle.images.decode(grid))[0]

    def scores(self, request: Request, pictures: Sequence[Image.Image]) -> tuple[list[float], ScoredBy]:
        """How finished pictures of a request stand among each other, and by what. Raises ModelError without CLIP."""
        if self.bundle.ranker is None:
            raise ModelError(f"'{self.bundle.name}' has no CLIP to rank with.")
        pixels = images.to_tensor(pictures).to(self.device)
        cosines: Tensor = self.bundle.ranker.score(request.prompt, pixels)
        if self.bundle.agreement and len(pictures) > 1 and agreement.counts(request):
            return agreement.jointly(cosines, pixels).tolist(), "CLIP and agreement"
        return cosines.tolist(), "CLIP"

    def _square(self, picture: Image.Image) -> Tensor:
        """(1, 3, size, size)"""
        return images.to_tensor([images.square(picture, self.bundle.images.size)]).to(self.device)

    def _encode(self, pixels: Tensor) -> np.ndarray:
        """(1, 3, H, W) -> (H / stride, W / stride) tokens."""
        return self.bundle.images.encode(pixels)[0].cpu().numpy()

    def _check(self, request: Request) -> SamplingOptions:
        prompt, text = request.prompt.strip(), self.bundle.text
        if not prompt:
            raise PromptError("Please type what should be in the picture.")
        if len(prompt) > MAX_CHARACTERS:
            raise PromptError(f"The prompt has {len(prompt):,} characters; please use at most {MAX_CHARACTERS:,}.")
        if not text.readable(prompt):
            raise PromptError("This model cannot read that. Please use words of the language that it was trained on.")
        if not 1 <= request.samples <= MAX_SAMPLES:
            raise SettingError(f"The number of samples must lie between 1 and {MAX_SAMPLES}.")
        if request.keep is not None and not 1 <= request.keep <= request.samples:
            raise SettingError("The number of pictures to keep must lie between 1 and the number of samples.")
        if not 0 <= request.seed < 2**63:
            raise SettingError("The seed must be a whole number from 0 up.")
        return sampling.check(request.options or self.bundle.options, can_guide=text.null is not None)

    def _kept(self, request: Request) -> Tensor:
        """(h*w,) the tokens that are given, -1 where one is to be drawn. Raises SettingError."""
        tokenizer = self.bundle.images
        if request.kept is None:
            return torch.full((math.prod(tokenizer.grid),), -1)
        kept = torch.from_numpy(np.asarray(request.kept, dtype=np.int64).copy())
        if kept.shape != tokenizer.grid or kept.max() >= tokenizer.vocab or kept.min() < -1:
            raise SettingError("The tokens to keep are not those of this model. Please give it the picture again.")
        if kept.min() >= 0:
            raise SettingError("All of the picture is kept: please leave the model something to draw.")
        return kept.flatten()

    def _draw(self, job: "_Job", model: TokenModel, batch: range, text: Tensor, kept: Tensor) -> Iterator[Update]:
        """Token rows of one batch of candidates, with previews; leaves the decoded candidates in the job."""
        h, w = self.bundle.images.grid
        null = None if self.bundle.text.null is None else self.bundle.text.null.to(self.device)
        grid = kept.to(self.device).repeat(len(batch), 1)  # (n, h*w)
        unranked = self.bundle.ranker is None
        odds = torch.zeros(grid.shape, device=grid.device) if unranked else None  # (n, h*w) log-likelihoods
        tokens = sampling.draw(model, text, null, job.request.seed, batch, job.options, kept, odds, self.lookahead)
        show = _preview_rows(job.first_row, h, job.request.previews)
        sure = _preview_rows(job.first_row, h, min(SURE, job.request.previews))
        start = int((kept < 0).int().argmax())
        try:
            for position in range(start, h * w):
                with job.clock("sampling" if position > start else "prefill"):
                    grid[:, position] = next(tokens)
                    row, column = divmod(position + 1, w)
                    if column == 0:
                        grid[0, position].item()  # a GPU is asked for rows ahead, and has drawn one when it can tell
                if column == 0 and row < h:
                    job.rows_done += 1
                    affordable = row in sure or (row in show and job.affords(len(batch) * row))
                    drawn = self._preview(job, batch, grid.view(-1, h, w), row) if affordable else ()
                    yield job.update("sampling", (*job.candidates, *drawn) if drawn else ())
        finally:
            tokens.close()
        with job.clock("decoding"):
            drawn = self._candidates(batch, grid.view(-1, h, w), h)
        job.candidates += drawn if odds is None else _likely(drawn, odds[:, start:])
        job.rows_done += 1
        yield job.update("sampling", tuple(job.candidates))

    def _preview(self, job: "_Job", batch: range, grid: Tensor, rows: int) -> list[Candidate]:
        """The first `rows` token rows of (n, h, w) tokens as pictures."""
        with job.clock("previews"):
            drawn = self._candidates(batch, grid, rows)
        job.previewed += len(batch) * rows
        return drawn

    def _candidates(self, batch: range, grid: Tensor, rows: int) -> list[Candidate]:
        """Decode the first `rows` token rows of (n, h, w) tokens into pictures, the rest blank."""
        # whole pictures one by one: the same tokens give the same bytes only in a batch of the same size
        parts = grid[:, :rows].split(grid.shape[1] // rows)
        pictures = images.to_pictures(torch.cat([self.bundle.images.decode(part) for part in parts]))
        tokens = grid.cpu().numpy().copy()  # the grid fills up while this candidate is looked at
        size = self.bundle.images.size
        pictures = [_on_blank(picture, size) for picture in pictures]
        return [Candidate(i, p, t) for i, p, t in zip(batch, pictures, tokens, strict=True)]

    def _ask(self, job: "_Job") -> None:
        """Score all candidates by CLIP."""
        with job.clock("ranking"):
            pictures = [candidate.picture for candidate in job.candidates]
            scores, by = self.scores(job.request, pictures)
        told = zip(job.candidates, scores, strict=True)
        job.candidates = [replace(candidate, score=score, scored_by=by) for candidate, score in told]

    def _rank(self, job: "_Job") -> Update:
        """The best first."""
        ranked = sorted(job.candidates, key=lambda candidate: -(candidate.score or 0.0))
        keep = job.request.keep or len(ranked)
        done = job.update("done", tuple(ranked[:keep]))
        return replace(done, dropped=tuple(ranked[keep:]), timings=dict(job.timings))


@dataclass
class _Job:
    """One request under way."""

    request: Request
    options: SamplingOptions
    grid: tuple[int, int]
    began: float
    candidates: list[Candidate] = field(default_factory=list)  # of the batches that are complete
    rows_done: int = 0  # token rows drawn in this request, all batches together
    previewed: int = 0  # token rows of single candidates, decoded for previews
    timings: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def first_row(self) -> int:
        """The first token row in which something is to be drawn."""
        kept = self.request.kept
        return 0 if kept is None else int((kept < 0).any(1).argmax())

    @property
    def batches(self) -> int:
        return -(-self.request.samples // BATCH)

    @contextmanager
    def clock(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[part] += time.perf_counter() - start

    @property
    def rows_to_draw(self) -> int:
        """In this request, all batches together."""
        return (self.grid[0] - self.first_row) * self.batches

    def affords(self, rows: int) -> bool:
        """Whether there is time for a further preview of `rows` token rows, those of all candidates together.

        Those before it shall have taken little of the time so far, and with it little of the whole.
        """
        spent, seconds = self.timings["previews"], time.perf_counter() - self.began
        another = spent * rows / self.previewed if self.previewed else 0.0
        whole = seconds * self.rows_to_draw / self.rows_done
        return spent <= PREVIEWING * seconds and spent + another <= PREVIEWING * whole

    def update(self, stage: str, candidates: Sequence[Candidate] = ()) -> Update:
        """Where the request stands; kept rows count as done, those of several batches as one after the other."""
        seconds = time.perf_counter() - self.began
        left = self.rows_to_draw - self.rows_done
        remaining = seconds / self.rows_done * left if self.rows_done else None
        rows = self.grid[0] * self.batches
        return Update(stage, rows - left, rows, seconds, remaining, tuple(candidates))


def _looks_ahead(model: TokenModel) -> bool:
    return isinstance(model, Transformer) and model.looks_ahead


def _preview_rows(first: int, height: int, previews: int) -> set[int]:
    """After how many token rows the unfinished pictures are shown: one drawn row, then evenly spaced."""
    evenly = np.linspace(first, height, previews + 1).round().astype(int).tolist()
    return {first + 1, *evenly} if previews > 0 else set()


def _likely(drawn: Sequence[Candidate], odds: Tensor) -> list[Candidate]:
    """Candidates with the means of their rows of (n, k) log-likelihoods for scores."""
    means = [row.mean().item() for row in odds]  # one by one, for the same bits in any company
    return [replace(c, score=score, scored_by="likelihood") for c, score in zip(drawn, means, strict=True)]


def _on_blank(picture: Image.Image, size: int) -> Image.Image:
    """A picture whose lower part is missing, completed with blank."""
    if picture.height == size:
        return picture
    whole = Image.new("RGB", (size, size), BLANK)
    whole.paste(picture)
    return whole
