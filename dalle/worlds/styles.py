"""Media and styles: the same picture as a pencil sketch, in stained glass, as a blueprint…

`STYLES` gives every style's wordings. Each wording is a sentence pattern with one slot `{x}`, which
takes a noun phrase with its article ("a red bird" -> "a mosaic of a red bird"). The second wording
always has the form "{x} as …", so its tail also serves two-panel captions ("… as a mosaic on the bottom").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from dalle.worlds.pixels import (
    Array,
    blur,
    contours,
    luma,
    mix,
    noise,
    radius_from_center,
    radius_from_square,
    rgb,
    saturate,
    strongest,
    to_array,
    to_picture,
)

STYLES: dict[str, tuple[str, ...]] = {
    "pencil sketch": (
        "a pencil sketch of {x}",
        "{x} as a sketch",
        "{x} as a pencil sketch",
        "a sketch of {x}",
        "a pencil drawing of {x}",
        "{x} drawn in pencil",
    ),
    "watercolor": (
        "a watercolor of {x}",
        "{x} as a watercolor",
        "a watercolor painting of {x}",
        "{x} painted in watercolor",
        "{x} in watercolor",
    ),
    "pixel art": (
        "pixel art of {x}",
        "{x} as pixel art",
        "a pixel art illustration of {x}",
        "{x} in pixel art style",
        "an 8-bit picture of {x}",
    ),
    "stained glass": (
        "a stained glass window of {x}",
        "{x} as stained glass",
        "{x} as a stained glass window",
        "{x} in stained glass",
        "a stained glass picture of {x}",
    ),
    "mosaic": (
        "a mosaic of {x}",
        "{x} as a mosaic",
        "a mosaic showing {x}",
        "{x} made of mosaic tiles",
        "a tile mosaic of {x}",
    ),
    "neon": (
        "a neon picture of {x}",
        "{x} as neon lights",
        "{x} in neon",
        "a neon light in the shape of {x}",
        "{x} drawn with neon lights",
    ),
    "cross-stitch": (
        "a cross-stitch of {x}",
        "{x} as a cross-stitch",
        "{x} in cross-stitch",
        "a cross-stitch pattern of {x}",
        "an embroidery of {x}",
    ),
    "low-poly": (
        "a low-poly picture of {x}",
        "{x} as low-poly art",
        "{x} in low-poly style",
        "a low-poly rendering of {x}",
        "a polygon art picture of {x}",
    ),
    "black-and-white": (
        "a black-and-white photo of {x}",
        "{x} as a black-and-white photo",
        "{x} in black and white",
        "a grayscale photo of {x}",
        "a black and white picture of {x}",
    ),
    "blueprint": (
        "a blueprint of {x}",
        "{x} as a blueprint",
        "{x} drawn as a blueprint",
        "a technical blueprint of {x}",
    ),
    "photographic negative": (
        "a photographic negative of {x}",
        "{x} as a photo negative",
        "{x} in a photo negative",
        "a photo negative of {x}",
        "{x} with inverted colors",
        "an inverted photo of {x}",
    ),
}

Labels = NDArray[np.int32]


def apply_style(picture: Image.Image, name: str, rng: np.random.Generator) -> Image.Image:
    """The RGB `picture` in the style `name`, a key of `STYLES`; any size, the same size back.

    Textures (hatching, tiles, lead) are fixed; `rng` only decides which way round they lie.
    """
    mirrored = bool(rng.integers(2))
    upright = ImageOps.mirror(picture) if mirrored else picture
    drawn = to_picture(_PAINTERS[name](to_array(upright)))
    return ImageOps.mirror(drawn) if mirrored else drawn


def _pencil_sketch(array: Array) -> Array:
    paper, graphite = rgb("#f7f4ea"), rgb("#3a3a40")
    height, width = array.shape[:2]
    gray = luma(array)
    light, dark = _hatching(height, width)
    tone = light * (gray < 0.72) * 0.24 + dark * (gray < 0.42) * 0.20
    lines = np.clip(contours(array, gain=2.6) * 1.2 - 0.12, 0, 1)
    return mix(paper, graphite, np.clip(lines + tone + 0.24 * (1 - gray), 0, 1))


def _watercolor(array: Array) -> Array:
    height, width = array.shape[:2]
    pigment = _flatten(array, 9)
    pigment = mix(saturate(pigment, 1.15), np.ones_like(pigment), 0.26)
    blooms = noise(height, width, 24, seed=1) * 0.07 + noise(height, width, 6, seed=2) * 0.025
    wet_edge = contours(pigment, gain=1.6, soften=1.6) * 0.22
    washed = pigment * (1 + blooms - wet_edge)
    border = radius_from_square(height, width) + 0.07 * noise(height, width, 20, seed=3)
    return mix(washed, rgb("#fbf9f3"), np.clip((border - 0.86) / 0.07, 0, 1))


def _pixel_art(array: Array) -> Array:
    cells = np.round(saturate(_cell_means(array, 8), 1.2) * 5) / 5
    return _repeat(cells, array, 8)


def _stained_glass(array: Array) -> Array:
    height, width = array.shape[:2]
    labels, seam = _glass_panes(height, width)
    smooth = _flatten(array, 7)
    glass = mix(smooth, _region_means(array, labels), 0.45)
    glass = saturate(glass, 1.7) * (0.80 + 0.24 * (1.2 - radius_from_center(height, width)))
    glass = glass * (1 + 0.12 * _region_shades(labels))
    lead = np.clip(seam + np.clip(contours(smooth, gain=2.4, soften=1.2) * 1.6 - 0.5, 0, 1), 0, 1)
    return mix(glass, rgb("#14141a"), lead)


def _mosaic(array: Array) -> Array:
    cells = saturate(_cell_means(array, 8), 1.25)
    rows, columns = cells.shape[:2]
    tiles = _repeat(cells * (1 + 0.10 * noise(rows, columns, 1, seed=4)), array, 8)
    face, shine = _tile_relief(*array.shape[:2])
    return mix(rgb("#e9e2d3"), tiles + shine, face)


def _neon(array: Array) -> Array:
    vivid = saturate(array, 1.6)
    vivid = np.clip(vivid / np.maximum(strongest(vivid), 0.05), 0, 1)
    tube = np.clip(contours(array, gain=2.4) * 1.6 - 0.25, 0, 1)
    light = blur(vivid, 2) * tube
    glow = _halo(light, 3) * 1.3 + _halo(light, 10) * 1.1
    return rgb("#0a0716") + glow + light * 0.8 + 0.5 * tube**3


def _cross_stitch(array: Array) -> Array:
    cells = np.round(saturate(_cell_means(array, 8), 1.25) * 7) / 7
    thread = _repeat(cells, array, 8)
    cross, relief, weave = _stitch(*array.shape[:2])
    linen = rgb("#efe6d2") * weave
    return mix(linen, thread * relief, cross)


def _low_poly(array: Array) -> Array:
    labels, (rows, columns) = _triangles(*array.shape[:2])
    facets = saturate(_flatten(array, 7)[rows, columns], 1.2)
    return facets[labels] * (1 + 0.07 * _region_shades(labels))


def _black_and_white(array: Array) -> Array:
    gray = luma(array)
    return np.repeat(np.clip((gray - 0.5) * 1.2 + 0.5, 0, 1), 3, axis=-1)


def _blueprint(array: Array) -> Array:
    height, width = array.shape[:2]
    lines = np.clip(contours(array, gain=2.6) * 1.3 - 0.15, 0, 1)
    shade = 0.16 * np.clip(0.9 - luma(array), 0, 1)
    paper = mix(rgb("#1d4f9c"), rgb("#7fa8e0"), _drafting_grid(height, width) * 0.35)
    return mix(paper * (1 - shade), rgb("#f2f7ff"), lines)


def _negative(array: Array) -> Array:
    return 1 - array


_PAINTERS: dict[str, Callable[[Array], Array]] = {
    "pencil sketch": _pencil_sketch,
    "watercolor": _watercolor,
    "pixel art": _pixel_art,
    "stained glass": _stained_glass,
    "mosaic": _mosaic,
    "neon": _neon,
    "cross-stitch": _cross_stitch,
    "low-poly": _low_poly,
    "black-and-white": _black_and_white,
    "blueprint": _blueprint,
    "photographic negative": _negative,
}


def _flatten(array: Array, window: int) -> Array:
    """Areas of one color: a median over `window` pixels, taken at half size because it is costly."""
    height, width = array.shape[:2]
    half = to_picture(array).reduce(2).filter(ImageFilter.MedianFilter(window // 4 * 2 + 1))
    return to_array(half.resize((width, height), Image.Resampling.BICUBIC))


def _halo(light: Array, radius: float) -> Array:
    """A wide blur, taken at half size because it is costly and shows no detail."""
    height, width = light.shape[:2]
    soft = to_picture(light).reduce(2).filter(ImageFilter.GaussianBlur(radius / 2))
    return to_array(soft.resize((width, height), Image.Resampling.BILINEAR))


def _cell_means(array: Array, cell: int) -> Array:
    """Mean color of every square of `cell` pixels, the last row and column padded: (h, w, 3)."""
    height, width = array.shape[:2]
    padded = np.pad(array, ((0, -height % cell), (0, -width % cell), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // cell, padded.shape[1] // cell
    return padded.reshape(rows, cell, columns, cell, 3).mean(axis=(1, 3))


def _repeat(cells: Array, like: Array, cell: int) -> Array:
    """Every entry of `cells` as a square of `cell` pixels, cropped to the size of `like`."""
    height, width = like.shape[:2]
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]


def _region_means(array: Array, labels: Labels) -> Array:
    """Every pixel becomes the mean color of its region."""
    flat = labels.ravel()
    sizes = np.maximum(np.bincount(flat), 1)
    means = np.stack([np.bincount(flat, array[..., c].ravel()) / sizes for c in range(3)], axis=-1)
    return means.astype(np.float32)[labels]


def _region_shades(labels: Labels) -> Array:
    """A fixed value in [-1, 1] per region, (H, W, 1)."""
    shades = np.random.default_rng(5).uniform(-1, 1, int(labels.max()) + 1).astype(np.float32)
    return shades[labels][..., None]


def _ramps(height: int, width: int) -> tuple[Labels, Labels]:
    """Row and column numbers that broadcast to (H, W)."""
    return np.arange(height, dtype=np.int32)[:, None], np.arange(width, dtype=np.int32)[None, :]


@lru_cache(maxsize=8)
def _hatching(height: int, width: int) -> tuple[Array, Array]:
    """Strokes one way for half shade, the other way for deep shade; each (H, W, 1)."""
    y, x = _ramps(height, width)
    falling = (0.5 + 0.5 * np.cos((x + y) * (2 * np.pi / 8))).astype(np.float32)
    rising = (0.5 + 0.5 * np.cos((x - y) * (2 * np.pi / 8))).astype(np.float32)
    return falling[..., None], rising[..., None]


@lru_cache(maxsize=8)
def _tile_relief(height: int, width: int) -> tuple[Array, Array]:
    """Where a tile (not the joint) is seen, and the light on its bevel; each (H, W, 1)."""
    y, x = (ramp % 8 for ramp in _ramps(height, width))
    face = (x < 7) & (y < 7)
    shine = 0.10 * ((x == 0) | (y == 0)) - 0.12 * ((x == 6) | (y == 6))
    return face.astype(np.float32)[..., None], shine.astype(np.float32)[..., None]


@lru_cache(maxsize=8)
def _stitch(height: int, width: int) -> tuple[Array, Array, Array]:
    """Cover and relief of the crossed threads, and the weave of the cloth under them; each (H, W, 1)."""
    y, x = (ramp % 8 - 3.5 for ramp in _ramps(height, width))
    over, under = np.abs(x - y), np.abs(x + y)
    inside = np.maximum(np.abs(x), np.abs(y)) <= 3.5
    cover = (np.clip(2.6 - np.minimum(over, under), 0, 1) * inside).astype(np.float32)
    relief = np.where(over < 2.6, 1.06 - 0.10 * over, 0.84).astype(np.float32)
    weave = (1 - 0.10 * ((x == 3.5) | (y == 3.5))).astype(np.float32)
    return cover[..., None], relief[..., None], weave[..., None]


@lru_cache(maxsize=8)
def _drafting_grid(height: int, width: int) -> Array:
    """Thin lines every 16 pixels, strong ones every 64; (H, W, 1)."""
    y, x = _ramps(height, width)
    thin = (x % 16 == 0) | (y % 16 == 0)
    strong = (x % 64 == 0) | (y % 64 == 0)
    return (0.5 * thin + 0.5 * strong).astype(np.float32)[..., None]


def _jittered_lattice(rows: int, columns: int, spread: float, seed: int) -> Array:
    """(rows, columns, 2) points (x, y) of a unit lattice, each moved by up to `spread`."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    moved = np.random.default_rng(seed).uniform(-spread, spread, (rows, columns, 2))
    return np.stack([x, y], axis=-1) + moved.astype(np.float32)


