"""The discrete VAE of DALL·E (paper §2.1, appendix A): a picture becomes a grid of codes, and a grid a picture.

Letters: B pictures, C = 3 channels, H = W = size, (h, w) the grid, V codes, D = code_dim.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXEL_EPS = 0.1  # keeps logit(x) finite: pixels live in [eps, 1 - eps] inside the net (appendix A.3)


@dataclass(frozen=True)
class DVAEConfig:
    """Sizes of a dVAE. OpenAI's published one is `DVAEConfig(width=256, code_dim=128, blocks=2)`."""

    size: int = 256  # pixels along each side
    vocab: int = 8192  # V
    width: int = 256  # channels of the outermost group; each inner group has twice as many
    code_dim: int = 128  # D: width of a codebook row
    groups: int = 4  # resolutions; between two of them lies a factor of 2
    blocks: int = 2  # residual blocks to a group
    painting: tuple[int, ...] | None = None  # those of the decoder's groups, innermost first; None: `blocks` to each
    stem: int = 1  # stride of the first convolution; 2 halves the resolution before the first group
    post_gain: float | None = None  # scale of a residual branch; None: 1 / (groups * blocks)^2, as published

    @property
    def gain(self) -> float:
        return 1 / (self.groups * self.blocks) ** 2 if self.post_gain is None else self.post_gain

    @property
    def stride(self) -> int:
        """Pixels to a token along each side."""
        return self.stem * 2 ** (self.groups - 1)

    @property
    def widths(self) -> list[int]:
        """Channels of the groups, outermost first. Raises ValueError for groups that leave no pixel of a picture."""
        if self.groups > self.size.bit_length():
            raise ValueError(f"{self.groups} groups halve {self.size} pixels too often")
        return [self.width * 2**g for g in range(self.groups)]

    @property
    def decoder_blocks(self) -> tuple[int, ...]:
        """Residual blocks of the decoder's groups, innermost first."""
        return (self.blocks,) * self.groups if self.painting is None else self.painting


class Conv(nn.Conv2d):
    """A convolution that keeps the resolution (or divides it by the stride), initialised as published."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1):
        super().__init__(n_in, n_out, kernel, stride, padding=(kernel - 1) // 2)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.weight[0].numel()))
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Block(nn.Module):
    """A residual bottleneck: four convolutions of a quarter of the width, ReLU before each (appendix A.1)."""

    def __init__(self, n_in: int, n_out: int, kernels: tuple[int, ...], gain: float):
        super().__init__()
        hidden = n_out // 4
        sizes = [n_in, *[hidden] * (len(kernels) - 1), n_out]
        self.identity = Conv(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        self.convs = nn.ModuleList(Conv(a, b, k) for a, b, k in zip(sizes, sizes[1:], kernels, strict=False))
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.convs:
            y = conv(F.relu(y))
        return self.identity(x) + self.gain * y  # (B, n_out, H, W)


def _group(n_in: int, n_out: int, kernels: tuple[int, ...], blocks: int, gain: float) -> nn.Sequential:
    group = nn.Sequential()
    for _ in range(blocks):
        group.append(Block(n_in, n_out, kernels, gain))
        n_in = n_out
    return group


class Encoder(nn.Module):
    """Pixels to logits over the codes, one distribution per grid position."""

    def __init__(self, config: DVAEConfig):
        super().__init__()
        widths = config.widths
        self.input = Conv(3, widths[0], 7, config.stem)
        pairs = zip([widths[0], *widths], widths, strict=False)
        self.groups = nn.ModuleList(_group(a, b, (3, 3, 3, 1), config.blocks, config.gain) for a, b in pairs)
        self.output = Conv(widths[-1], config.vocab, 1)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) mapped pixels -> (B, widths[-1], h, w), what the output layer reads."""
        x = self.input(x)
        for depth, group in enumerate(self.groups):
            x = group(F.max_pool2d(x, 2) if depth else x)
        return F.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x).to(self.output.weight.dtype))  # (B, V, h, w)


