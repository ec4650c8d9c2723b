"""A small CLIP (Radford et al. 2021) with gated MLPs, whose towers pool by the mean: which sentence belongs to which
picture.

Letters: B pairs, T text tokens, S positions, D channels of a tower, E channels that both towers share.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.nn.attention import Attention
from dalle.nn.transformer import Mlp


@dataclass(frozen=True)
class TowerConfig:
    width: int  # D
    depth: int
    heads: int
    head_dim: int = 64


@dataclass(frozen=True)
class ContrastiveConfig:
    text: TowerConfig
    text_vocab: int
    text_len: int  # T
    image: TowerConfig
    size: int  # pixels along each side
    patch: int  # pixels along each side of a patch
    latent: int  # E
    channels: int = 3


class TowerLayer(nn.Module):
    def __init__(self, config: TowerConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, config.head_dim)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.mlp = Mlp(config.width, 4 * config.width, "geglu")

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), mask)
        return x + self.mlp(self.mlp_norm(x))


class Tower(nn.Module):
    """A transformer in which every position sees every other."""

    def __init__(self, config: TowerConfig, size: int, latent: int):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(size, config.width))
        self.layers = nn.ModuleList(TowerLayer(config) for _ in range(config.depth))
        self.out = nn.Linear(config.width, latent, bias=False)

    def forward(self, x: Tensor, shown: Tensor | None = None) -> Tensor:
        """(B, S, D), (B, S) bool positions that count -> (B, E) of length one."""
        shown = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if shown is None else shown
        x = x + self.position
        for layer in self.layers:
            x = layer(x, shown[:, None, None, :])
        weights = shown.to(x.dtype) / shown.sum(1, keepdim=True)  # (B, S)
        return F.normalize(self.out(torch.einsum("bs,bsd->bd", weights, x)), dim=1)


class Contrastive(nn.Module):
    """Sentences and pictures as points on one sphere."""

    def __init__(self, config: ContrastiveConfig):
        super().__init__()
        self.config = config
        side, latent = config.size // config.patch, config.latent
        self.token = nn.Embedding(config.text_vocab, config.text.width)
        self.text = Tower(config.text, config.text_len, latent)
        self.patch = nn.Linear(config.channels * config.patch**2, config.image.width)
        self.image = Tower(config.image, side * side, latent)
        self.temperature = nn.Parameter(torch.tensor(1.0))  # similarities are multiplied by its exponential

    def embed_texts(self, text: Tensor, shown: Tensor | None = None) -> Tensor:
        """(B, T) tokens, (B, T) bool tokens that count, all by default -> (B, E) of length one."""
        return self.text(self.token(text), shown)

    def embed_images(self, images: Tensor) -> Tensor:
        """(B, C, size, size) -> (B, E) of length one."""
        patch = self.config.patch
        cells = images.unfold(2, patch, patch).unfold(3, patch, patch)  # (B, C, h, w, p, p)
        return self.image(self.patch(cells.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)))

    def forward(self, text: Tensor, images: Tensor, shown: Tensor | None = None) -> Tensor:
        """(B, T) tokens and (B, C, size, size) pictures -> (B,) scaled similarities, pair by pair."""
        pairs = self.embed_texts(text, shown) * self.embed_images(images)
        return pairs.sum(1) * self.temperature.exp()

    def loss(self, text: Tensor, images: Tensor, shown: Tensor | None = None) -> Tensor:
        """Cross entropy of finding each one's partner among the B of the batch, both ways."""
        similarities = self.embed_texts(text, shown) @ self.embed_images(images).T * self.temperature.exp()  # (B, B)
        partners = torch.arange(len(text), device=text.device)
        return (F.cross_entropy(similarities, partners) + F.cross_entropy(similarities.T, partners)) / 2
