"""A spatial gating unit in the place of attention (gMLP, Liu et al. 2021, arXiv 2105.08050): positions are mixed by
a learned matrix, whatever they hold."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.nn.cache import Gates, Index


class SpatialGate(nn.Module):
    """Letters: B sequences, S positions, D channels."""

    def __init__(self, width: int, size: int):
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.norm = nn.LayerNorm(2 * width)
        self.mix = nn.Parameter(torch.zeros(size, size))  # what is above the diagonal is not used
        self.bias = nn.Parameter(torch.ones(size))
        self.out = nn.Linear(2 * width, width)

    def fresh_cache(self, batch: int, size: int, like: Tensor) -> Gates:
        """Room for `size` positions of `batch` sequences, on the device and in the type of `like`."""
        return Gates(like.new_zeros(batch, size, self.norm.normalized_shape[0]))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D) -> what is gated and the gates before they are mixed, each (B, S, 2D)."""
        values, gates = F.gelu(self.up(x)).chunk(2, dim=2)
        return values, self.norm(gates)

    def forward(self, x: Tensor, cache: Gates | None = None) -> Tensor:
        """(B, S, D) from the start of the stream -> (B, S, D); fills the cache, if given."""
        values, gates = self.project(x)
        if cache is not None:
            cache.write(0, gates)
        size = x.shape[1]
        mixed = self.mix[:size, :size].tril() @ gates + self.bias[:size, None]
        return self.out(mixed * values)

    def step(self, x: Tensor, position: Index, cache: Gates) -> Tensor:
        """One more position: (B, 1, D) -> (B, 1, D)."""
        values, gates = self.project(x)
        cache.write(position, gates)
        seen = position + 1
        mixed = self.mix[position, :seen] @ cache.gates[:, :seen] + self.bias[position]  # (B, 2D)
        return self.out(mixed[:, None] * values)
