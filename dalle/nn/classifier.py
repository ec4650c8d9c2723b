"""A small picture classifier that answers several questions about a picture at once.

Convolutions turn the picture into features of 8 x 8 pixels each. A question has a hidden layer of its own, which sees
them in two ways: all places at once in a few channels, as letters want it, which stand in fixed places; and all
channels of the places that the question attends to, as things want it, which look the same wherever they are.
Questions of one kind share the output layer, as the digits of a house number do (Goodfellow et al. 2014).

Letters: B pictures, Q questions, C = 4 * width channels, P = (size / 8)^2 places, D = hidden.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLIM = 16  # channels in which a question sees all places at once


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
        width, places, questions = config.width, (config.size // 8) ** 2, len(config.questions)
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
        )
        self.slim = nn.Sequential(nn.Conv2d(4 * width, _SLIM, 1), nn.BatchNorm2d(_SLIM), nn.ReLU())
        self.hidden = nn.Linear(_SLIM * places, questions * config.hidden)
        self.sought = nn.Conv2d(4 * width, questions, 1, bias=False)
        self.place = nn.Parameter(torch.zeros(questions, places))
        self.focus = nn.Parameter(torch.zeros(questions, 4 * width, config.hidden))
        self.heads = nn.ModuleDict({k: nn.Linear(config.hidden, len(names)) for k, names in config.answers.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, size, size) in [0, 1] -> for every question (B, answers of its kind)."""
        x = self.features(2 * images - 1)  # (B, C, size / 8, size / 8)
        everywhere = self.hidden(self.slim(x).flatten(1)).unflatten(1, (-1, self.config.hidden))  # (B, Q, D)
        weights = (self.sought(x).flatten(2) + self.place).softmax(2)  # (B, Q, P)
        attended = torch.einsum("bqp,bcp->bqc", weights, x.flatten(2))  # (B, Q, C)
        read = F.relu(everywhere + torch.einsum("bqc,qcd->bqd", attended, self.focus))  # (B, Q, D)
        kinds = self.config.questions
        return {name: self.heads[kind](read[:, index]) for index, (name, kind) in enumerate(kinds.items())}
