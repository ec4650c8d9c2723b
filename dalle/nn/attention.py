"""Multi-head attention with a fused projection, over a whole sequence or one step beyond a cache."""

import torch.nn.functional as F
from torch import Tensor, nn

from dalle.nn.cache import KeyValues


class Attention(nn.Module):
    """Letters: B sequences, S positions, D channels, H heads, K channels of a head."""

    def __init__(self, width: int, heads: int, head_dim: int):
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.qkv = nn.Linear(width, 3 * heads * head_dim)
        self.out = nn.Linear(heads * head_dim, width)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, S, D) -> queries, keys, values, each (B, H, S, K)."""
        b, s, _ = x.shape
        qkv = self.qkv(x).view(b, s, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        return qkv[0], qkv[1], qkv[2]

    def merge(self, y: Tensor) -> Tensor:
        """(B, H, S, K) -> (B, S, D)."""
        return self.out(y.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, mask: Tensor | None, cache: KeyValues | None = None) -> Tensor:
        """A whole sequence from its start; `mask` (S, S) bool, None for plainly causal. Fills the cache, if given."""
        q, k, v = self.project(x)
        if cache is not None:
            cache.write(0, k, v)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.merge(y)

    def step(self, x: Tensor, position: int, keys: Tensor | None, cache: KeyValues) -> Tensor:
        """One more position: (B, 1, D) -> (B, 1, D). `keys` are the visible positions, None for all so far."""
        q, k, v = self.project(x)
        cache.write(position, k, v)
        seen = slice(position + 1) if keys is None else keys
        y = F.scaled_dot_product_attention(q, cache.keys[:, :, seen], cache.values[:, :, seen])
        return self.merge(y)
