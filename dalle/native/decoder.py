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
from dalle.native.layout import MLPS, STORAGES, Layout, Net, room
from dalle.native.layout import State as Frame
from dalle.nn.cache import DecoderState, KeyValues
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
    prompts: Tensor  # (P, depth, H, 2, n, K): keys, then values
    own: Tensor  # (B, depth, H, 2, T + I - n, K); filled up to the position
    unseen: Tensor | None  # (P, n) uint8: text that nobody looks at
    rings: Tensor  # (B, 2 * depth, columns, 2 * ceil(D / 4)); empty where there is no token shift
    _work: list[Tensor] = field(default_factory=list, init=False)
    _frame: Frame | None = field(default=None, init=False)

    @classmethod
    def after(cls, prefilled: DecoderState, net: Net, storage: torch.dtype) -> Self:
        """Where the net's own state stands after a prompt."""
        first = net.text + prefilled.position
        layers = [layer for layer in prefilled.layers if isinstance(layer, KeyValues)]
        caches = [torch.stack([layer.keys[:, :, :first], layer.values[:, :, :first]], 2) for layer in layers]
        prompts = F.pad(torch.stack(caches, 1), (0, net.pitch - net.channels)).to(storage)
        rings = [torch.cat([ring.above, ring.left], dim=2) for ring in prefilled.rings]
        return cls(
            net,
            prefilled.position,
            torch.arange(len(prompts), dtype=torch.int32),
            prompts,
            room(*prompts.shape[:4], net.text + net.image - first, net.pitch, dtype=storage),
            None if prefilled.hidden is None else prefilled.hidden[:, :first].to(torch.uint8).contiguous(),
            torch.stack(rings, 1).float() if rings else torch.empty(len(prompts), 0),
        )

    def repeat(self, n: int) -> Self:
        """Each row n times, in order; their prompts stay single."""
        filled = self.net.text + self.position - self.prompts.shape[4]
        own = room(len(self.own) * n, *self.own.shape[1:], dtype=self.own.dtype)
        own[..., :filled, :] = self.own[..., :filled, :].repeat_interleave(n, 0)
        prompt, rings = self.prompt.repeat_interleave(n), self.rings.repeat_interleave(n, 0)
        return type(self)(self.net, self.position, prompt, self.prompts, own, self.unseen, rings)

    def frame(self) -> Frame:
        """What the compiled step reads and writes, room for its work included; made once."""
        if self._frame is None:
            self._frame = self._framed()
        self._frame.position = self.position
        return self._frame

    def _framed(self) -> Frame:
        net, rows, threads = self.net, len(self.prompt), torch.get_num_threads()
        inner = net.heads * net.channels
        work = {
            "a": torch.empty(rows, net.width),
            "b": torch.empty(rows, net.width),
            "branch": torch.empty(rows, net.width),
            "wide": torch.empty(rows, max(3 * inner, net.hidden)),
            "mixed": torch.empty(rows, inner),
            "work": torch.empty(threads, 4 * net.pitch + net.text + net.image),
        }
        self._work = [*work.values()]
        kept = {name: getattr(self, name) for name in ("prompt", "prompts", "own", "rings")}
        return Frame(
            **{name: tensor.data_ptr() for name, tensor in (kept | work).items()},
            unseen=None if self.unseen is None else self.unseen.data_ptr(),
            rows=rows,
            threads=threads,
            first=self.prompts.shape[4],
            capacity=self.own.shape[4],
        )


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
        if self._step(byref(net), byref(frame), tokens.data_ptr(), logits.data_ptr()):
            raise IndexError(f"image tokens must lie between 0 and {self.vocab - 1}")
        state.position += 1
        return logits
