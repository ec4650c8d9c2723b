"""Which earlier positions a position may look at (paper §2.2 and appendix B.1), named by geometry.

The stream is T text tokens, then h*w image tokens in raster order. Text looks at earlier text. An image token looks
at all text and at those image tokens, itself and earlier ones, that its pattern shows.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16  # positions along each side of a stored block

# (query row - key row, query column - key column), elementwise, (h, w) -> visible; causality is added by `visible`
Predicate = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]


def _around(steps: Tensor, length: int) -> Tensor:
    """The shorter way between two places on a ring."""
    return torch.minimum(steps % length, -steps % length)


PATTERNS: dict[str, Predicate] = {
    "full": lambda rows, columns, grid: torch.ones_like(rows, dtype=torch.bool),
    "row": lambda rows, columns, grid: rows == 0,
    "column": lambda rows, columns, grid: columns == 0,
    "window5": lambda rows, columns, grid: (rows.abs() <= 2) & (columns.abs() <= 2),
    "window11": lambda rows, columns, grid: (rows.abs() <= 5) & (columns.abs() <= 5),
    "quadrant5": lambda rows, columns, grid: (rows <= 4) & (columns >= 0) & (columns <= 4),
    "torus11": lambda rows, columns, grid: (_around(rows, grid[0]) <= 5) & (_around(columns, grid[1]) <= 5),
    "lap": lambda rows, columns, grid: (rows == 0) | ((rows == 1) & (columns <= 0)),  # the last w tokens
}


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for training too, whoever asks first
def visible(pattern: str, text_len: int, grid: tuple[int, int]) -> Tensor:
    """The mask of a pattern: (S, S) bool with S = T + h*w, rows are queries, columns are keys."""
    h, w = grid
    index = torch.arange(h * w)
    rows = index[:, None] // w - index[None, :] // w
    columns = index[:, None] % w - index[None, :] % w
    size = text_len + h * w
    mask = torch.ones(size, size, dtype=torch.bool).tril()
    mask[text_len:, text_len:] &= PATTERNS[pattern](rows, columns, grid)
    return mask


@lru_cache(maxsize=64)
def visible_keys(
    pattern: str, text_len: int, grid: tuple[int, int], device: torch.device | None = None
) -> tuple[Tensor, ...]:
    """For each image position, the stream indices that it may look at, itself last: what a cached step gathers.

    They lie on the device, as sending them there with every step would have it wait.
    """
    mask = visible(pattern, text_len, grid)
    return tuple(row.nonzero().flatten().to(device or row.device) for row in mask[text_len:])


def visible_blocks(layout: Tensor, size: int) -> Tensor:
    """The mask of stored blocks: (H, n, n) bool over blocks of 16 positions -> (H, S, S) bool, causal."""
    mask = layout.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)[:, :size, :size]
    short = size - mask.shape[1]
    return F.pad(mask, (0, short, 0, short)).tril()
