"""Small decoders of all kinds, for steps that have to give what the ordinary one gives."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from dalle.nn.rotary import turns
from dalle.nn.transformer import Transformer, TransformerConfig

CHOICES = {
    "geglu": {"mlp": "geglu"},
    "gelu_tanh": {"mlp": "gelu_tanh"},
    "quick_gelu": {"mlp": "quick_gelu"},
    "sandwich": {"sandwich": True},
    "head_norm": {"head_norm": True},
    "shift": {"shift": True},
    "pattern_start": {"pattern_start": 6, "patterns": ("lap", "torus11", "column"), "depth": 3},
    "rotary": {"rotary": 6, "patterns": ("full", "column")},
    "reversible": {"reversible": True, "shift": True, "patterns": ("row", "full")},
    "divide": {"divide_by_max": True},
    "hidden": {"hidden_token": 3, "patterns": ("full", "row", "quadrant5"), "depth": 3},
    "all": {
        "mlp": "geglu",
        "sandwich": True,
        "head_norm": True,
        "rotary": 4,
        "reversible": True,
        "shift": True,
        "divide_by_max": True,
        "hidden_token": 3,
        "patterns": ("full", "row", "column", "window5"),
        "depth": 4,
    },
}


def transformer(plain: TransformerConfig, device: str = "cpu", **choices) -> Transformer:
    """With random weights; `choices` replace what is plain. Its text has 7 tokens out of 20, as that of `sentences`."""
    torch.manual_seed(0)
    net = Transformer(replace(plain, **choices)).eval().requires_grad_(False)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    if net.rotation is not None:
        net.rotation.copy_(turns(torch.randn(net.rotation.shape[1:])))
    return net.to(device)


def sentences() -> Tensor:
    """(2, T), with some of what a net may hide."""
    text = torch.randint(4, 20, (2, 7), generator=torch.Generator().manual_seed(1))
    text[0, 4:] = 3
    text[1, 2] = 3
    return text
