"""Rotary positions: pairs of channels turned by angles that grow with the position (Su et al. 2021, arXiv 2104.09864).

The angles belong to a checkpoint: a table with one row for every position of the stream.
Letters: S positions, K channels of a head, R <= K channels that turn.
"""

import torch
from torch import Tensor


def turns(angles: Tensor) -> Tensor:
    """(S, R) angles, each pair of adjacent channels with the same one -> (2, S, R) cosines and sines."""
    return torch.stack([angles.float().cos(), angles.float().sin()])


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn the first R channels of (..., S, K) by (2, S, R) cosines and sines; the others pass."""
    turning, passing = x.tensor_split([rotation.shape[2]], dim=-1)
    pairs = turning.unflatten(-1, (-1, 2))
    crossed = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return torch.cat([turning * rotation[0] + crossed * rotation[1], passing], dim=-1)
