"""OpenAI's discrete VAE: `encoder.pkl` and `decoder.pkl`, each a whole pickled module.

The encoder is also found as a plain state dict, with its own names or with those of its copy in FLAVA.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dalle import checkpoint, torchfile
from dalle.errors import CheckpointError, HalfError
from dalle.families import Parts
from dalle.nn.dvae import DVAE, DVAEConfig

SIZE = 256  # pixels along each side, as published; the files do not tell
SHELLS = ("dall_e.", "torch.nn.modules.")  # the classes of the pickled modules


def detect(place: Path) -> bool:
    """Whether all weights here are halves of this dVAE."""
    files = checkpoint.find(place, *checkpoint.TORCH_SUFFIXES)
    return bool(files) and all(_is_half(torchfile.peek(file)) for file in files)


def load(place: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Parts:
    """The image tokenizer alone, in float32. Raises CheckpointError."""
    files = checkpoint.find(place, *checkpoint.TORCH_SUFFIXES)
    halves: dict[str, dict[str, Tensor]] = {}
    for file in files:
        tensors = _tensors(torchfile.read(file, SHELLS), file.name)
        half = "decoder" if tensors["input.weight"].shape[2:] == (1, 1) else "encoder"
        if half in halves:
            raise CheckpointError(f"{file.name} is a second {half}; only one can be used.")
        halves[half] = tensors
    for half in ("encoder", "decoder"):
        if half not in halves:
            raise HalfError(f"The {half} is missing: put {half}.pkl and the other half into one folder.", half)
    images = build(halves["encoder"], halves["decoder"], " with ".join(file.name for file in files), device)
    return Parts(images=images, title="OpenAI dVAE", files=tuple(files))


def build(
    encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor], where: str, device: torch.device, size: int = SIZE
) -> DVAE:
    """The dVAE of two state dicts. Raises CheckpointError naming the key that does not fit."""
    encoder, decoder = _fold(encoder, where), _fold(decoder, where)
    sizes = replace(_sizes(encoder, decoder, where), size=size)
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    tensors |= {f"decoder.{name}": tensor for name, tensor in decoder.items()}
    tensors["decoder.codebook.weight"] = tensors.pop("decoder.input.weight")[:, :, 0, 0].T  # (V, D)
    tensors["decoder.bias"] = tensors.pop("decoder.input.bias", torch.empty(0))
    return checkpoint.build(lambda: DVAE(sizes), tensors, where, device, torch.float32)


def _sizes(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor], where: str) -> DVAEConfig:
    width, code_dim, vocab, *_ = *encoder["input.weight"].shape[:1], *decoder["input.weight"].shape
    if min(width // 4, code_dim, vocab) < 1:
        raise CheckpointError(f"{where}: a dVAE of these sizes cannot be.")
    blocks = 1
    while f"groups.0.{blocks}.convs.0.weight" in encoder:
        blocks += 1
    return DVAEConfig(size=SIZE, vocab=vocab, width=width, code_dim=code_dim, blocks=blocks)


def _is_half(content: Any) -> bool:
    try:
        return bool(_tensors(content, ""))
    except CheckpointError:
        return False


def _tensors(content: Any, where: str) -> dict[str, Tensor]:
    """One half, folded. Raises CheckpointError where it is none."""
    tensors = torchfile.state_dict(content) if isinstance(content, torchfile.Shell) else content
    return _fold(checkpoint.named(tensors, where), where)


def _fold(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """One half with the names of our net. Raises CheckpointError where it is none."""
    folded = {_name(name): tensor for name, tensor in tensors.items()}
    if "input.weight" not in folded or folded["input.weight"].dim() != 4:
        raise CheckpointError(f"{where} is no half of a dVAE: the tensor blocks.input.w is not there.")
    if len(folded) < len(tensors):
        raise CheckpointError(f"{where} names a tensor in two ways.")
    return folded


def _name(theirs: str) -> str:
    """`blocks.group_2.block_1.res_path.conv_3.w` -> `groups.1.0.convs.2.weight`."""
    name = theirs.removeprefix("blocks.")
    name = re.sub(r"^group_([1-4])\.(?:group\.)?", lambda at: f"groups.{int(at[1]) - 1}.", name)
    name = re.sub(r"\bblock_(\d{1,4})\.", lambda at: f"{int(at[1]) - 1}.", name)
    name = re.sub(r"\bres_path\.(?:path\.)?conv_([1-4])\.", lambda at: f"convs.{int(at[1]) - 1}.", name)
    name = name.replace("id_path.", "identity.").replace("output.conv.", "output.")
    return re.sub(r"\.w$", ".weight", re.sub(r"\.b$", ".bias", name))
