"""What the transformer remembers while it draws: allocated once, filled step by step, owned by the caller.

Letters: B sequences, H heads, S = T + h*w positions, K channels of a head, D channels of the stream.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

# How many sequences take a step together, no more and no less: a product of another number of rows may go through
# another kernel, which rounds differently, and a picture shall not depend on how many are drawn beside it.
LANES = 8
LANES_OF_GPU = 16

Index = int | Tensor  # of an image token; (1,) on the device, for caches that take their positions from there


@dataclass
class KeyValues:
    """Keys and values of one layer."""

    keys: Tensor  # (B, H, S, K); filled up to the state's position
    values: Tensor  # (B, H, S, K)

    def write(self, start: Index, keys: Tensor, values: Tensor) -> None:
        """Fill positions start … start+n-1 from (B, H, n, K)."""
        stop = start + keys.shape[2]
        self.keys[:, :, start:stop] = keys
        self.values[:, :, start:stop] = values

    def repeat(self, n: int) -> Self:
        return type(self)(self.keys.repeat_interleave(n, 0), self.values.repeat_interleave(n, 0))


@dataclass
class Gates:
    """The gates of a spatial gating unit, normed and not yet mixed."""

    gates: Tensor  # (B, S, 2D); filled up to the state's position

    def write(self, start: Index, gates: Tensor) -> None:
        """Fill positions start … start+n-1 from (B, n, 2D)."""
        self.gates[:, start : start + gates.shape[1]] = gates

    def repeat(self, n: int) -> Self:
        return type(self)(self.gates.repeat_interleave(n, 0))


@dataclass
class ShiftRing:
    """The channels that token shift needs later: of the w latest image tokens, slot i % w for token i."""

    above: Tensor  # (B, w, ceil(D/4)), read w tokens later
    left: Tensor  # (B, w, ceil(D/4)), read one token later
    tried: tuple[Tensor, Tensor] | None = None  # both, of the (B, k, ceil(D/4)) latest guesses

    def write(self, index: Index, above: Tensor, left: Tensor) -> None:
        """Store the channels of image token `index`, each (B, c)."""
        slot = index % self.above.shape[1]
        self.above[:, slot] = above
        self.left[:, slot] = left

    def read(self, index: Index) -> tuple[Tensor, Tensor]:
        """What token `index` gets from the pixel above and from the one to its left; zeros outside the grid."""
        width = self.above.shape[1]
        above = self.above[:, index % width] if index >= width else torch.zeros_like(self.above[:, 0])
        left = self.left[:, (index - 1) % width] if index % width else torch.zeros_like(self.left[:, 0])
        return above, left

    def accept(self, index: int, count: int) -> None:
        """Store the channels of the first guesses, which are image tokens from `index` on."""
        assert self.tried is not None
        above, left = self.tried
        for guess in range(count):
            self.write(index + guess, above[:, guess], left[:, guess])

    def repeat(self, n: int) -> Self:
        return type(self)(self.above.repeat_interleave(n, 0), self.left.repeat_interleave(n, 0))


@dataclass
class DecoderState:
    """Everything that a `Transformer` remembers of B sequences."""

    position: int  # image tokens read so far
    layers: list[KeyValues | Gates]
    rings: list[ShiftRing]  # two to a layer (attention, MLP) with token shift, else none
    hidden: Tensor | None = None  # (B, S) bool: text that nobody looks at

    @torch.inference_mode()
    def accept(self, count: int) -> None:
        """The first of the tokens that were read ahead are the ones that follow; the others are forgotten."""
        for ring in self.rings:
            ring.accept(self.position, count)
        self.position += count

    def repeat(self, n: int) -> Self:
        """Each sequence n times, in order: prefill a prompt once, then draw n candidates of it."""
        layers = [layer.repeat(n) for layer in self.layers]
        hidden = None if self.hidden is None else self.hidden.repeat_interleave(n, 0)
        return type(self)(self.position, layers, [ring.repeat(n) for ring in self.rings], hidden)
