"""Pixel arithmetic shared by the looks of the world (styles and periods).

Pictures are float32 arrays of shape (H, W, 3) in [0, 1] between `to_array` and `to_picture`.
Textures are fixed functions of the picture's size, never of a random generator: a small model has
to learn them through a coarse grid of tokens, so they should carry no information.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Array = NDArray[np.floating[Any]]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def to_array(picture: Image.Image) -> Array:
    """RGB picture -> (H, W, 3) in [0, 1]."""
    return np.asarray(picture.convert("RGB"), np.float32) / 255


def to_picture(array: Array) -> Image.Image:
    """(H, W, 3) or (H, W) -> RGB picture; values outside [0, 1] are clipped."""
    levels = (np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(levels).convert("RGB")


def rgb(color: str) -> Array:
    """'#rrggbb' -> (3,) in [0, 1]."""
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


def luma(array: Array) -> Array:
    """Brightness as the eye sees it, (H, W, 3) -> (H, W, 1)."""
    return (array @ _LUMA)[..., None]


def strongest(array: Array) -> Array:
    """The largest of the three channels, (H, W, 3) -> (H, W, 1)."""
    return np.maximum(np.maximum(array[..., 0], array[..., 1]), array[..., 2])[..., None]


def saturate(array: Array, amount: float) -> Array:
    """Moves every color away from its gray (amount > 1) or towards it (amount < 1)."""
    gray = luma(array)
    return gray + (array - gray) * np.float32(amount)


def mix(a: Array, b: Array, share: Array | float) -> Array:
    """`a` where `share` is 0, `b` where it is 1."""
    return a + (b - a) * np.float32(share) if isinstance(share, float) else a + (b - a) * share


def gradient_map(share: Array, *colors: str) -> Array:
    """(H, W, 1) in [0, 1] -> (H, W, 3) along the evenly spaced `colors`, dark end first."""
    stops = np.linspace(0, 1, len(colors))
    table = np.stack([rgb(color) for color in colors])
    levels = np.linspace(0, 1, 256)
    curve = np.stack([np.interp(levels, stops, table[:, c]) for c in range(3)], axis=-1).astype(np.float32)
    return curve[(np.clip(share[..., 0], 0, 1) * 255).astype(np.uint8)]


def blur(array: Array, radius: float) -> Array:
    """Gaussian blur of an (H, W, 3) or (H, W, 1) array in [0, 1]."""
    levels = (np.clip(array, 0, 1) * 255).astype(np.uint8)
    one = levels.shape[-1] == 1
    picture = Image.fromarray(levels[..., 0] if one else levels)
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
    return soft[..., None] if one else soft


def contours(array: Array, gain: float = 2.0, soften: float = 0.8) -> Array:
    """Strength of the strongest channel's gradient, (H, W, 3) -> (H, W, 1) in [0, 1]."""
    padded = np.pad(blur(array, soften), ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    strength = np.sqrt(strongest(across * across + down * down))
    return np.clip(strength * np.float32(gain), 0, 1)


@lru_cache(maxsize=64)
def noise(height: int, width: int, cell: int, seed: int) -> Array:
    """A fixed texture in [-1, 1], (H, W, 1), smooth over `cell` pixels."""
    rows, columns = -(-height // cell) + 1, -(-width // cell) + 1
    coarse = np.random.default_rng(seed).uniform(-1, 1, (rows, columns)).astype(np.float32)
    fine = Image.fromarray(coarse).resize((columns * cell, rows * cell), Image.Resampling.BICUBIC)
    texture: Array = np.array(fine, np.float32)[:height, :width, None]
    texture.flags.writeable = False
    return texture


@lru_cache(maxsize=16)
def radius_from_center(height: int, width: int) -> Array:
    """(H, W, 1): 0 in the middle, 1 where the inscribed ellipse meets the edges, sqrt(2) in the corners."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    distance: Array = np.sqrt(x * x + y * y)[..., None]
    distance.flags.writeable = False
    return distance


@lru_cache(maxsize=16)
def radius_from_square(height: int, width: int) -> Array:
    """(H, W, 1): 0 in the middle, 1 on the four edges."""
    y, x = np.abs(np.linspace(-1, 1, height)), np.abs(np.linspace(-1, 1, width))
    distance: Array = np.maximum(y[:, None], x[None, :]).astype(np.float32)[..., None]
    distance.flags.writeable = False
    return distance
