"""Drawing image tokens one by one: guidance, logit filters, and a random choice that depends on nothing but a table.

Letters: n candidates, V image codes, K codes that a filter left, I = h*w image tokens.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dalle.contracts import SamplingOptions, State, TokenModel
from dalle.errors import SettingError

MAX_GUIDANCE, MAX_TEMPERATURE = 100, 20  # above all that was published: 64 and 16, both for DALL·E mini
GROUP = 8  # codes that the search for the likeliest ones looks at together


def uniforms(seed: int, candidates: Sequence[int], length: int) -> Tensor:
    """The table of randomness: (n, length) float64 in [0, 1), row i from a generator seeded by (seed, candidate i).

    A picture therefore depends neither on the batch that it is drawn in nor on the device.
    """
    streams = [np.random.SeedSequence(seed, spawn_key=(index,)) for index in candidates]
    return torch.from_numpy(np.stack([np.random.default_rng(stream).random(length) for stream in streams]))


def check(options: SamplingOptions, can_guide: bool) -> SamplingOptions:
    """The options, with guidance off where the model never learnt the empty caption. Raises SettingError."""
    if not 0 <= options.temperature <= MAX_TEMPERATURE:
        raise SettingError(f"The temperature must lie between 0 and {MAX_TEMPERATURE}.")
    if options.top_k < 0:
        raise SettingError("Top-k must be 0 (off) or a positive number of tokens.")
    if not 0 < options.top_p <= 1:
        raise SettingError("Top-p must lie above 0 and not above 1.")
    if not 0 <= options.guidance <= MAX_GUIDANCE:
        raise SettingError(f"The guidance scale must lie between 0 and {MAX_GUIDANCE}.")
    return options if can_guide else replace(options, guidance=1.0)


def guide(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: (2n, V), captioned rows then captionless ones -> (n, V)."""
    captioned, captionless = logits.float().chunk(2)
    return captionless + scale * (captioned - captionless)


def filter_logits(logits: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor | None]:
    """Temperature, top-k and top-p: (n, V) -> (n, K) logits, and their (n, K) codes or None where all V are left.

    Top-k leaves exactly k codes; which of those that tie for the last place is not told. Top-p leaves a code where all
    likelier ones together hold less than p of what top-k left; so the likeliest stays.
    """
    logits = logits.float() / max(options.temperature, 1e-6)
    if options.temperature == 0:
        return logits.topk(1)
    codes = None
    if 0 < options.top_k < logits.shape[1] or options.top_p < 1:
        logits, codes = _likeliest(logits, min(options.top_k or logits.shape[1], logits.shape[1]))
    if options.top_p < 1:
        shares = logits.softmax(1)
        before = shares.cumsum(1) - shares  # probability of all likelier codes
        logits = logits.masked_fill(before >= options.top_p, -torch.inf)
    return logits, codes


