"""A small picture classifier that answers several questions about a picture at once.

Convolutions turn the picture into a grid of patches; a transformer encoder then reads the patches together with one
learned token for each question, as a vision transformer does with its single class token (Dosovitskiy et al. 2021).

Letters: B pictures, Q questions, P = (size / 16)^2 patches, D = width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ClassifierConfig:
    """What is asked, and the sizes of the net."""

    questions: Mapping[str, str]  # name -> kind; questions of one kind share their answers and their output layer
    answers: Mapping[str, Sequence[str]]  # kind -> the classes
    size: int = 96  # pixels along each side
    width: int = 192  # D
    layers: int = 3
    heads: int = 4


class Block(nn.Module):
    """A depthwise convolution and a hidden layer per pixel, added to the input (Liu et al. 2022, figure 4)."""

    def __init__(self, width: int):
        super().__init__()
        self.space = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.hidden = nn.Conv2d(width, 3 * width, 1)
        self.output = nn.Conv2d(3 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.output(F.gelu(self.hidden(self.norm(self.space(x)))))  # (B, width, H, W)


def _halved(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.GroupNorm(1, n_out), nn.GELU())


class Classifier(nn.Module):
    """Logits of every question's answers."""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        width, side = config.width, config.size // 16
        self.stem = nn.Sequential(
            _halved(3, width // 6),
            _halved(width // 6, width // 3),
            Block(width // 3),
            _halved(width // 3, 2 * width // 3),
            Block(2 * width // 3),
            Block(2 * width // 3),
            nn.Conv2d(2 * width // 3, width, 3, stride=2, padding=1),
        )
        self.place = nn.Parameter(0.02 * torch.randn(side * side, width))  # (P, D)
        self.question = nn.Parameter(0.02 * torch.randn(len(config.questions), width))  # (Q, D)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 3 * width, 0.0, F.gelu, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.heads = nn.ModuleDict({kind: nn.Linear(width, len(names)) for kind, names in config.answers.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, size, size) in [0, 1] -> for every question (B, answers of its kind)."""
        patches = self.stem(2 * images - 1).flatten(2).transpose(1, 2) + self.place  # (B, P, D)
        asked = self.question.expand(len(images), -1, -1)  # (B, Q, D)
        read = self.encoder(torch.cat([asked, patches], dim=1))[:, : asked.shape[1]]  # (B, Q, D)
        kinds = self.config.questions
        return {name: self.heads[kind](read[:, index]) for index, (name, kind) in enumerate(kinds.items())}
