"""A decoder whose weights lie in memory as this processor reads them fastest: in the blocks of oneDNN, made once.

A library chooses its kernels by the number of rows, and another kernel may add up in another order. Where all numbers
of rows are seen to give the same bits, any number of sequences may take a step together; elsewhere so many at a time.

Letters: B sequences, M rows of a product, H heads, S positions, K channels of a head, V image codes.
"""

import copy
import math
from collections.abc import Callable
from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.nn.attention import Attention
from dalle.nn.cache import LANES, DecoderState
from dalle.nn.transformer import Mlp, Transformer

FUSED = {"gelu": "none", "gelu_tanh": "tanh"}  # MLPs whose activation the product brings along, by oneDNN's names
ROWS = 64  # of one product, at most


def can_prepack(net: Transformer) -> bool:
    """Whether this PyTorch can do it, for weights of this type, where they are."""
    weights = net.image_head.weight
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and weights.device.type == "cpu"
        and weights.dtype == torch.float32
    )


class Prepacked:
    """A `TokenModel`: the same decoder by the same code, and all of its tensors but the weights of products."""

    def __init__(self, net: Transformer):
        shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
        self._net = copy.deepcopy(net, shared)
        del self._net.text_head  # only learning asks for it
        _pack(self._net)
        self.lanes = None if _any_company(self._net) else net.lanes

    @property
    def vocab(self) -> int:
        return self._net.vocab

    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, DecoderState]:
        """(B, T) text and (B, n) first image tokens, n < I -> (B, V) logits of token n, and the state."""
        return self._net.prefill(text, image)

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """(B,) image tokens -> (B, V) logits of the next one; changes only `state`."""
        return self._net.step(tokens, state)


class PackedLinear(nn.Module):
    """A linear layer, with an activation behind it if one is named."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str = "none", algorithm: str = ""):
        super().__init__()
        self.shape = weight.shape
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), LANES)
        self.bias, self.activation, self.algorithm = bias, activation, algorithm

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_in) -> (…, n_out)"""
        rows = x.numel() // x.shape[-1]
        if 1 < rows <= ROWS:
            return self._product(x)
        flat = x.reshape(rows, -1)
        flat = flat.expand(2, -1) if rows == 1 else flat  # a single row has a kernel of its own
        y = torch.cat([self._product(part) for part in flat.split(ROWS)])
        return y[:rows].view(*x.shape[:-1], -1)

    def _product(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.activation, [], self.algorithm)


def _pack(module: nn.Module) -> None:
    """Replace what is below a module: linear layers, and how one position looks at others."""
    if isinstance(module, Mlp) and module.kind in FUSED:
        up = PackedLinear(module.up.weight, module.up.bias, "gelu", FUSED[module.kind])
        module.up, module.activate = up, _same  # type: ignore[assignment]
    if isinstance(module, Attention):
        module.look = _look
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child.weight, child.bias))
        _pack(child)


def _same(x: Tensor) -> Tensor:
    return x


def _look(q: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Attention of one position: (B, H, 1, K), and (B, H, S, K) twice -> (B, H, 1, K).

    PyTorch's own takes longer for one position, and its bits depend on which of the threads computes what. A sum of
    value rows by weight is what it calls an embedding bag, and reads from memory faster than any of its products.
    """
    b, h, s, k = values.shape
    scores = (keys @ (q * k**-0.5).transpose(2, 3)).view(b, h, 1, s)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    room = values.stride(1) // k  # positions that the cache holds, S of them filled
    table = values.as_strided((b * h * room, k), (k, 1))
    bags = F.embedding_bag(
        _places(b * h, room, s), table, mode="sum", per_sample_weights=scores.softmax(-1).view(b * h, s)
    )
    return bags.view(b, h, 1, k)


@lru_cache(maxsize=2)  # of one step, whose layers all look at as many
def _places(sequences: int, room: int, size: int) -> Tensor:
    """(sequences, size) where the first positions of each lie in a table that has `room` rows for each."""
    return torch.arange(size, dtype=torch.int32) + room * torch.arange(sequences, dtype=torch.int32)[:, None]


def _any_company(net: Transformer) -> bool:
    """Whether a sequence's bits are the same beside any others.

    Activations and gates outside of products run over all sequences as one, in pieces: nothing is promised for those.
    """
    config = net.config
    if config.mlp not in FUSED or "gate" in config.patterns:
        return False
    layers = [module for module in net.modules() if isinstance(module, PackedLinear)]
    products = {(*layer.shape, layer.activation, layer.algorithm) for layer in layers}
    attention = net.layers[0].attention
    return all(_alike_in_products(*product) for product in products) and _alike_in_attention(
        attention.heads, config.stream_len, attention.head_dim
    )


@cache
def _alike_in_products(n_out: int, n_in: int, activation: str, algorithm: str) -> bool:
    layer = PackedLinear(_numbers(n_out, n_in), None, activation, algorithm)
    return _alike(layer, _numbers(ROWS, n_in))


@cache
def _alike_in_attention(heads: int, size: int, channels: int) -> bool:
    x = _numbers(2 * LANES, heads, size, channels)
    return _alike(lambda x: _look(x[:, :, :1], x, x), x)


def _alike(compute: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether a function gives each row the same bits in any company, wherever it stands."""
    with torch.inference_mode():
        whole = compute(x)
        return all(torch.equal(compute(x[first:]), whole[first:]) for first in range(1, len(x)))


def _numbers(*shape: int) -> Tensor:
    """Numbers of either sign and without a pattern."""
    return torch.arange(math.prod(shape)).sin().view(shape)
