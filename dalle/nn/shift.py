"""Token shift: each position gets some channels of earlier ones, before attention and MLP see it.

Letters: B sequences, S positions, D channels, w columns of the token grid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dalle.nn.cache import Index, ShiftRing


def shift_all(x: Tensor, text_len: int, width: int, ring: ShiftRing | None) -> Tensor:
    """Token shift of whole sequences from their start (B, S, D); remembers the last grid row in the ring.

    Text: half of the channels come from the row before. Image: a quarter from the pixel above, a quarter from the
    one to the left, zeros at the border.
    """
    text, image = x[:, :text_len], x[:, text_len:]
    half = -(-text.shape[2] // 2)
    text = torch.cat([F.pad(text[:, :-1, :half], (0, 0, 1, 0)), text[:, :, half:]], dim=2)
    count, quarter = image.shape[1], -(-x.shape[2] // 4)
    above, left, rest = image.split([quarter, quarter, image.shape[2] - 2 * quarter], dim=2)
    if ring is not None:
        for index in range(max(0, count - width), count):
            ring.write(index, above[:, index], left[:, index])
    above = F.pad(above, (0, 0, width, 0))[:, :count]
    inner = torch.arange(count, device=x.device)[:, None] % width != 0  # (n, 1): not the first column
    left = F.pad(left, (0, 0, 1, 0))[:, :count] * inner
    return torch.cat([text, torch.cat([above, left, rest], dim=2)], dim=1)


def shift_step(x: Tensor, index: Index, ring: ShiftRing | None) -> Tensor:
    """Token shift of image token `index` alone: (B, 1, D) -> (B, 1, D)."""
    if ring is None:
        return x
    quarter = ring.above.shape[2]
    above, left = ring.read(index)
    own_above, own_left, rest = x[:, 0].split([quarter, quarter, x.shape[2] - 2 * quarter], dim=1)
    shifted = torch.cat([above, left, rest], dim=1)[:, None]
    ring.write(index, own_above, own_left)
    return shifted


def shift_ahead(x: Tensor, index: int, ring: ShiftRing | None) -> Tensor:
    """Token shift of guesses for image tokens `index` … `index` + k - 1, at most a row: (B, k, D) -> (B, k, D)."""
    if ring is None:
        return x
    _, width, quarter = ring.above.shape
    own_above, own_left, rest = x.split([quarter, quarter, x.shape[2] - 2 * quarter], dim=2)
    indices = torch.arange(index, index + x.shape[1], device=x.device)[:, None]  # (k, 1)
    above = ring.above[:, indices[:, 0] % width] * (indices >= width)
    before = torch.cat([ring.left[:, (index - 1) % width, None], own_left[:, :-1]], dim=1)
    ring.tried = own_above, own_left
    return torch.cat([above, before * (indices % width != 0), rest], dim=2)
