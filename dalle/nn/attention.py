"""Multi-head attention with a fused projection, over a whole sequence or one step beyond a cache."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.nn.cache import Index, KeyValues
from dalle.nn.rotary import rotate


class Attention(nn.Module):
    """Letters: B sequences, S positions, D channels, H heads, K channels of a head, R channels that rotate."""

    def __init__(self, width: int, heads: int, head_dim: int, bias: bool = True):
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.qkv = nn.Linear(width, 3 * heads * head_dim, bias)
        self.out = nn.Linear(heads * head_dim, width, bias)
        self.look: Callable[..., Tensor] = F.scaled_dot_product_attention  # by which one more position sees the others

    def fresh_cache(self, batch: int, size: int, like: Tensor) -> KeyValues:
        """Room for `size` positions of `batch` sequences, on the device and in the type of `like`."""
        shape = (batch, self.heads, size, self.head_dim)
        return KeyValues(like.new_zeros(shape), like.new_zeros(shape))

    def project(self, x: Tensor, rotation: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(B, S, D) -> queries, keys, values, each (B, H, S, K), turned by (2, S, R) cosines and sines, if given."""
        b, s, _ = x.shape
        qkv = self.qkv(x).view(b, s, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        qkv = qkv if rotation is None else rotate(qkv, rotation)
        return qkv[0], qkv[1], qkv[2]

    def merge(self, y: Tensor) -> Tensor:
        """(B, H, S, K) -> (B, S, D)."""
        return self.out(y.transpose(1, 2).flatten(2))

    def forward(
        self, x: Tensor, mask: Tensor | None, cache: KeyValues | None = None, rotation: Tensor | None = None
    ) -> Tensor:
        """A whole sequence from its start; fills the cache, if given.

        `mask` is (S, S), or has dimensions for B and H before: bool or added to the scores; None: plainly causal.
        """
        q, k, v = self.project(x, rotation)
        if cache is not None:
            cache.write(0, k, v)
        return self.merge(_attend(q, k, v, mask))

    def step(
        self,
        x: Tensor,
        position: Index,
        keys: Tensor | slice | None,
        cache: KeyValues,
        mask: Tensor | None = None,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """One more position: (B, 1, D) -> (B, 1, D).

        `keys` are the n positions to look at, None for all so far; `mask` is (B or 1, H or 1, 1, n), as in `forward`.
        """
        q, k, v = self.project(x, rotation)
        cache.write(position, k, v)
        seen = slice(position + 1) if keys is None else keys  # a position on the device comes with its keys
        y = self.look(q, cache.keys[:, :, seen], cache.values[:, :, seen], attn_mask=mask)
        return self.merge(y)

    def ahead(self, x: Tensor, position: int, mask: Tensor, cache: KeyValues, rotation: Tensor | None = None) -> Tensor:
        """Several more positions, which see those before and each other: (B, k, D) -> (B, k, D).

        `mask` is (k, position + k), or has dimensions for B and H before, as in `forward`.
        """
        q, k, v = self.project(x, rotation)
        cache.write(position, k, v)
        seen = slice(position + x.shape[1])
        y = F.scaled_dot_product_attention(q, cache.keys[:, :, seen], cache.values[:, :, seen], attn_mask=mask)
        return self.merge(y)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """(B, H, S, K) of a whole sequence -> (B, H, S, K); `mask` as in `Attention.forward`."""
    if not (torch.compiler.is_compiling() and q.device.type == "cpu"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    # On a CPU, what the compiler makes of plain products learns faster than the library's own kernel
    # (`python -m benchmarks.learning`).
    if mask is None:
        mask = q.new_ones(q.shape[-2], q.shape[-2], dtype=torch.bool).tril()
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, S, S)
    return (scores.float() + mask).softmax(-1).to(v.dtype) @ v