@lru_cache(maxsize=8)
def _glass_panes(height: int, width: int, pane: int = 26) -> tuple[Labels, Array]:
    """Voronoi panes of about `pane` pixels: labels (H, W) and the lead between them (H, W, 1)."""
    rows, columns = height // pane + 3, width // pane + 3
    seeds = (_jittered_lattice(rows, columns, 0.33, seed=6).reshape(-1, 2) - 0.5) * pane
    y, x = _ramps(height, width)
    nearest = np.full((height, width), np.inf, np.float32)
    second = nearest.copy()
    labels = np.zeros((height, width), np.int32)
    for label, (seed_x, seed_y) in enumerate(seeds):
        distance = np.hypot(x - seed_x, y - seed_y).astype(np.float32)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        nearest = np.where(closer, distance, nearest)
        labels[closer] = label
    seam = np.clip(2.2 - (second - nearest) * 0.6, 0, 1)[..., None]
    return labels, seam


@lru_cache(maxsize=8)
def _triangles(height: int, width: int, side: int = 13) -> tuple[Labels, tuple[Labels, Labels]]:
    """A mesh of triangles of about `side` pixels: labels (H, W), and rows and columns of their centers."""
    rows, columns = height // side + 3, width // side + 3
    points = (_jittered_lattice(rows, columns, 0.28, seed=7) - 1) * side
    mesh = Image.new("I", (width, height))
    draw = ImageDraw.Draw(mesh)
    centers: list[NDArray[np.float32]] = []
    for row in range(rows - 1):
        for column in range(columns - 1):
            a, b = points[row, column], points[row, column + 1]
            d, c = points[row + 1, column], points[row + 1, column + 1]
            for triangle in ((a, b, c), (a, c, d)) if (row + column) % 2 else ((a, b, d), (b, c, d)):
                draw.polygon([tuple(map(float, corner)) for corner in triangle], fill=len(centers))
                centers.append(np.mean(triangle, axis=0))
    x, y = np.round(centers).astype(np.int32).T
    return np.array(mesh, np.int32), (y.clip(0, height - 1), x.clip(0, width - 1))
