"""Small changes to pictures that their readers should not mind; sides stay where they are, as captions name them."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def moved(images: Tensor, size: int, shift: float, rng: np.random.Generator) -> Tensor:
    """Each picture moved and zoomed into, by at most `shift` of its side on each side.

    (B, 3, H, W) -> (B, 3, size, size)
    """
    count = len(images)
    places = np.zeros((count, 2, 3), np.float32)
    places[:, 0, 0] = places[:, 1, 1] = rng.uniform(1 - 2 * shift, 1, count)
    places[:, :, 2] = rng.uniform(-2 * shift, 2 * shift, (count, 2))
    grid = F.affine_grid(torch.from_numpy(places), [count, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def softened(images: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """A share of the (B, 3, S, S) pictures without their smallest details, as a VAE's reconstructions are."""
    count, size = len(images), images.shape[-1]
    chosen = torch.from_numpy(rng.permutation(count)[: round(count * share)])
    small = F.interpolate(images[chosen], round(size * rng.uniform(0.4, 0.9)), mode="bilinear", antialias=True)
    return images.index_copy(0, chosen, F.interpolate(small, size, mode="bilinear"))
