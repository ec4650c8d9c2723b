"""How the compiled step wants a transformer laid out in memory: `step.cpp`'s structures, and how to fill them.

Letters: D channels of the stream, N outputs and M inputs of a product, I image tokens, P outputs of a panel.
"""

import contextlib
import ctypes
import math
import mmap
from ctypes import POINTER, c_float, c_int, c_void_p

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.nn.attention import Attention
from dalle.nn.patterns import visible_keys
from dalle.nn.transformer import Layer as NetLayer
from dalle.nn.transformer import Transformer

STORAGES = (torch.float32, torch.float16, torch.bfloat16)
MLPS = ("gelu", "gelu_tanh", "quick_gelu", "geglu")


class Linear(ctypes.Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p), ("inputs", c_int), ("outputs", c_int))


class Norm(ctypes.Structure):
    _fields_ = (("scale", c_void_p), ("shift", c_void_p), ("epsilon", c_float))


class Layer(ctypes.Structure):
    _fields_ = (
        *((name, Norm) for name in ("attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm")),
        *((name, Linear) for name in ("qkv", "out", "up", "down")),
        *((name, c_void_p) for name in ("seen", "starts")),
    )


class Net(ctypes.Structure):
    _fields_ = (
        ("layers", POINTER(Layer)),
        *((name, c_void_p) for name in ("embedding", "positions", "rotation")),
        ("norm", Norm),
        ("head_norm", Norm),
        ("head", Linear),
        *((name, c_int) for name in ("storage", "depth", "width", "heads", "channels", "pitch", "hidden", "mlp")),
        *((name, c_int) for name in ("turning", "text", "image", "columns", "shift", "reversible", "divide_by_max")),
    )


class State(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("prompt", "prompts", "own", "unseen", "rings")),
        *((name, c_void_p) for name in ("a", "b", "branch", "wide", "mixed", "work")),
        *((name, c_int) for name in ("rows", "threads", "first", "capacity", "position")),
    )


class Layout:
    """A transformer laid out for the compiled step: `net`, and the tensors that it points into."""

    def __init__(self, model: Transformer, storage: torch.dtype, lanes: int, panel: int):
        """`lanes` floats are in a register, and `panel` outputs of a product are stored side by side."""
        self._tensors: list[Tensor] = []  # kept alive
        self._panel = panel
        linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
        self._weights = room(sum((len(each.weight) + 2 * panel) * each.in_features for each in linears), dtype=storage)
        self._used = 0  # of the room for weights, which is ample: what is not written takes no memory
        config = model.config
        channels = config.head_dim or config.width // config.heads
        self._layers = (Layer * config.depth)()
        for depth, layer in enumerate(model.layers):
            self._fill(self._layers[depth], layer, config.mlp == "geglu")
        for pattern in {*config.patterns} - {"full"}:
            seen, starts = (self._point(table) for table in _visible(model, pattern))
            for depth in range(config.depth):
                if config.patterns[depth % len(config.patterns)] == pattern:
                    self._layers[depth].seen, self._layers[depth].starts = seen, starts
        self.net = Net(
            layers=self._layers,
            embedding=self._point(model.image_embedding.weight.float()),
            positions=self._point(model.position.float()),
            rotation=None if model.rotation is None else self._point(model.rotation.float()),
            norm=self._norm(model.norm),
            head_norm=self._norm(model.head_norm),
            head=self._linear(model.image_head),
            storage=STORAGES.index(storage),
            depth=config.depth,
            width=config.width,
            heads=config.heads,
            channels=channels,
            pitch=-(-channels // lanes) * lanes,
            hidden=config.hidden or 4 * config.width,
            mlp=MLPS.index(config.mlp),
            turning=config.rotary,
            text=config.text_len,
            image=config.image_len,
            columns=config.grid[1],
            shift=config.shift,
            reversible=config.reversible,
            divide_by_max=config.divide_by_max,
        )

    def _fill(self, out: Layer, layer: NetLayer, gated: bool) -> None:
        for name in ("attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm"):
            setattr(out, name, self._norm(getattr(layer, name)))
        assert isinstance(layer.attention, Attention)
        out.qkv, out.out = self._linear(layer.attention.qkv), self._linear(layer.attention.out)
        out.up, out.down = self._linear(layer.mlp.up, gated), self._linear(layer.mlp.down)

    def _norm(self, norm: nn.Module) -> Norm:
        if not isinstance(norm, nn.LayerNorm):
            return Norm()
        return Norm(self._point(norm.weight.float()), self._point(norm.bias.float()), norm.eps)

    def _linear(self, linear: nn.Linear, gated: bool = False) -> Linear:
        weight, bias = linear.weight.detach(), linear.bias.detach().float()
        if gated:
            weight, bias = _interleave(weight, self._panel // 2), _interleave(bias, self._panel // 2)
        panels = _filled(weight, self._panel).unflatten(0, (-1, self._panel)).transpose(1, 2)  # (N/P, M, P)
        packed = self._weights[self._used :][: panels.numel()]
        packed.view(panels.shape).copy_(panels)
        self._used += len(packed)
        return Linear(packed.data_ptr(), self._point(_filled(bias, self._panel)), weight.shape[1], len(weight))

    def _point(self, tensor: Tensor) -> int:
        """The address of a tensor, which stays."""
        self._tensors.append(tensor.detach().contiguous())
        return self._tensors[-1].data_ptr()


def room(*shape: int, dtype: torch.dtype) -> Tensor:
    """Memory for what is read from end to end in every step: in large pages, where the system has them.

    A step reads more pages than the processor can remember the places of.
    """
    pages = mmap.mmap(-1, max(1, math.prod(shape)) * dtype.itemsize)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype, count=math.prod(shape)).view(shape)


def _filled(x: Tensor, multiple: int) -> Tensor:
    """Zeros behind (N, …) up to a multiple."""
    return F.pad(x, (*(0, 0) * (x.dim() - 1), 0, -len(x) % multiple))


def _interleave(x: Tensor, size: int) -> Tensor:
    """(2n, …), values and then gates -> `size` values, their `size` gates, the next values …; zeros fill up."""
    values, gates = (_filled(half, size).unflatten(0, (-1, size)) for half in x.chunk(2))
    return torch.stack([values, gates], dim=1).flatten(0, 2)


def _visible(model: Transformer, pattern: str) -> tuple[Tensor, Tensor]:
    """The positions that image tokens 0 … I-2 see, one after the other, and where those of each begin."""
    config = model.config
    rows = visible_keys(pattern, model.pattern_start, config.grid)
    rows = rows[config.text_len - model.pattern_start :][: config.image_len - 1]
    starts = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return torch.cat(rows).int(), starts.int()
