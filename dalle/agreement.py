"""Candidates of one prompt are guesses of the same picture, and the best guess is the one nearest to all.

It is the choice of least expected error, as in minimum Bayes risk decoding (Kumar & Byrne 2004), with the squared error
of pixels for the risk. A CLIP that was taught on few things cannot tell whether something that it never saw was copied
well, nor can it spell; the candidates together can.
"""

import torch
from torch import Tensor

from dalle.contracts import Request
from dalle.text import quoted


def counts(request: Request) -> bool:
    """Whether agreement tells more than CLIP: where a picture is completed, and where a word is to be written."""
    return request.kept is not None or bool(quoted(request.prompt))


def jointly(cosines: Tensor, pictures: Tensor) -> Tensor:
    """(B,) scores by CLIP, (B, 3, H, W) in [0, 1] -> (B,) the means of those and of agreement, each as standard scores:
    in standard deviations above the mean of all. Higher is better; of two pictures CLIP alone decides.
    """
    return (_standard(cosines) + _standard(agreement(pictures))) / 2


def agreement(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B,) in the order of the mean squared distance to the other pictures, the nearest highest.

    The mean squared distance to all is that to their mean, and a constant.
    """
    return -(pictures - pictures.mean(0)).square().mean((1, 2, 3))


def _standard(scores: Tensor) -> Tensor:
    """(B,) -> (B,) float64 on the CPU, of mean 0 and variance 1; all 0 where they are the same.

    Cosines of pictures that are much alike differ from the seventh digit on, where float32 ends.
    """
    exact = scores.to("cpu", torch.float64)
    spread = exact - exact.mean()
    return spread / spread.square().mean().sqrt().clamp_min(1e-6)