class Decoder(nn.Module):
    """Codes, or a relaxed mixture of them, to the mean and scale of each pixel."""

    def __init__(self, config: DVAEConfig):
        super().__init__()
        widths = config.widths[::-1]
        self.codebook = nn.Embedding(config.vocab, config.code_dim)
        self.bias = nn.Parameter(torch.zeros(config.code_dim))
        sizes = zip([config.code_dim, *widths[:-1]], widths, config.decoder_blocks, strict=True)
        self.groups = nn.ModuleList(_group(a, b, (1, 3, 3, 3), n, config.gain) for a, b, n in sizes)
        self.output = Conv(widths[-1], 6 * config.stem**2, 1)
        self.stem = config.stem

    def forward(self, codes: Tensor) -> Tensor:
        """(B, D, h, w) codebook rows -> (B, 6, H, W): three means and three log-scales, in logit space."""
        x = codes + self.bias[:, None, None]
        for depth, group in enumerate(self.groups):
            x = group(F.interpolate(x, scale_factor=2.0, mode="nearest") if depth else x)
        return F.pixel_shuffle(self.output(F.relu(x)), self.stem)


class DVAE(nn.Module):
    """The pair of nets; an `ImageTokenizer` when it is used, a relaxed ELBO when it is trained."""

    def __init__(self, config: DVAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    @property
    def vocab(self) -> int:
        return self.config.vocab

    @property
    def size(self) -> int:
        return self.config.size

    @cached_property
    def grid(self) -> tuple[int, int]:
        side = self.config.size // self.config.stride
        return side, side

    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, V, h, w). H and W may be any multiple of the stride."""
        return self.encoder(map_pixels(images))

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, h, w) int64, the likeliest code at each position."""
        return self.logits(images.to(self._dtype)).argmax(1)

    @torch.inference_mode()
    def likeliest(self, images: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The head of the posterior, best first: (B, 3, H, W) in [0, 1] -> (B, h, w, count) int64 codes, and their
        log-odds against the best of them.
        """
        odds, codes = self.logits(images.to(self._dtype)).permute(0, 2, 3, 1).topk(count)
        return codes, (odds - odds[..., :1]).float()

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> Tensor:
        """(B, h, w) int64 -> (B, 3, H, W) in [0, 1]."""
        codes = self.decoder.codebook(tokens).permute(0, 3, 1, 2)  # (B, D, h, w)
        return pixels(self.decoder(codes)).clamp(0, 1).float()

    @property
    def _dtype(self) -> torch.dtype:
        return self.decoder.bias.dtype

    def relax(self, logits: Tensor, temperature: float) -> Tensor:
        """A Gumbel-softmax sample of the codes, mixed from the codebook: (B, V, h, w) -> (B, D, h, w)."""
        noise = torch.rand_like(logits, dtype=torch.float32).clamp_min_(1e-20).log_().neg_().log_()  # -Gumbel
        weights = F.softmax((logits.float() - noise) / temperature, dim=1)  # (B, V, h, w)
        return torch.einsum("bvhw,vd->bdhw", weights.to(logits.dtype), self.decoder.codebook.weight)


def map_pixels(images: Tensor) -> Tensor:
    """[0, 1] -> [eps, 1 - eps]."""
    return (1 - 2 * PIXEL_EPS) * images + PIXEL_EPS


def pixels(output: Tensor) -> Tensor:
    """(B, 6, H, W) from the decoder -> (B, 3, H, W), about [0, 1]: the mean of each pixel, unmapped."""
    return (torch.sigmoid(output[:, :3]) - PIXEL_EPS) / (1 - 2 * PIXEL_EPS)


def reconstruction_loss(kind: str, output: Tensor, images: Tensor) -> Tensor:
    """How badly (B, 6, H, W) from the decoder explains (B, 3, H, W) in [0, 1]; a mean over pixels and channels.

    "logit_laplace" is the negative log likelihood of appendix A.3; "l1" and "l2" look at the pixels alone.
    """
    output = output.float()
    if kind == "logit_laplace":
        target = map_pixels(images)
        mean, log_scale = output.chunk(2, dim=1)
        spread = (torch.logit(target) - mean).abs() * torch.exp(-log_scale)
        return (math.log(2) + log_scale + torch.log(target * (1 - target)) + spread).mean()
    if kind == "l1":
        return F.l1_loss(pixels(output), images)
    if kind == "l2":
        return F.mse_loss(pixels(output), images)
    raise ValueError(f"no reconstruction loss is called {kind!r}")


def kl_to_uniform(logits: Tensor) -> Tensor:
    """KL divergence of the code distributions (B, V, h, w) from the uniform prior; a mean over positions, in nats."""
    log_q = F.log_softmax(logits.float(), dim=1)
    return (log_q.exp() * log_q).sum(1).mean() + math.log(logits.shape[1])
