"""The VQGAN (Esser et al. 2021, arXiv 2012.09841): a picture becomes a grid of codes, and a grid a picture.

The names of modules and tensors are those of the authors' code, which every public checkpoint of this net uses.
Letters: B pictures, C channels, (H, W) pixels or cells of a level, (h, w) the grid, V codes, D = code_dim.
"""

import itertools
from collections.abc import Container, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.errors import CheckpointError, ModelError

GROUPS = 32  # of every group norm

# Inverse Haar step: rows are the pixels (0, 0), (0, 1), (1, 0), (1, 1) of a square, columns its low band and three
# high ones.
_HAAR = ((1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))


@dataclass(frozen=True)
class VQGANConfig:
    """Sizes and closed choices. Levels are resolutions, the finest first; between two of them lies a factor of 2."""

    size: int  # pixels along each side that the encoder reads
    vocab: int  # V
    code_dim: int  # D: width of a codebook row
    latent: int  # channels between the coders and the codebook's 1x1 convolutions
    stem: int  # channels after the encoder's first convolution
    widths: tuple[int, ...]  # channels of the levels
    blocks: int  # residual blocks of an encoder level; the decoder has one more
    attention: tuple[int, ...]  # levels with an attention block after each residual block
    gumbel: bool = False  # a code is the argmax of logits instead of the nearest codebook row
    encoder: bool = True  # False: the net can only draw
    wavelet: bool = False  # the decoder paints four wavelet bands: pictures of twice the size
    unit: bool = False  # pixels lie in [0, 1] inside the net instead of in [-1, 1]
    eps: float = 1e-6  # of every group norm

    @property
    def stride(self) -> int:
        """Pixels that the encoder reads to a token, along each side."""
        return 2 ** (len(self.widths) - 1)

    @property
    def painted(self) -> int:
        """Channels that the decoder's last convolution makes."""
        return 12 if self.wavelet else 3


def sizes(tensors: Mapping[str, Tensor], size: int, **choices: bool | float) -> VQGANConfig:
    """What a state dict tells about its net by names and shapes; `size` and other `choices` it does not tell.

    Raises CheckpointError where it is no state dict of a VQGAN.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    depth = _count(shapes, "decoder.up.{}.block.0.conv1.weight")
    gumbel, encoder = "quantize.embed.weight" in shapes, "encoder.conv_in.weight" in shapes
    try:
        widths = tuple(shapes[f"decoder.up.{level}.block.0.conv1.weight"][0] for level in range(depth))
        vocab, code_dim = shapes["quantize.embed.weight" if gumbel else "quantize.embedding.weight"]
        latent = shapes["decoder.conv_in.weight"][1]
        stem = shapes["encoder.conv_in.weight"][0] if encoder else widths[0]
        painted = shapes["decoder.conv_out.weight"][0]
    except KeyError as error:
        raise CheckpointError(f"The VQGAN lacks the tensor {error.args[0]}.") from None
    except (ValueError, IndexError):
        raise CheckpointError("The shapes of the tensors are not those of a VQGAN.") from None
    if wrong := [width for width in (stem, *widths) if width % GROUPS or not width]:
        raise CheckpointError(f"A VQGAN with {wrong[0]} channels cannot be: they come in groups of {GROUPS}.")
    return VQGANConfig(
        size=size,
        vocab=vocab,
        code_dim=code_dim,
        latent=latent,
        stem=stem,
        widths=widths,
        blocks=_count(shapes, "decoder.up.0.block.{}.conv1.weight") - 1,
        attention=tuple(level for level in range(depth) if f"decoder.up.{level}.attn.0.q.weight" in shapes),
        gumbel=gumbel,
        encoder=encoder,
        wavelet=painted == 12,
        **choices,  # type: ignore[arg-type]
    )


def _count(shapes: Container[str], name: str) -> int:
    """How many of `name` there are, numbered from 0; at least 1."""
    return next((n for n in itertools.count(1) if name.format(n) not in shapes), 1)


class ResnetBlock(nn.Module):
    """Norm, swish, convolution, twice; added to the input."""

    def __init__(self, n_in: int, n_out: int, eps: float):
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, n_in, eps)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, n_out, eps)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return self.nin_shortcut(x) + y  # (B, n_out, H, W)


class AttnBlock(nn.Module):
    """One head over all cells of a level; added to the input."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, eps)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (part(y).flatten(2).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v))  # (B, 1, HW, C)
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(y[:, 0].transpose(1, 2).unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """Halves the resolution; the border is padded at the right and the bottom only."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles the resolution."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks of one resolution, and the way to the next, if there is one."""

    def __init__(self, n_in: int, n_out: int, blocks: int, attention: bool, eps: float):
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(n_out if i else n_in, n_out, eps) for i in range(blocks))
        self.attn = nn.ModuleList(AttnBlock(n_out, eps) for _ in range(blocks if attention else 0))
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.block):
            x = block(x)
            x = self.attn[index](x) if self.attn else x
        for resample in (self.downsample, self.upsample):
            x = x if resample is None else resample(x)
        return x


