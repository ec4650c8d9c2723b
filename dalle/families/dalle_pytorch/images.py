"""The image tokenizer inside a checkpoint: a small discrete VAE, OpenAI's, or a VQGAN, told apart by their keys."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dalle import checkpoint
from dalle.contracts import ImageTokenizer
from dalle.errors import CheckpointError
from dalle.families import openai_dvae
from dalle.nn import vqgan
from dalle.nn.strided_vae import StridedVAE, StridedVAEConfig

SIZES = {  # hyper-parameters of the small discrete VAE, and our names
    "image_size": "size",
    "num_layers": "halvings",
    "num_tokens": "vocab",
    "codebook_dim": "code_dim",
    "hidden_dim": "width",
    "num_resnet_blocks": "blocks",
    "channels": "channels",
}
TRAINING = {"smooth_l1_loss", "kl_div_loss_weight", "temperature", "straight_through", "reinmax"}
NORMALIZED = ((0.5, 0.5, 0.5, 0.0), (0.5, 0.5, 0.5, 1.0))  # means and deviations of the channels that it reads
LARGEST = 1 << 16  # pixels along each side


def build(tensors: Mapping[str, Tensor], stated: Any, side: int, where: str, device: torch.device) -> ImageTokenizer:
    """The tokenizer whose tokens make a grid of `side`; `stated` are hyper-parameters, where it has some.

    Raises CheckpointError.
    """
    if "codebook.weight" in tensors:
        return strided(tensors, stated, where, device, side)
    if any(name.startswith("enc.") for name in tensors):
        encoder, decoder = ({n[4:]: t for n, t in tensors.items() if n.startswith(half)} for half in ("enc.", "dec."))
        if unknown := sorted(name for name in tensors if not name.startswith(("enc.", "dec."))):
            raise CheckpointError(f"{where} holds a tensor that this program does not know: vae.{unknown[0]}.")
        return openai_dvae.build(encoder, decoder, where, device, size=8 * side)
    if any(name.startswith("model.") for name in tensors):
        return _vqgan(tensors, side, where, device)
    raise CheckpointError(f"{where} holds no image tokenizer of a known kind.")


def strided(
    tensors: Mapping[str, Tensor], stated: Any, where: str, device: torch.device, side: int | None = None
) -> StridedVAE:
    """A `StridedVAE`; its sizes are those of its tensors, and must be those that are stated.

    Nothing but the hyper-parameter image_size tells the grid of one on its own.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    halvings = next(n for n in range(len(shapes) + 1) if f"encoder.{n}.0.weight" not in shapes)
    blocks = next(n for n in range(len(shapes) + 1) if f"encoder.{halvings + n}.net.0.weight" not in shapes)
    for name, dimensions in (("codebook.weight", 2), ("encoder.0.0.weight", 4)):
        if name not in shapes:
            raise CheckpointError(f"{where} lacks the tensor {name} of its image tokenizer.")
        if len(shapes[name]) != dimensions or 0 in shapes[name]:
            raise CheckpointError(f"{where}: {name} of its image tokenizer has the shape {shapes[name]}.")
    (vocab, code_dim), (width, channels, *_) = shapes["codebook.weight"], shapes["encoder.0.0.weight"]
    if channels not in (1, 3, 4):
        raise CheckpointError(f"{where}: pictures of {channels} channels are of no known kind.")
    stated = {} if stated is None else stated
    size = stated.get("image_size") if isinstance(stated, dict) and side is None else (side or 0) << halvings
    if not isinstance(size, int) or not 0 < size <= LARGEST or size % (1 << halvings):
        raise CheckpointError(f"{where}: the hyper-parameter image_size should be a number of pixels.")
    config = StridedVAEConfig(size, vocab, code_dim, width, halvings, blocks, channels)
    _check(stated, config, where)
    return checkpoint.build(lambda: StridedVAE(config), tensors, where, device, torch.float32)


def _check(stated: Any, config: StridedVAEConfig, where: str) -> None:
    """Raise CheckpointError for a hyper-parameter that is not known, or that the tensors contradict."""
    if not isinstance(stated, dict):
        raise CheckpointError(f"{where}: the hyper-parameters of its image tokenizer should be names with values.")
    for name, value in stated.items():
        if name in SIZES and value != getattr(config, SIZES[name]):
            there = getattr(config, SIZES[name])
            raise CheckpointError(f"{where} states {name} {str(value)[:20]}, but its image tokenizer has {there}.")
        if name == "normalization":
            usual = [row[: config.channels] for row in NORMALIZED]
            if not isinstance(value, list | tuple) or [tuple(row)[: config.channels] for row in value] != usual:
                raise CheckpointError(f"{where}: a normalization other than the usual one is not known here.")
        elif name not in SIZES and name not in TRAINING:
            raise CheckpointError(f"{where} has a hyper-parameter that this program does not know: {str(name)[:60]}.")


def _vqgan(tensors: Mapping[str, Tensor], side: int, where: str, device: torch.device) -> vqgan.VQGAN:
    """A VQGAN; what it was trained against is left out."""
    kept = {
        name.removeprefix("model."): tensor for name, tensor in tensors.items() if not name.startswith("model.loss.")
    }
    stride = vqgan.sizes(kept, 1).stride
    config = vqgan.sizes(kept, side * stride)
    return checkpoint.build(lambda: vqgan.VQGAN(config), kept, where, device, torch.float32)
