"""Looks of a time: the same picture as a photo of the 1900s, of the 1980s, of a distant future.

`PERIODS` gives the wordings of every period; each follows the word "from".
Decades that follow each other share a family of looks (sepia, gray, hand-tinted, faded, tube screen, digital)
and each has one mark of its own (oval mount, scratches, white border, date stamp…).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from dalle.worlds.fonts import text_font
from dalle.worlds.pixels import (
    Array,
    blur,
    contours,
    gradient_map,
    luma,
    mix,
    noise,
    radius_from_center,
    radius_from_square,
    rgb,
    saturate,
    to_array,
    to_picture,
)

PERIODS: dict[str, tuple[str, ...]] = {
    "1900s": ("the 1900s", "1900", "the year 1900", "the early twentieth century"),
    "1910s": ("the 1910s", "the tens", "1910"),
    "1920s": ("the 1920s", "the 20s", "the twenties", "the roaring twenties"),
    "1930s": ("the 1930s", "the 30s", "the thirties"),
    "1940s": ("the 1940s", "the 40s", "the forties"),
    "1950s": ("the 1950s", "the 50s", "the fifties"),
    "1960s": ("the 1960s", "the 60s", "the sixties"),
    "1970s": ("the 1970s", "the 70s", "the seventies"),
    "1980s": ("the 1980s", "the 80s", "the eighties"),
    "1990s": ("the 1990s", "the 90s", "the nineties"),
    "2000s": ("the 2000s", "the two thousands", "the early two thousands"),
    "2010s": ("the 2010s", "the twenty tens"),
    "today": ("today", "the present day", "our time"),
    "future": ("the future", "the near future"),
    "distant future": ("the distant future", "the far future", "a distant future"),
}


def apply_period(picture: Image.Image, period: str, rng: np.random.Generator) -> Image.Image:
    """The RGB `picture` as if taken in `period`, a key of `PERIODS`; any size, the same size back.

    Textures are fixed; `rng` only decides which way round grain, scratches and stars lie.
    """
    flip = slice(None, None, -1 if rng.integers(2) else 1)
    array = to_array(picture)[:, flip]
    aged = to_picture(_LOOKS[period](array)[:, flip])
    if period == "1990s":
        _stamp_date(aged, "'95")
    return aged


def _look_1900s(array: Array) -> Array:
    """A cabinet card: brown sepia in an oval mount."""
    height, width = array.shape[:2]
    print_ = gradient_map(_faded(luma(array), 0.05, 0.82), "#2a1a0e", "#8a6238", "#e9d3a4")
    print_ = print_ * (1 + 0.035 * noise(height, width, 4, seed=11))
    radius = radius_from_center(height, width)
    print_ = print_ * (1.08 - 0.35 * radius**2)
    mount = np.clip((radius - 0.97) * 40, 0, 1)
    return mix(print_, rgb("#ecdfc2"), mount)


def _look_1910s(array: Array) -> Array:
    """Sepia with scratches, dark towards the corners."""
    print_ = gradient_map(_faded(luma(array), 0.08, 0.92), "#2e1c10", "#a0744a", "#f2dfb8")
    print_ = _vignette(_grain(print_, 0.035), 0.50)
    return mix(print_, rgb("#f6e8cc"), _scratches(*array.shape[:2]))


def _look_1920s(array: Array) -> Array:
    """Light golden sepia in a cream border."""
    print_ = gradient_map(_faded(luma(array), 0.10, 1.0), "#4a3420", "#bf9560", "#fbeecb")
    return _bordered(_vignette(_grain(print_, 0.03), 0.22), "#fbf3dc", 0.90)


def _look_1930s(array: Array) -> Array:
    """Warm soft gray, vignetted."""
    soft = mix(luma(array), blur(luma(array), 3), 0.5)
    print_ = gradient_map(_faded(soft, 0.04, 1.0), "#1e1a18", "#857d76", "#f4eee5")
    return _vignette(_grain(print_, 0.03), 0.42)


def _look_1940s(array: Array) -> Array:
    """Hard black and white in a white border."""
    gray = np.clip((luma(array) - 0.5) * 1.45 + 0.5, 0, 1)
    return _bordered(_grain(np.repeat(gray, 3, axis=-1), 0.025), "#f7f7f4", 0.90)


def _look_1950s(array: Array) -> Array:
    """A black-and-white print tinted by hand: pale colors over gray."""
    tint = blur(saturate(array, 0.75), 4)
    gray = _faded(luma(array), 0.12, 0.95)
    print_ = gray * 0.55 + gray * tint * 0.35 + tint * 0.22
    return _vignette(print_ * rgb("#fff1e6"), 0.18)


def _look_1960s(array: Array) -> Array:
    """Faded color turning to yellow and green, in a white border."""
    faded = 0.16 + 0.74 * saturate(array, 0.75)
    return _bordered(faded * rgb("#fff8d2") + rgb("#000803") * 0.8, "#fdfcf5", 0.88)


def _look_1970s(array: Array) -> Array:
    """Warm orange color with brown shadows."""
    warm = saturate(array, 0.9) ** 0.9 * rgb("#ffdc9e") + rgb("#4a2408") * 0.55
    return _vignette(warm, 0.28)


def _look_1980s(array: Array) -> Array:
    """A tube screen: strong color with a pink and blue cast, thick scan lines, round corners."""
    height, width = array.shape[:2]
    cast = mix(saturate(array, 1.35), gradient_map(luma(array), "#2b1055", "#e0559a", "#8ff0ff"), 0.28)
    lines = 1 - 0.28 * (np.arange(height, dtype=np.float32)[:, None, None] % 8 >= 4)
    return _screen_corners(cast * lines * 1.12, radius_from_center(height, width))


def _look_1990s(array: Array) -> Array:
    """Home video: color fringes, thin scan lines, a slight blue cast (the date is stamped on afterwards)."""
    soft = blur(array, 1.0)
    fringed = soft.copy()
    fringed[:, 3:, 0], fringed[:, :-3, 2] = soft[:, :-3, 0], soft[:, 3:, 2]
    lines = 1 - 0.12 * (np.arange(len(array), dtype=np.float32)[:, None, None] % 4 >= 2)
    return (fringed * 0.88 + 0.05) * rgb("#eef2ff") * lines


def _look_2000s(array: Array) -> Array:
    """An early digital camera: cold, overexposed by its flash in the middle."""
    flash = 1.30 - 0.42 * radius_from_center(*array.shape[:2])
    return np.clip(saturate(array, 0.85) * flash, 0, 1) * rgb("#e6f3ff")


def _look_2010s(array: Array) -> Array:
    """A phone filter: lifted teal shadows, warm lights, soft vignette."""
    toned = mix(array, gradient_map(luma(array), "#12454f", "#c08a7a", "#fff0d0"), 0.42)
    return _vignette(toned * 0.92 + 0.06, 0.30)


def _look_today(array: Array) -> Array:
    """Clean and clear."""
    return array


def _look_future(array: Array) -> Array:
    """Chrome under cold light: steel blues by brightness, glowing cyan edges."""
    chrome = gradient_map(luma(array), "#020817", "#0c3a6b", "#2f8ec4", "#a6ecff")
    edges = contours(array, gain=2.2)
    return mix(chrome, array, 0.28) + (edges * 0.8 + blur(edges, 5) * 0.8) * rgb("#12d8ff")


def _look_distant_future(array: Array) -> Array:
    """A hologram in space: violet to pink light, glowing edges, stars around."""
    hologram = gradient_map(luma(array), "#12022e", "#4a1290", "#b02bd0", "#ff86e0")
    edges = contours(array, gain=2.2)
    light = mix(hologram, array, 0.12) + (edges * 0.7 + blur(edges, 6)) * rgb("#5cf2ff")
    return mix(light, rgb("#ffffff"), _stars(*array.shape[:2]))


_LOOKS: dict[str, Callable[[Array], Array]] = {
    "1900s": _look_1900s,
    "1910s": _look_1910s,
    "1920s": _look_1920s,
    "1930s": _look_1930s,
    "1940s": _look_1940s,
    "1950s": _look_1950s,
    "1960s": _look_1960s,
    "1970s": _look_1970s,
    "1980s": _look_1980s,
    "1990s": _look_1990s,
    "2000s": _look_2000s,
    "2010s": _look_2010s,
    "today": _look_today,
    "future": _look_future,
    "distant future": _look_distant_future,
}


def _faded(gray: Array, black: float, white: float) -> Array:
    """[0, 1] compressed to [black, white]."""
    return black + (white - black) * gray


def _grain(array: Array, strength: float) -> Array:
    height, width = array.shape[:2]
    return array + strength * noise(height, width, 4, seed=10)


def _vignette(array: Array, strength: float) -> Array:
    """Darkens towards the corners by up to `strength`."""
    return array * (1 - strength * (radius_from_center(*array.shape[:2]) / np.float32(2**0.5)) ** 2.5)


def _bordered(array: Array, color: str, inner: float) -> Array:
    """A plain border outside of the share `inner` of width and height."""
    edge = radius_from_square(*array.shape[:2])
    return mix(array, rgb(color), np.clip((edge - inner) * 100, 0, 1))


def _screen_corners(array: Array, radius: Array) -> Array:
    """The bulging black frame of a tube: only the corners are cut."""
    return array * (1 - np.clip((radius - 1.22) * 14, 0, 1))


def _scratches(height: int, width: int) -> Array:
    """A few thin upright scratches, (H, W, 1)."""
    columns = np.zeros((1, width, 1), np.float32)
    columns[:, [int(width * share) for share in (0.11, 0.37, 0.82)]] = 0.55
    wear = np.clip(0.5 + noise(height, 1, max(height // 6, 1), seed=13) * 1.5, 0, 1)
    return columns * wear


@lru_cache(maxsize=8)
def _stars(height: int, width: int) -> Array:
    """Soft dots of fixed places around the middle, (H, W, 1)."""
    sky = Image.new("L", (width, height))
    draw = ImageDraw.Draw(sky)
    for turn, (far, size) in enumerate([(0.80, 4), (0.92, 2), (0.86, 3)] * 7):
        angle = 2 * np.pi * turn / 21
        reach = far / max(abs(np.cos(angle)), abs(np.sin(angle)))
        x, y = width / 2 * (1 + reach * np.cos(angle)), height / 2 * (1 + reach * np.sin(angle))
        radius = size * height / 256
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return blur(np.asarray(sky, np.float32)[..., None] / 255, 0.8)


def _stamp_date(picture: Image.Image, text: str) -> None:
    """Draws an orange camera date into the bottom right corner, in place."""
    width, height = picture.size
    size = max(height // 9, 6)
    place = (width - size // 2, height - size // 2)
    font = text_font("mono bold", size)
    draw = ImageDraw.Draw(picture)
    draw.text(place, text, font=font, fill="#ff9a1f", stroke_fill="#5a2200", stroke_width=1, anchor="rs")
