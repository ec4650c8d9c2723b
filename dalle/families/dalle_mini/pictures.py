"""The VQGAN of these models: its pixels lie in [0, 1], and in the PyTorch port its norms have another epsilon."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dalle import checkpoint, flaxfile, mapped, torchfile
from dalle.families.dalle_mini import settings
from dalle.nn import vqgan
from dalle.nn.vqgan import VQGAN, VQGANConfig

CELLS = 16  # along each side of the published grid; the port's file does not tell
FLAX_EPS, TORCH_EPS = 1e-6, 1e-5


def read_vqgan(path: Path, device: torch.device) -> tuple[VQGAN, tuple[Path, ...]]:
    """The net of a Flax file, or of the port's, which can only draw; and the files it was read from.

    Raises CheckpointError.
    """
    flax = path.suffix == flaxfile.SUFFIX
    tensors = _from_flax(flaxfile.read(path)) if flax else _from_port(torchfile.read(path), path.name)
    sizes = vqgan.sizes(tensors, size=0, unit=True, eps=FLAX_EPS if flax else TORCH_EPS)
    sizes = replace(sizes, size=CELLS * sizes.stride)
    told, where = settings.beside(path, "n_embed", sizes.vocab)
    if told and where is not None:
        size = settings.number(told, where, "resolution", 2**16) or sizes.size
        sizes = replace(sizes, size=size)
        settings.check(
            told, where, settings.VQGAN_CHOICES | _told(sizes), {"resolution", "ch", "ch_mult", "attn_resolutions"}
        )
    net = checkpoint.build(lambda: VQGAN(sizes), tensors, path.name, device, torch.float32)
    return net, (path,) if where is None else (path, where)


def _told(sizes: VQGANConfig) -> dict[str, object]:
    """How `config.json` describes a net."""
    return {
        "embed_dim": sizes.code_dim,
        "n_embed": sizes.vocab,
        "num_res_blocks": sizes.blocks,
        "z_channels": sizes.latent,
    }


def _from_flax(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Flax's paths and axes -> PyTorch's names and axes; `decoder/up_0/block_1/conv1/kernel` and the like."""
    renamed = {}
    for path, tensor in tensors.items():
        name = re.sub(r"/(down|up)_(\d+)/(?:(block|attn)_(\d+)/)?", _level, path)
        name = re.sub(r"/(kernel|scale|embedding)$", "/weight", name).replace("/", ".")
        turned = tensor.permute(3, 2, 0, 1) if tensor.dim() == 4 else tensor  # (H, W, in, out)
        renamed[name] = torch.empty(turned.shape, dtype=turned.dtype).copy_(turned)
        mapped.release(tensor)
    return renamed


def _level(found: re.Match[str]) -> str:
    """`/up_0/block_1/` -> `/up/0/block/1/`."""
    return found[0].replace("_", "/")


def _from_port(tensors: object, where: str) -> dict[str, Tensor]:
    named = checkpoint.named(tensors, where)
    if "embedding.weight" in named:
        named["quantize.embedding.weight"] = named.pop("embedding.weight")
    return named
