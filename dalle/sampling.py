"""Drawing image tokens one by one: guidance, logit filters, and a random choice that depends on nothing but a table.

Letters: n candidates, V image codes, K codes that a filter left, I = h*w image tokens.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dalle.contracts import SamplingOptions, TokenModel
from dalle.errors import SettingError

# Candidates are drawn in multiples of this, the last ones for nothing: a matrix product of few or odd rows takes
# another kernel, which rounds differently, and a picture shall not depend on how many are drawn beside it.
LANES = 4


def uniforms(seed: int, candidates: Sequence[int], length: int) -> Tensor:
    """The table of randomness: (n, length) float64 in [0, 1), row i from a generator seeded by (seed, candidate i).

    A picture therefore depends neither on the batch that it is drawn in nor on the device.
    """
    streams = [np.random.SeedSequence(seed, spawn_key=(index,)) for index in candidates]
    return torch.from_numpy(np.stack([np.random.default_rng(stream).random(length) for stream in streams]))


def check(options: SamplingOptions, can_guide: bool) -> SamplingOptions:
    """The options, with guidance off where the model never learnt the empty caption. Raises SettingError."""
    if not 0 <= options.temperature <= 10:
        raise SettingError("The temperature must lie between 0 and 10.")
    if options.top_k < 0:
        raise SettingError("Top-k must be 0 (off) or a positive number of tokens.")
    if not 0 < options.top_p <= 1:
        raise SettingError("Top-p must lie above 0 and not above 1.")
    if not 0 <= options.guidance <= 30:
        raise SettingError("The guidance scale must lie between 0 and 30.")
    return options if can_guide else replace(options, guidance=1.0)


def guide(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: (2n, V), captioned rows then captionless ones -> (n, V)."""
    captioned, captionless = logits.float().chunk(2)
    return captionless + scale * (captioned - captionless)


def filter_logits(logits: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor | None]:
    """Temperature, top-k and top-p: (n, V) -> (n, K) logits, and their (n, K) codes or None where all V are left."""
    logits = logits.float() / max(options.temperature, 1e-6)
    if options.temperature == 0:
        return logits.topk(1)
    codes = None
    if 0 < options.top_k < logits.shape[1] or options.top_p < 1:
        logits, codes = logits.topk(min(options.top_k or logits.shape[1], logits.shape[1]))  # sorted
    if options.top_p < 1:
        shares = logits.softmax(1)
        before = shares.cumsum(1) - shares  # probability of all likelier codes
        logits = logits.masked_fill(before >= options.top_p, -torch.inf)
    return logits, codes


def choose(logits: Tensor, codes: Tensor | None, u: Tensor) -> Tensor:
    """Inverse-CDF choice: (n, K) logits, their codes, (n,) uniforms -> (n,) codes. Never one of probability zero."""
    cdf = logits.softmax(1).double().cumsum(1)  # (n, K)
    total = cdf[:, -1]
    target = torch.minimum(u * total, torch.nextafter(total, torch.zeros_like(total)))
    index = torch.searchsorted(cdf, target[:, None], right=True)  # (n, 1)
    return (index if codes is None else codes.gather(1, index))[:, 0]


def draw(
    model: TokenModel,
    text: Tensor,
    null: Tensor | None,
    table: Tensor,
    options: SamplingOptions,
    prefix: Tensor | None = None,
) -> Generator[Tensor, None, None]:
    """Draw n candidates of one sentence token by token; closing the iterator stops the work.

    Args:
        text: (T,) the sentence; null: (T,) the empty caption, needed when `options.guidance` is not 1.
        table: (n, I) uniforms, one per token.
        prefix: (r,) first image tokens that every candidate keeps, r < I.

    Yields: (n,) the next token of every candidate, I - r times.
    """
    guided = options.guidance != 1 and null is not None
    prompts = torch.stack([text, null]) if guided and null is not None else text[None]  # (1 or 2, T)
    start = 0 if prefix is None else len(prefix)
    first = None if prefix is None else prefix.expand(len(prompts), start)
    n, length = table.shape
    logits, state = model.prefill(prompts, first)
    table = F.pad(table, (0, 0, 0, -n % LANES)).to(logits.device)
    logits, state = logits.repeat_interleave(len(table), 0), state.repeat(len(table))
    for position in range(start, length):
        if guided:
            logits = guide(logits, options.guidance)
        tokens = choose(*filter_logits(logits, options), table[:, position])
        yield tokens[:n]
        if position + 1 < length:
            logits = model.step(tokens.repeat(2) if guided else tokens, state)
