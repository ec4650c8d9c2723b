"""A decoder whose weights lie in memory as this processor reads them fastest: in the blocks of oneDNN, made once.

Letters: B sequences, V image codes.
"""

import copy

import torch
from torch import Tensor, nn

from dalle.nn.cache import LANES, DecoderState
from dalle.nn.transformer import Mlp, Transformer

FUSED = {"gelu": "none", "gelu_tanh": "tanh"}  # MLPs whose activation the product brings along, by oneDNN's names


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

    @property
    def vocab(self) -> int:
        return self._net.vocab

    @property
    def lanes(self) -> int:
        return self._net.lanes

    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, DecoderState]:
        """(B, T) text and (B, n) first image tokens, n < I -> (B, V) logits of token n, and the state."""
        return self._net.prefill(text, image)

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """(B,) image tokens -> (B, V) logits of the next one; changes only `state`."""
        return self._net.step(tokens, state)


class PackedLinear(nn.Module):
    """A linear layer, with an activation behind it if one is named."""

    def __init__(self, linear: nn.Linear, activation: str = "none", algorithm: str = ""):
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), LANES)
        self.bias, self.activation, self.algorithm = linear.bias, activation, algorithm

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_in) -> (…, n_out)"""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.activation, [], self.algorithm)


def _pack(module: nn.Module) -> None:
    """Replace all linear layers below a module."""
    if isinstance(module, Mlp) and module.kind in FUSED:
        module.up = PackedLinear(module.up, "gelu", FUSED[module.kind])  # type: ignore[assignment]
        module.activate = _same
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child))
        _pack(child)


def _same(x: Tensor) -> Tensor:
    return x
