"""A small picture classifier that answers several questions about a picture at once.

Convolutions turn the picture into a grid of features; from all of the grid, each question has a hidden layer of its
own, and questions of one kind share the output layer, as the digits of a house number do (Goodfellow et al. 2014).

Letters: B pictures, Q questions, G = 16 * (size / 8)^2 numbers of the grid, D = hidden.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

_SLIM = 16  # channels of the grid that questions are asked about


@dataclass(frozen=True)
class ClassifierConfig:
    """What is asked, and the sizes of the net."""

    questions: Mapping[str, str]  # name -> kind; questions of one kind share their answers and their output layer
    answers: Mapping[str, Sequence[str]]  # kind -> the classes
    size: int = 64  # pixels along each side
    width: int = 24  # channels of the first convolution; they double where the resolution halves
    hidden: int = 48  # D

    @property
    def places(self) -> dict[str, dict[str, int]]:
        """kind -> class -> its place among the logits"""
        return {kind: {name: i for i, name in enumerate(names)} for kind, names in self.answers.items()}


class Block(nn.Module):
    """Two convolutions added to their input (He et al. 2016)."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))  # (B, width, H, W)


def _convolution(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out))


class Classifier(nn.Module):
    """Logits of every question's answers."""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        width, grid = config.width, _SLIM * (config.size // 8) ** 2
        self.features = nn.Sequential(
            _convolution(3, width, stride=2),
            nn.ReLU(),
            _convolution(width, width),
            nn.ReLU(),
            _convolution(width, 2 * width, stride=2),
            nn.ReLU(),
            Block(2 * width),
            _convolution(2 * width, 4 * width, stride=2),
            nn.ReLU(),
            Block(4 * width),
            nn.Conv2d(4 * width, _SLIM, 1),
            nn.BatchNorm2d(_SLIM),
            nn.ReLU(),
        )
        self.hidden = nn.Linear(grid, len(config.questions) * config.hidden)
        self.heads = nn.ModuleDict({k: nn.Linear(config.hidden, len(names)) for k, names in config.answers.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, size, size) in [0, 1] -> for every question (B, answers of its kind)."""
        grid = self.features(2 * images - 1).flatten(1)  # (B, G)
        read = F.relu(self.hidden(grid)).unflatten(1, (-1, self.config.hidden))  # (B, Q, D)
        kinds = self.config.questions
        return {name: self.heads[kind](read[:, index]) for index, (name, kind) in enumerate(kinds.items())}