def _likeliest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest logits, best first, and their codes: (n, V) -> (n, k), (n, k).

    They lie in those k groups of codes that have the largest maxima. A CPU is faster to find these first.
    """
    vocab = logits.shape[1]
    if logits.device.type != "cpu" or vocab % GROUP or vocab < 2 * GROUP * k:
        return logits.topk(k)
    maxima = logits.unflatten(1, (GROUP, -1)).amax(1)  # (n, V / GROUP)
    groups = maxima.topk(k, sorted=False).indices  # (n, k)
    codes = (groups[:, None] + torch.arange(0, vocab, vocab // GROUP)[:, None]).flatten(1)  # (n, GROUP * k)
    best, places = logits.gather(1, codes).topk(k)
    return best, codes.gather(1, places)


def choose(logits: Tensor, codes: Tensor | None, u: Tensor) -> Tensor:
    """Inverse-CDF choice: (n, K) logits, their codes, (n,) uniforms -> (n,) codes. Never one of probability zero.

    It is made on the device of the uniforms, which has float64.
    """
    cdf = logits.softmax(1).to(u.device).double().cumsum(1)  # (n, K)
    total = cdf[:, -1]
    target = torch.minimum(u * total, torch.nextafter(total, torch.zeros_like(total)))
    index = torch.searchsorted(cdf, target[:, None], right=True).to(logits.device)  # (n, 1)
    return (index if codes is None else codes.gather(1, index))[:, 0]


def draw(
    model: TokenModel,
    text: Tensor,
    null: Tensor | None,
    seed: int,
    candidates: Sequence[int],
    options: SamplingOptions,
    kept: Tensor,
    likelihoods: Tensor | None = None,
    lookahead: int = 1,
) -> Generator[Tensor, None, None]:
    """Draw n candidates of one sentence token by token; closing the iterator stops the work.

    Args:
        text: (T,) the sentence; null: (T,) the empty caption, needed when `options.guidance` is not 1.
        candidates: n numbers; candidate i is drawn by row i of the table of `seed`.
        kept: (I,) image tokens that every candidate keeps, -1 where it is free, as at least one is.
        likelihoods: (n, I), to be filled from the first free token on with the log-likelihood of each token given the
            sentence and the tokens before, in nats: what the model says itself, without guidance or filters.
        lookahead: how many tokens to read at once, at most a row, of which all but the first are guesses; more than one
            asks for a `Transformer`.

    Yields: (n,) the next token of every candidate, from the first free one on.
    """
    guided = options.guidance != 1 and null is not None
    prompts = torch.stack([text, null]) if guided and null is not None else text[None]  # (1 or 2, T)
    start = int((kept < 0).int().argmax())
    first = kept[:start].to(text.device).expand(len(prompts), start)
    logits, state = model.prefill(prompts, first if start else None)
    members = _in_lanes(candidates, model.lanes)
    tables = [uniforms(seed, group, len(kept)) for group in members]
    groups = [
        _Group(
            model,
            table,
            logits.repeat_interleave(len(table), 0),
            state.repeat(len(table)),
            options,
            guided,
            kept,
            lookahead,
        )
        for table in tables
    ]
    drawn = {candidate: row for row, candidate in enumerate(chain(*members))}
    rows = torch.tensor([drawn[candidate] for candidate in candidates], device=logits.device)
    together = zip(*(group.draw(start, telling=likelihoods is not None) for group in groups), strict=True)
    for position, parts in enumerate(together, start):
        if likelihoods is not None:
            likelihoods[:, position] = torch.cat([told for _, told in parts])[rows]
        yield torch.cat([tokens for tokens, _ in parts])[rows]


def draw_each(
    model: TokenModel,
    texts: Tensor,
    null: Tensor,
    seed: int,
    candidates: Sequence[int],
    options: SamplingOptions,
    length: int,
) -> Iterator[Tensor]:
    """Draw one candidate of each of n sentences, all at once; the device's rounding may depend on n.

    Args:
        texts: (n, T) the sentences; null: (T,) the empty caption, used when `options.guidance` is not 1.
        candidates: n numbers; sentence i is drawn by the row of the table of `seed` that candidate i has.
        length: I

    Yields: (n,) the next token of every picture.
    """
    guided = options.guidance != 1
    logits, state = model.prefill(torch.cat([texts, null.expand_as(texts)]) if guided else texts)
    free = torch.full((length,), -1)
    group = _Group(model, uniforms(seed, candidates, length), logits, state, options, guided, free, lookahead=1)
    yield from (tokens for tokens, _ in group.draw(0, telling=False))


def _in_lanes(candidates: Sequence[int], lanes: int | None) -> list[Sequence[int]]:
    """The groups to compute: whole ones, some of them for nothing, with candidate i always in lane i % lanes."""
    if lanes is None:
        return [candidates]
    return [range(lanes * group, lanes * group + lanes) for group in sorted({c // lanes for c in candidates})]


class _Group:
    """Candidates that go through the model together: n of them, or 2n rows where an empty caption guides.

    Looking ahead is Jacobi's iteration (Song et al. 2021, arXiv 2002.03629): the model reads k tokens at once, of which
    only the first is certain, and behind each of them the next one is chosen, by the uniform that is always its own.
    Up to the first choice that differs from the guess, these are the tokens that single steps would have chosen; from
    there on, they are better guesses.
    """

    def __init__(
        self,
        model: TokenModel,
        table: Tensor,
        logits: Tensor,
        state: State,
        options: SamplingOptions,
        guided: bool,
        kept: Tensor,
        lookahead: int,
    ):
        self.model: Any = model
        self.state: Any = state  # of n sequences, or 2n
        self.table = table if logits.device.type == "mps" else table.to(logits.device)  # (n, I); MPS has no float64
        self.logits = logits[:, None]  # (n or 2n, 1, V)
        self.options, self.guided = options, guided
        self.kept, self.lookahead = kept.to(logits.device), lookahead

    def draw(self, position: int, telling: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """From a position on, (n,) tokens for each; and, where they are wanted, their (n,) log-likelihoods."""
        logits, count, length = self.logits, 1, self.table.shape[1]
        chosen = self._choose(logits, position)  # (n, k)
        while True:
            told = self._likelihoods(logits, chosen) if telling else chosen
            yield from zip(chosen[:, :count].unbind(1), told[:, :count].unbind(1), strict=True)
            position += count
            if position == length:
                return
            tokens = _extend(chosen[:, count - 1 :], min(self.lookahead, length - position))
            logits = self._read(tokens)
            chosen = self._choose(logits, position)
            if self.lookahead > 1:
                right = (tokens[:, 1:] == chosen[:, :-1]).all(0)  # (k - 1,)
                count = 1 + int(right.cumprod(0).sum())
                self.state.accept(count)

    def _read(self, tokens: Tensor) -> Tensor:
        """The model reads (n, k) tokens -> (n or 2n, k, V)."""
        tokens = tokens.repeat(2, 1) if self.guided else tokens
        if self.lookahead > 1:
            return self.model.ahead(tokens, self.state)
        return self.model.step(tokens[:, 0], self.state)[:, None]

    def _choose(self, logits: Tensor, position: int) -> Tensor:
        """(n or 2n, k, V) -> (n, k) tokens for a position and those behind it."""
        places = slice(position, position + logits.shape[1])
        logits = logits.flatten(0, 1)
        logits = guide(logits, self.options.guidance) if self.guided else logits  # (n*k, V)
        tokens = choose(*filter_logits(logits, self.options), self.table[:, places].flatten())
        kept = self.kept[places]
        return torch.where(kept < 0, tokens.view(-1, len(kept)), kept)

    def _likelihoods(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """The (n, k) log-likelihoods of (n, k) tokens."""
        captioned = logits[: len(tokens)].float()
        return captioned.log_softmax(2).gather(2, tokens[:, :, None])[:, :, 0]


def _extend(tokens: Tensor, count: int) -> Tensor:
    """(n, k) -> (n, count): cut, or the last one again and again, as neighbours are often alike."""
    more = tokens[:, -1:].expand(-1, max(0, count - tokens.shape[1]))
    return torch.cat([tokens[:, :count], more], dim=1)
