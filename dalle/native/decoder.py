"""A `TokenModel` that takes its steps in compiled code.

Letters: B rows, P prompts, T text tokens, n the positions of a prompt (text and given image tokens), V image codes,
H heads, K channels of a head, filled up to whole registers.
"""

from ctypes import byref
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from dalle.native import library
from dalle.native.layout import MLPS, STORAGES, Layout, Net
from dalle.native.layout import State as Frame
from dalle.nn.cache import DecoderState
from dalle.nn.transformer import Transformer, TransformerConfig


def supports(config: TransformerConfig) -> bool:
    """Whether the compiled step knows all choices of a net."""
    return config.mlp in MLPS and not {"blocks", "gate"} & {*config.patterns}


@dataclass
class NativeState:
    """What the compiled step remembers: prompts once, and for each row what it has drawn since."""

    net: Net
    position: int  # image tokens read so far
    prompt: Tensor  # (B,) int32, the prompt of each row
    prompt_keys: Tensor  # (P, depth, H, n, K)
    prompt_values: Tensor
    keys: Tensor  # (B, depth, H, T + I - n, K); filled up to the position
    values: Tensor
    unseen: Tensor | None  # (P, n) uint8: text that nobody looks at
    rings: Tensor  # (B, 2 * depth, columns, 2 * ceil(D / 4)); empty where there is no token shift
    _work: list[Tensor] = field(default_factory=list, init=False)
    _frame: Frame | None = field(default=None, init=False)

    @classmethod
    def after(cls, prefilled: DecoderState, net: Net, storage: torch.dtype) -> Self:
        """Where the net's own state stands after a prompt."""
        first = net.text + prefilled.position

        def stack(name: str) -> Tensor:
            layers = [getattr(layer, name)[:, :, :first] for layer in prefilled.layers]
            return F.pad(torch.stack(layers, 1), (0, net.pitch - net.channels)).to(storage)  # (P, depth, H, n, K)

        keys, values = stack("keys"), stack("values")
        rings = [torch.cat([ring.above, ring.left], dim=2) for ring in prefilled.rings]
        room = (*keys.shape[:3], net.text + net.image - first, net.pitch)
        return cls(
            net,
            prefilled.position,
            torch.arange(len(keys), dtype=torch.int32),
            keys,
            values,
            keys.new_empty(room),
            values.new_empty(room),
            None if prefilled.hidden is None else prefilled.hidden[:, :first].to(torch.uint8).contiguous(),
            torch.stack(rings, 1).float() if rings else torch.empty(len(keys), 0),
        )

    def repeat(self, n: int) -> Self:
        """Each row n times, in order; their prompts stay single."""
        filled = self.net.text + self.position - self.prompt_keys.shape[3]

        def fan_out(own: Tensor) -> Tensor:
            new = own.new_empty(len(own) * n, *own.shape[1:])
            new[:, :, :, :filled] = own[:, :, :, :filled].repeat_interleave(n, 0)
            return new

        return type(self)(
            self.net,
            self.position,
            self.prompt.repeat_interleave(n),
            self.prompt_keys,
            self.prompt_values,
            fan_out(self.keys),
            fan_out(self.values),
            self.unseen,
            self.rings.repeat_interleave(n, 0),
        )

    def frame(self) -> Frame:
        """What the compiled step reads and writes, room for its work included; made once."""
        if self._frame is None:
            net, rows = self.net, len(self.prompt)
            inner, positions = net.heads * net.channels, net.text + net.image
            sizes = {
                "a": net.width,
                "b": net.width,
                "branch": net.width,
                "wide": max(3 * inner, net.hidden),
                "mixed": inner,
                "work": net.heads * (net.pitch + positions + 16),
            }
            work = {name: torch.empty(rows, size) for name, size in sizes.items()}
            self._work = [*work.values()]
            own = ("prompt", "prompt_keys", "prompt_values", "keys", "values", "rings")
            self._frame = Frame(
                **{name: tensor.data_ptr() for name, tensor in work.items()},
                **{name: getattr(self, name).data_ptr() for name in own},
                unseen=None if self.unseen is None else self.unseen.data_ptr(),
                rows=rows,
                first=self.prompt_keys.shape[3],
                capacity=self.keys.shape[3],
            )
        self._frame.position = self.position
        return self._frame


class NativeDecoder:
    """A `TokenModel` around a transformer on the CPU: the net reads the prompt, compiled code takes the steps.

    The weights are copied as they are now, as `storage`; sums and what flows between layers are float32. A row's
    logits do not depend on the rows beside it, nor on the number of threads.
    """

    lanes = None

    def __init__(self, model: Transformer, storage: torch.dtype = torch.float16):
        """Compiles the step where that has not been done yet; raises `library.BuildError` where it cannot be.

        Raises ValueError for a net that is not supported.
        """
        if not supports(model.config) or storage not in STORAGES or model.position.device.type != "cpu":
            raise ValueError("the compiled step does not know this kind of net")
        compiled = library.load()
        self._layout = Layout(model, storage, compiled.dalle_lanes(), compiled.dalle_panel())
        self._step = compiled.dalle_step
        self.model, self.storage = model, storage

    @property
    def vocab(self) -> int:
        return self.model.vocab

    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, NativeState]:
        """(B, T) text and (B, n) first image tokens, n < I -> (B, V) logits of token n, and the state."""
        logits, state = self.model.prefill(text, image)
        return logits.float(), NativeState.after(state, self._layout.net, self.storage)

    @torch.inference_mode()
    def step(self, tokens: Tensor, state: NativeState) -> Tensor:
        """(B,) image tokens -> (B, V) logits of the next one; changes only `state`."""
        if tokens.shape != state.prompt.shape or state.position + 1 >= self.model.config.image_len:
            raise ValueError(f"{tuple(tokens.shape)} tokens do not continue this state")
        tokens = tokens.to(torch.int64).contiguous()
        logits = torch.empty(len(tokens), self.vocab)
        frame, net = state.frame(), self._layout.net
        if self._step(byref(net), byref(frame), tokens.data_ptr(), logits.data_ptr(), torch.get_num_threads()):
            raise IndexError(f"image tokens must lie between 0 and {self.vocab - 1}")
        state.position += 1
        return logits
