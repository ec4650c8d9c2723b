"""A small discrete VAE of strided convolutions: each halves the picture, and a transposed one doubles it again.

The names of modules and tensors are those that its public checkpoints use.
Letters: B pictures, C channels, H = W = size, (h, w) the grid, V codes, D = code_dim.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class StridedVAEConfig:
    """Sizes of the net."""

    size: int  # pixels along each side
    vocab: int  # V
    code_dim: int  # D: width of a codebook row
    width: int  # channels of the convolutions
    halvings: int  # strided convolutions, each a factor of 2
    blocks: int = 0  # residual blocks of the encoder, and as many of the decoder
    channels: int = 3  # C: 1 gray, 3 colors, 4 with alpha


class ResBlock(nn.Module):
    """Two 3x3 convolutions and a 1x1 one, ReLU between them; added to the input."""

    def __init__(self, width: int):
        super().__init__()
        inner = [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*inner, nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class StridedVAE(nn.Module):
    """An `ImageTokenizer` when it is used, a relaxed reconstruction loss when it is trained."""

    def __init__(self, config: StridedVAEConfig):
        super().__init__()
        self.config = config
        width, count = config.width, config.halvings
        down = [_halve(width if i else config.channels, width) for i in range(count)]
        blocks = [[ResBlock(width) for _ in range(config.blocks)] for _ in "ed"]
        up = [_double(width if i or config.blocks else config.code_dim, width) for i in range(count)]
        into = [nn.Conv2d(config.code_dim, width, 1)] if config.blocks else []
        self.codebook = nn.Embedding(config.vocab, config.code_dim)
        self.encoder = nn.Sequential(*down, *blocks[0], nn.Conv2d(width, config.vocab, 1))
        self.decoder = nn.Sequential(*into, *blocks[1], *up, nn.Conv2d(width, config.channels, 1))

    @property
    def vocab(self) -> int:
        return self.config.vocab

    @property
    def size(self) -> int:
        return self.config.size

    @cached_property
    def grid(self) -> tuple[int, int]:
        side = self.config.size >> self.config.halvings
        return side, side

    def logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, V, h, w)."""
        return self.encoder(normalize(images))

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 3 or C, H, W) in [0, 1] -> (B, h, w) int64, the likeliest code at each position."""
        if images.shape[1] != self.config.channels:
            images = _recolor(images, self.config.channels)
        return self.logits(images.to(self.codebook.weight.dtype)).argmax(1)

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> Tensor:
        """(B, h, w) int64 -> (B, 3, H, W) in [0, 1]; what is transparent becomes white."""
        x = self.paint(tokens).float()
        colors = (x[:, :3] * 0.5 + 0.5).clamp(0, 1).expand(-1, 3, -1, -1)
        if self.config.channels < 4:
            return colors
        alpha = x[:, 3:].clamp(0, 1)
        return colors * alpha + (1 - alpha)

    def paint(self, tokens: Tensor) -> Tensor:
        """(B, h, w) int64 -> (B, C, H, W) in the net's own range, not clamped."""
        return self.decoder(self.codebook(tokens).permute(0, 3, 1, 2))


def normalize(images: Tensor) -> Tensor:
    """Colors from [0, 1] to [-1, 1]; alpha stays."""
    return torch.cat([images[:, :3] * 2 - 1, images[:, 3:]], dim=1)


@dataclass(frozen=True)
class Objective:
    """How a `StridedVAE` is trained."""

    temperature: float = 0.9  # of the relaxed codes
    hard: bool = False  # straight through: one code forward, the relaxed mixture backward
    reinmax: bool = False  # with `hard`: second-order gradients (Liu et al. 2023, arXiv 2304.08612)
    kl_weight: float = 0.0  # of the divergence from the uniform prior, a sum over all positions
    smooth_l1: bool = False  # instead of the squared error


def gumbel_noise(logits: Tensor) -> Tensor:
    """Noise for `relax`, of the shape of the logits."""
    return -torch.empty_like(logits).exponential_().log()


def relax(logits: Tensor, noise: Tensor, objective: Objective) -> Tensor:
    """(B, V, h, w) logits -> weights of the codes at each position, of the same shape; they sum to 1."""
    soft = F.softmax((logits + noise) / objective.temperature, dim=1)
    if not objective.hard:
        return soft
    one = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
    if not objective.reinmax:
        return one + soft - soft.detach()
    mean = (one + F.softmax(logits / objective.temperature, dim=1)) / 2
    middle = F.softmax((mean.log() - logits).detach() + logits, dim=1)
    second = 2 * middle - F.softmax(logits, dim=1) / 2
    return one + second - second.detach()


def kl_to_uniform(logits: Tensor) -> Tensor:
    """KL divergence of the code distributions (B, V, h, w) from the uniform prior: a sum over positions, in nats."""
    log_q = F.log_softmax(logits, dim=1)
    return (log_q.exp() * (log_q + math.log(logits.shape[1]))).sum()


def loss(net: StridedVAE, images: Tensor, noise: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """The training loss of (B, C, H, W) pictures in [0, 1], and their normalized reconstructions.

    `noise` is `gumbel_noise` of the shape of the logits, (B, V, h, w).
    """
    logits = net.logits(images)
    codes = torch.einsum("bvhw,vd->bdhw", relax(logits, noise, objective), net.codebook.weight)
    output = net.decoder(codes)
    error = (F.smooth_l1_loss if objective.smooth_l1 else F.mse_loss)(output, normalize(images))
    return error + objective.kl_weight * kl_to_uniform(logits), output


def _halve(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.ReLU())


def _double(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1), nn.ReLU())


def _recolor(images: Tensor, channels: int) -> Tensor:
    """Color pictures for a net of other channels: their gray, or with an alpha channel that hides nothing."""
    if channels == 1:
        return (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    return torch.cat([images, torch.ones_like(images[:, :1])], dim=1)
