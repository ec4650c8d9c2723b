"""Named colors, and recoloring a drawing so that its light and shade stay.

Colors are RGB triples of 0..255.
"""

import colorsys

import numpy as np
from PIL import Image

RGB = tuple[int, int, int]

COLORS: dict[str, RGB] = {
    "red": (222, 36, 40),
    "orange": (250, 140, 22),
    "yellow": (252, 214, 32),
    "green": (44, 168, 62),
    "blue": (36, 92, 228),
    "purple": (136, 54, 190),
    "pink": (255, 130, 186),
    "brown": (134, 82, 44),
    "black": (38, 38, 42),
    "white": (246, 246, 248),
    "gray": (140, 142, 148),
}
"""The eleven colors every vocabulary knows."""

FINE_COLORS: dict[str, RGB] = {
    "navy": (22, 34, 98),
    "turquoise": (52, 206, 196),
    "teal": (12, 122, 124),
    "magenta": (226, 24, 148),
    "olive": (122, 122, 30),
    "lime": (156, 226, 30),
    "beige": (226, 206, 166),
    "gold": (216, 166, 34),
    "maroon": (112, 20, 36),
    "lavender": (192, 168, 240),
}
"""Further colors of the full vocabulary."""

ALL_COLORS = COLORS | FINE_COLORS
SYNONYMS = {"purple": ("violet",), "gray": ("grey",), "magenta": ("fuchsia",), "turquoise": ("aqua",)}

PALE: dict[str, RGB] = {
    "white": (255, 255, 255),
    "blue": (208, 228, 250),
    "green": (212, 240, 212),
    "yellow": (253, 245, 196),
    "pink": (252, 218, 232),
    "gray": (222, 224, 228),
}
"""Background tints, named as a caption names them."""


def shade(color: RGB, factor: float) -> RGB:
    """Darker (factor < 1) or lighter, towards white (factor > 1, 2 is white)."""
    if factor <= 1:
        r, g, b = (round(c * factor) for c in color)
    else:
        r, g, b = (round(c + (255 - c) * min(factor - 1, 1)) for c in color)
    return r, g, b


def recolor(drawing: Image.Image, color: RGB) -> Image.Image:
    """An RGBA drawing in another color: shading stays, and so do small parts of a clearly different hue.

    Brightness relative to the body's median decides the shade: the typical pixel gets exactly `color`.
    A strawberry's leaves (hue far from the body's, a small share of it) keep their own color.
    """
    pixels = np.asarray(drawing, np.float32)  # (H, W, 4)
    rgb, alpha = pixels[..., :3], pixels[..., 3]
    visible = alpha > 128
    if not visible.any():
        return drawing
    light = rgb @ np.array([0.35, 0.5, 0.15], np.float32)  # (H, W)
    body = visible & (light > 0.25 * np.percentile(light[visible], 95))  # without black lenses, eyes and outlines
    relative = light / max(float(np.median(light[body])), 24.0)
    target = np.array(color, np.float32)
    dark = np.clip(relative, 0.0, 1.0)[..., None]
    bright = np.clip((relative - 1.0) * 0.7, 0.0, 0.75)[..., None]
    deep = target * 0.12 if target.max() > 80 else target + 70.0  # in a black drawing the dark lines turn gray
    painted = deep + (target - deep) * dark
    painted += (255.0 - painted) * bright
    keep = _accents(rgb, visible)[..., None]
    result = np.concatenate([np.where(keep, rgb, painted), alpha[..., None]], axis=-1)
    return Image.fromarray(result.round().clip(0, 255).astype(np.uint8), "RGBA")


def _accents(rgb: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Mask (H, W) of vivid pixels far in hue from the rest; empty when they are more than a third of it."""
    hue, saturation = _hue_saturation(rgb)
    vivid = visible & (saturation > 0.35) & (rgb.max(-1) > 60)
    if vivid.sum() < 0.2 * visible.sum():
        return np.zeros_like(visible)
    histogram, _ = np.histogram(hue[vivid], bins=24, range=(0, 1))
    smooth = histogram + np.roll(histogram, 1) + np.roll(histogram, -1)
    center = (int(smooth.argmax()) + 0.5) / 24
    distance = np.abs((hue - center + 0.5) % 1.0 - 0.5)
    accents = vivid & (distance > 0.15)
    return accents if accents.sum() < 0.35 * visible.sum() else np.zeros_like(visible)


def _hue_saturation(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    high, low = rgb.max(-1), rgb.min(-1)
    spread = np.maximum(high - low, 1e-6)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.where(high == r, (g - b) / spread % 6, np.where(high == g, (b - r) / spread + 2, (r - g) / spread + 4))
    return hue / 6, spread / np.maximum(high, 1.0)


def nearest(rgb: RGB, palette: dict[str, RGB] = COLORS) -> str:
    """The name in `palette` whose color is nearest, hue weighing more than brightness."""

    def distance(name: str) -> float:
        h1, s1, v1 = colorsys.rgb_to_hsv(*(c / 255 for c in rgb))
        h2, s2, v2 = colorsys.rgb_to_hsv(*(c / 255 for c in palette[name]))
        turn = abs((h1 - h2 + 0.5) % 1 - 0.5)
        return 4 * turn * min(s1, s2) + abs(s1 - s2) + 0.6 * abs(v1 - v2)

    return min(palette, key=distance)


def unlike(color: str) -> list[str]:
    """The main colors that nobody would call this color ("navy" is not unlike "blue")."""
    return [name for name in COLORS if name not in (color, nearest(ALL_COLORS[color]))]
