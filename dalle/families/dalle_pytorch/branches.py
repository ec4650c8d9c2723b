"""The branches of a layer, attention and MLP, taken from a checkpoint under the names of our nets.

A branch is wrapped in modules that scale, norm, shift or keep its output; each adds "fn." to its names. The scale goes
into the weights of what comes last.
Letters: D channels of the stream, S positions.
"""

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dalle import checkpoint, mapped
from dalle.errors import CheckpointError

MOST_WRAPPERS = 6


class Tensors:
    """Tensors that are taken one by one, each with the shape that it must have; at the end none may be left."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str, dtype: torch.dtype = torch.float32):
        self.where = where
        self.dtype = dtype  # of what is made of them
        self._left = dict(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def __iter__(self) -> Iterator[str]:
        return iter(self._left)

    def any(self, prefix: str) -> bool:
        """Whether a name begins so."""
        return any(name.startswith(prefix) for name in self._left)

    def shape(self, name: str) -> tuple[int, ...]:
        """That of a tensor that stays. Raises CheckpointError where it is missing."""
        if name not in self._left:
            raise CheckpointError(f"{self.where} lacks the tensor {name}.")
        return tuple(self._left[name].shape)

    def take(self, name: str, *shape: int, whole: bool = False) -> Tensor:
        """The tensor of that name, of fractions or of whole numbers.

        Raises CheckpointError where it is missing or has another shape.
        """
        tensor = checkpoint.take(self._left, name, shape, self.where)
        if tensor.is_floating_point() == whole:
            raise CheckpointError(f"{self.where}: {name} holds numbers of the wrong type ({tensor.dtype}).")
        return tensor

    def ignore(self, *names: str) -> None:
        for name in names:
            self._left.pop(name, None)

    def finish(self) -> None:
        """Raises CheckpointError where a tensor was not taken."""
        if self._left:
            raise CheckpointError(f"{self.where} holds a tensor that this program does not know: {min(self._left)}.")


def attention(there: Tensors, prefix: str, out: dict[str, Tensor], name: str, width: int, inner: int) -> int:
    """An attention branch as `name` into `out`; `inner` channels of all heads. How many modules are around it."""
    count, at = _inside(there, prefix, "to_qkv.weight")
    out[f"{name}.qkv.weight"] = there.take(f"{at}to_qkv.weight", 3 * inner, width)
    out[f"{name}.qkv.bias"] = torch.zeros(3 * inner)
    out[f"{name}.out.weight"] = there.take(f"{at}to_out.0.weight", width, inner)
    out[f"{name}.out.bias"] = there.take(f"{at}to_out.0.bias", width)
    _norms(there, prefix, out, name, "out", width)
    return count


def gate(there: Tensors, prefix: str, out: dict[str, Tensor], name: str, width: int, size: int) -> int:
    """A gMLP branch over a stream of `size` positions, likewise."""
    count, at = _inside(there, prefix, "proj_in.0.weight")
    out[f"{name}.up.weight"] = there.take(f"{at}proj_in.0.weight", 4 * width, width)
    out[f"{name}.up.bias"] = there.take(f"{at}proj_in.0.bias", 4 * width)
    out[f"{name}.norm.weight"] = there.take(f"{at}sgu.norm.weight", 2 * width)
    out[f"{name}.norm.bias"] = there.take(f"{at}sgu.norm.bias", 2 * width)
    out[f"{name}.out.weight"] = there.take(f"{at}proj_out.weight", width, 2 * width)
    out[f"{name}.out.bias"] = there.take(f"{at}proj_out.bias", width)
    head = (1,) * (len(there.shape(f"{at}sgu.weight")) == 3)  # newer releases have a dimension for heads
    mix = there.take(f"{at}sgu.weight", *head, size - 1, size - 1).reshape(size - 1, size - 1)
    bias = there.take(f"{at}sgu.bias", *head, size - 1).reshape(size - 1)
    out[f"{name}.mix"] = F.pad(mix, (0, 1, 0, 1))  # the last position is never an input
    out[f"{name}.bias"] = F.pad(bias, (0, 1))
    _norms(there, prefix, out, name, "out", width)
    return count


def mlp(there: Tensors, prefix: str, out: dict[str, Tensor], name: str, width: int) -> int:
    """A gated MLP branch, likewise."""
    count, at = _inside(there, prefix, "net.0.weight")
    out[f"{name}.up.weight"] = there.take(f"{at}net.0.weight", 8 * width, width)
    out[f"{name}.up.bias"] = there.take(f"{at}net.0.bias", 8 * width)
    out[f"{name}.down.weight"] = there.take(f"{at}net.3.weight", width, 4 * width)
    out[f"{name}.down.bias"] = there.take(f"{at}net.3.bias", width)
    _norms(there, prefix, out, name, "down", width)
    return count


def _inside(there: Tensors, prefix: str, name: str) -> tuple[int, str]:
    """How many modules are wrapped around the one with a tensor of that name, and the prefix of its tensors."""
    for count in range(1, MOST_WRAPPERS):
        if f"{prefix}{'fn.' * count}{name}" in there:
            return count, prefix + "fn." * count
    raise CheckpointError(f"{there.where} lacks the tensor {prefix}fn.{name}.")


def _norms(there: Tensors, prefix: str, out: dict[str, Tensor], name: str, last: str, width: int) -> None:
    """The norms around a branch; its scale goes into the one behind it, or else into its last layer."""
    scale = None
    if f"{prefix}scale" in there:
        scale = there.take(f"{prefix}scale", 1, 1, width).flatten().float()
        prefix += "fn."
    for part in ("weight", "bias"):
        out[f"{name}_norm.{part}"] = there.take(f"{prefix}norm.{part}", width)
        target = f"{name}.{last}.{part}"
        if f"{prefix}norm_out.{part}" in there:
            target = f"{name}_post_norm.{part}"
            out[target] = there.take(f"{prefix}norm_out.{part}", width)
        if scale is not None:
            unscaled = mapped.cast(out[target], torch.float32)
            out[target] = torch.einsum("d...,d->d...", unscaled, scale).to(there.dtype)
            mapped.release(unscaled)
