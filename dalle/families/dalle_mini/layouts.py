"""Two layouts of one encoder-decoder, PyTorch's and Flax's, folded onto the net in `dalle.nn.seq2seq`.

Both are read by the names of the PyTorch one. Folded are: queries, keys and values into one matrix, likewise the two
layers of a gated MLP; the start token into a vector of its own; tables of image tokens down to the codes that can be
drawn. Most norms of these models learned no scale: it is one, and stands in no file.
"""

import re
from collections.abc import Mapping
from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor

from dalle import mapped
from dalle.errors import CheckpointError
from dalle.nn.seq2seq import Seq2SeqConfig, StackConfig

CODES = 16384  # of the published VQGAN; rows of the image tables beyond are padding and the start token
HEAD_DIM = 64  # in all published models

_FLAX = {  # parts of a name in PyTorch -> in Flax
    "pre_self_attn_layer_norm": "LayerNorm_0",
    "self_attn_layer_norm": "LayerNorm_1",
    "pre_encoder_attn_layer_norm": "LayerNorm_2",
    "encoder_attn_layer_norm": "LayerNorm_3",
    "self_attn": "FlaxBartAttention_0",
    "encoder_attn": "FlaxBartAttention_1",
    "glu": "GLU_0",
    "ln0": "LayerNorm_0",
    "ln1": "LayerNorm_1",
    "fc0": "Dense_0",
    "fc1": "Dense_1",
    "fc2": "Dense_2",
}


class Place(NamedTuple):
    """Where a tensor goes, and in which type."""

    device: torch.device
    dtype: torch.dtype


class Half:
    """The encoder or the decoder in the PyTorch layout. Each tensor is checked and taken once."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str):
        self.where = where
        self._tensors = tensors
        self._taken: set[str] = set()

    @property
    def depth(self) -> int:
        return self._numbered(r"layers\.(\d{1,6})\.")

    def shape(self, name: str) -> tuple[int, int]:
        """Of a matrix. Raises CheckpointError where it is none, or not there."""
        matrix = self._find(name)
        if matrix.dim() != 2 or 0 in matrix.shape:
            raise CheckpointError(f"{self.where}: {self._key(name)} should be a matrix.")
        return matrix.shape[0], matrix.shape[1]

    def take(self, name: str, shape: tuple[int, ...], place: Place) -> Tensor:
        """A copy at a place. Raises CheckpointError where the tensor is missing or has another shape."""
        return mapped.join([self._checked(name, shape)], place.dtype, place.device)

    def join(self, names: list[str], shape: tuple[int, int], place: Place) -> Tensor:
        """Matrices of one shape, one above the other, likewise."""
        return mapped.join([self._checked(name, shape) for name in names], place.dtype, place.device)

    def _checked(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._find(name)
        if tensor.shape != shape or not tensor.is_floating_point():
            found = f"{tuple(tensor.shape)} of {tensor.dtype}".replace("torch.", "")
            raise CheckpointError(f"{self.where}: {self._key(name)} is {found}; the model needs {shape} of floats.")
        self._taken.add(self._key(name))
        return tensor

    def close(self) -> None:
        """Raises CheckpointError where a tensor was not taken."""
        if left := sorted(set(self._tensors) - self._taken):
            raise CheckpointError(f"{self.where} holds a tensor that this model does not have: {left[0]}.")

    def _find(self, name: str) -> Tensor:
        key = self._key(name)
        if key not in self._tensors:
            raise CheckpointError(f"{self.where} lacks the tensor {key}.")
        return self._tensors[key]

    def _key(self, name: str) -> str:
        return name

    def _numbered(self, pattern: str) -> int:
        """One more than the highest number that a pattern finds in the names."""
        return max((int(found[1]) + 1 for key in self._tensors if (found := re.search(pattern, key))), default=0)


class FlaxHalf(Half):
    """The same in the Flax layout: layers with trees of their own, or all of them scanned (stacked) in one tree."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str, side: str):
        """`side` is "encoder" or "decoder"; the latter answers for whatever lies outside both."""
        other = {"encoder": "decoder", "decoder": "encoder"}[side]
        wanted = (f"model/{side}/", "") if side == "decoder" else (f"model/{side}/",)
        own = {
            key: tensor
            for key, tensor in tensors.items()
            if key.startswith(wanted) and not key.startswith(f"model/{other}/")
        }
        super().__init__(own, where)
        self._side = side
        self._layer = f"FlaxBart{side.capitalize()}Layer"
        self._stack = next((t for key, t in own.items() if f"/{self._layer}s/" in key and t.dim()), None)

    @property
    def depth(self) -> int:
        return self._numbered(rf"/{self._layer}_(\d{{1,6}})/") if self._stack is None else len(self._stack)

    def _key(self, name: str) -> str:
        *path, last = name.split(".")
        if path[0] == "layers":
            path[1:2] = [f"{self._layer}s" if self._stack is not None else f"{self._layer}_{path[1]}"]
        path = [_FLAX.get(part, part) for part in path]
        if last == "weight":
            kinds = {"embed": "embedding", "layernorm": "scale", "LayerNorm": "scale", "final": "scale"}
            last = kinds.get(path[-1].split("_")[0], "kernel")
        return "/".join([*([] if path[0] == "lm_head" else ["model", self._side]), *path, last])

    def _find(self, name: str) -> Tensor:
        tensor, key = super()._find(name), self._key(name)
        if self._stack is not None and name.startswith("layers."):
            if not tensor.dim() or len(tensor) != self.depth:
                raise CheckpointError(f"{self.where}: {key} should hold {self.depth} layers.")
            tensor = tensor[int(name.split(".")[1])]
        return tensor.T if key.endswith("/kernel") and tensor.dim() == 2 else tensor


