"""The image tokenizer inside a checkpoint: a small discrete VAE, OpenAI's, or a VQGAN, told apart by their keys."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dalle import checkpoint
from dalle.contracts import ImageTokenizer
from dalle.errors import CheckpointError
from dalle.families import openai_dvae
from dalle.nn import vqgan
from dalle.nn.strided_vae import StridedVAE, StridedVAEConfig


def build(tensors: Mapping[str, Tensor], side: int, where: str, device: torch.device) -> ImageTokenizer:
    """The tokenizer whose tokens make a grid of `side`, from its tensors alone. Raises CheckpointError."""
    if "codebook.weight" in tensors:
        return strided(tensors, side, where, device)
    if any(name.startswith("enc.") for name in tensors):
        encoder, decoder = ({n[4:]: t for n, t in tensors.items() if n.startswith(half)} for half in ("enc.", "dec."))
        if unknown := sorted(name for name in tensors if not name.startswith(("enc.", "dec."))):
            raise CheckpointError(f"{where} holds a tensor that this program does not know: vae.{unknown[0]}.")
        return openai_dvae.build(encoder, decoder, where, device, size=8 * side)
    if any(name.startswith("model.") for name in tensors):
        return _vqgan(tensors, side, where, device)
    raise CheckpointError(f"{where} holds no image tokenizer of a known kind.")


def strided(tensors: Mapping[str, Tensor], side: int, where: str, device: torch.device) -> StridedVAE:
    """A `StridedVAE`; its sizes are those of its tensors."""
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
    config = StridedVAEConfig(side << halvings, vocab, code_dim, width, halvings, blocks, channels)
    return checkpoint.build(lambda: StridedVAE(config), tensors, where, device, torch.float32)


def _vqgan(tensors: Mapping[str, Tensor], side: int, where: str, device: torch.device) -> vqgan.VQGAN:
    """A VQGAN; what it was trained against is left out."""
    kept = {
        name.removeprefix("model."): tensor for name, tensor in tensors.items() if not name.startswith("model.loss.")
    }
    stride = vqgan.sizes(kept, 1).stride
    config = vqgan.sizes(kept, side * stride)
    return checkpoint.build(lambda: vqgan.VQGAN(config), kept, where, device, torch.float32)