class Middle(nn.Module):
    """Two blocks around an attention block, at the coarsest level."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.block_1 = ResnetBlock(width, width, eps)
        self.attn_1 = AttnBlock(width, eps)
        self.block_2 = ResnetBlock(width, width, eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    def __init__(self, config: VQGANConfig):
        super().__init__()
        widths, eps = config.widths, config.eps
        self.conv_in = nn.Conv2d(3, config.stem, 3, padding=1)
        self.down = nn.ModuleList(
            Level(n_in, n_out, config.blocks, level in config.attention, eps)
            for level, (n_in, n_out) in enumerate(zip((config.stem, *widths), widths, strict=False))
        )
        for level, width in zip(self.down[:-1], widths, strict=False):
            level.downsample = Downsample(width)
        self.mid = Middle(widths[-1], eps)
        self.norm_out = nn.GroupNorm(GROUPS, widths[-1], eps)
        self.conv_out = nn.Conv2d(widths[-1], config.latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, latent, h, w)."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, config: VQGANConfig):
        super().__init__()
        widths, eps = config.widths, config.eps
        self.conv_in = nn.Conv2d(config.latent, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], eps)
        self.up = nn.ModuleList(
            Level(n_in, n_out, config.blocks + 1, level in config.attention, eps)
            for level, (n_in, n_out) in enumerate(zip((*widths[1:], widths[-1]), widths, strict=True))
        )
        for level, width in zip(self.up[1:], widths[1:], strict=True):
            level.upsample = Upsample(width)
        self.norm_out = nn.GroupNorm(GROUPS, widths[0], eps)
        self.conv_out = nn.Conv2d(widths[0], config.painted, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, latent, h, w) -> (B, painted, H, W)."""
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class NearestCode(nn.Module):
    """The code of a cell is the codebook row nearest to it."""

    def __init__(self, config: VQGANConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab, config.code_dim)

    @property
    def rows(self) -> Tensor:
        return self.embedding.weight  # (V, D)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, h, w) int64."""
        near = torch.einsum("bdhw,vd->bvhw", x, self.rows)
        lengths = self.rows.square().sum(1)[:, None, None]  # (V, 1, 1)
        return (lengths - 2 * near).argmin(1)  # the squared distance, less what all rows have in common


class LikeliestCode(nn.Module):
    """The code of a cell is the argmax of its logits; training drew it with Gumbel noise."""

    def __init__(self, config: VQGANConfig):
        super().__init__()
        self.embed = nn.Embedding(config.vocab, config.code_dim)
        if config.encoder:
            self.proj = nn.Conv2d(config.code_dim, config.vocab, 1)

    @property
    def rows(self) -> Tensor:
        return self.embed.weight  # (V, D)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, h, w) int64."""
        return self.proj(x).argmax(1)


class VQGAN(nn.Module):
    """An `ImageTokenizer`. Grids need not be square: any number of cells along each side encodes and decodes."""

    def __init__(self, config: VQGANConfig):
        super().__init__()
        self.config = config
        self.quantize: NearestCode | LikeliestCode = (LikeliestCode if config.gumbel else NearestCode)(config)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.latent, 1)
        self.decoder = Decoder(config)
        if config.encoder:
            self.encoder = Encoder(config)
            self.quant_conv = nn.Conv2d(config.latent, config.code_dim, 1)

    @property
    def vocab(self) -> int:
        return self.config.vocab

    @property
    def size(self) -> int:
        return self.config.size * (2 if self.config.wavelet else 1)

    @property
    def grid(self) -> tuple[int, int]:
        side = self.config.size // self.config.stride
        return side, side

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], pixels of the size that `decode` makes -> (B, h, w) int64.

        Raises ModelError where the net has no encoder.
        """
        if not self.config.encoder:
            raise ModelError("This model can draw but not read pictures: its image tokenizer has no encoder.")
        images = F.avg_pool2d(images, 2) if self.config.wavelet else images
        images = images.to(self.post_quant_conv.weight.dtype)
        return self.quantize(self.features(images if self.config.unit else 2 * images - 1))

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in the net's own range -> (B, D, h, w), what the codes are chosen by."""
        return self.quant_conv(self.encoder(x))

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> Tensor:
        """(B, h, w) int64 -> (B, 3, H, W) in [0, 1]."""
        x = self.paint(tokens).float()
        return (x if self.config.unit else (x + 1) / 2).clamp(0, 1)

    def paint(self, tokens: Tensor) -> Tensor:
        """(B, h, w) int64 -> (B, 3, H, W) in the net's own range, not clamped."""
        codes = F.embedding(tokens, self.quantize.rows).permute(0, 3, 1, 2)  # (B, D, h, w)
        x = self.decoder(self.post_quant_conv(codes))
        return unhaar(x) if self.config.wavelet else x


def unhaar(bands: Tensor) -> Tensor:
    """Inverse Haar step: (B, 12, H, W), three low bands and then three high ones of each color -> (B, 3, 2H, 2W)."""
    low, high = bands[:, :3, None], bands[:, 3:].unflatten(1, (3, 3))
    squares = torch.einsum("pn,bcnhw->bcphw", bands.new_tensor(_HAAR) / 2, torch.cat([low, high], dim=2))
    return F.pixel_shuffle(squares.flatten(1, 2), 2)