def sizes(encoder: Half, decoder: Half, heads: Mapping[str, int | None], codes: int | None) -> Seq2SeqConfig:
    """What the two halves say about the net.

    Args:
        heads: of the "encoder" and the "decoder", where something tells; shapes do not.
        codes: of the image tokenizer; None: those that the published ones have.

    Raises CheckpointError.
    """
    text_vocab, width = encoder.shape("embed_tokens.weight")
    rows, _ = decoder.shape("embed_tokens.weight")
    image_len, _ = decoder.shape("embed_positions.weight")
    if codes is not None and codes >= rows:
        raise CheckpointError(f"{decoder.where} draws {rows - 1} image tokens at most, but the VQGAN has {codes}.")
    side = isqrt(image_len)
    if side * side != image_len:
        raise CheckpointError(f"{decoder.where}: embed_positions has {image_len} rows, which make no square.")
    return Seq2SeqConfig(
        text_vocab=text_vocab,
        text_len=encoder.shape("embed_positions.weight")[0],
        image_vocab=codes or min(CODES, rows),
        grid=(side, side),
        width=width,
        encoder=_stack(encoder, width, heads["encoder"]),
        decoder=_stack(decoder, width, heads["decoder"]),
    )


def _stack(half: Half, width: int, heads: int | None) -> StackConfig:
    if heads is None and width % HEAD_DIM:
        raise CheckpointError(
            f"{half.where} does not tell the number of heads. Put the model's config.json into the same folder."
        )
    heads = width // HEAD_DIM if heads is None else heads
    if not heads or width % heads:
        raise CheckpointError(f"{half.where}: {heads} heads cannot share {width} channels.")
    return StackConfig(half.depth, heads, hidden=half.shape("layers.0.glu.fc0.weight")[0])


def fold(encoder: Half, decoder: Half, net: Seq2SeqConfig, start: int, place: Place) -> dict[str, Tensor]:
    """The state dict of a `Seq2Seq`, `start` being the row of the start token. Raises CheckpointError."""
    width, rows = net.width, decoder.shape("embed_tokens.weight")[0]
    images = decoder.take("embed_tokens.weight", (rows, width), place)
    tensors = {
        "text_embedding.weight": encoder.take("embed_tokens.weight", (net.text_vocab, width), place),
        "text_position": encoder.take("embed_positions.weight", (net.text_len, width), place),
        "image_embedding.weight": images[: net.image_vocab],
        "start": images[start],
        "image_position": decoder.take("embed_positions.weight", (net.image_len, width), place),
        "head.weight": decoder.take("lm_head.weight", (rows, width), place)[: net.image_vocab],
        **_norm(encoder, "layernorm_embedding", "text_norm", width, place),
        **_norm(encoder, "final_ln", "encoder_norm", width, place, scaled=False),
        **_norm(decoder, "layernorm_embedding", "image_norm", width, place),
        **_norm(decoder, "final_ln", "decoder_norm", width, place, scaled=False),
    }
    for index in range(net.encoder.depth):
        tensors |= _layer(encoder, index, f"encoder.{index}", width, net.encoder.hidden, place)
    for index in range(net.decoder.depth):
        ours, theirs = f"decoder.{index}", f"layers.{index}"
        tensors |= _layer(decoder, index, ours, width, net.decoder.hidden, place)
        tensors |= _norm(decoder, f"{theirs}.pre_encoder_attn_layer_norm", f"{ours}.cross_norm", width, place, False)
        tensors |= _norm(decoder, f"{theirs}.encoder_attn_layer_norm", f"{ours}.cross_post_norm", width, place)
        for part, names in (("q", ["q"]), ("kv", ["k", "v"]), ("out", ["out"])):
            projections = [f"{theirs}.encoder_attn.{name}_proj.weight" for name in names]
            tensors[f"{ours}.cross.{part}.weight"] = decoder.join(projections, (width, width), place)
    encoder.close()
    decoder.close()
    return tensors


def _layer(half: Half, index: int, ours: str, width: int, hidden: int, place: Place) -> dict[str, Tensor]:
    """What a layer of the encoder has, and one of the decoder too."""
    theirs, square = f"layers.{index}", (width, width)
    projections = [f"{theirs}.self_attn.{name}_proj.weight" for name in "qkv"]
    values_and_gates = [f"{theirs}.glu.fc1.weight", f"{theirs}.glu.fc0.weight"]
    return {
        **_norm(half, f"{theirs}.pre_self_attn_layer_norm", f"{ours}.attention_norm", width, place, scaled=False),
        f"{ours}.attention.qkv.weight": half.join(projections, square, place),
        f"{ours}.attention.out.weight": half.take(f"{theirs}.self_attn.out_proj.weight", square, place),
        **_norm(half, f"{theirs}.self_attn_layer_norm", f"{ours}.attention_post_norm", width, place),
        **_norm(half, f"{theirs}.glu.ln0", f"{ours}.mlp.norm", width, place, scaled=False),
        f"{ours}.mlp.up.weight": half.join(values_and_gates, (hidden, width), place),
        **_norm(half, f"{theirs}.glu.ln1", f"{ours}.mlp.hidden_norm", hidden, place, scaled=False),
        f"{ours}.mlp.down.weight": half.take(f"{theirs}.glu.fc2.weight", (width, hidden), place),
    }


def _norm(half: Half, theirs: str, ours: str, size: int, place: Place, scaled: bool = True) -> dict[str, Tensor]:
    """A layer norm; `scaled` tells whether it learned a scale."""
    bias = half.take(f"{theirs}.bias", (size,), place)
    scale = half.take(f"{theirs}.weight", (size,), place) if scaled else torch.ones_like(bias)
    return {f"{ours}.weight": scale, f"{ours}.bias": bias}
