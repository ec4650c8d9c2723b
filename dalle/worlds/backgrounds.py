"""What lies behind the objects: plain tints, gradients and six simple places.

A background is a small dictionary, so that it can stand in an example's facts:
`{"kind": "plain" | "gradient", "color": a key of PALE, "said": bool}` or
`{"kind": "place", "place": a key of PLACES, "variation": int, "said": True}`.
`said` tells whether the caption mentions it.
"""

from collections.abc import Mapping, Set
from functools import cache, lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from dalle.worlds.colors import PALE, shade

Background = Mapping[str, Any]

SIDE = 256
"""The world draws in pictures of this side; every box in its facts is in these units."""

PLACES: dict[str, tuple[str, ...]] = {
    "sky": ("in the sky", "in front of a blue sky", "in the air"),
    "grass": ("on the grass", "sitting in a field", "in a meadow"),
    "beach": ("on the beach", "at the beach", "on a sandy beach"),
    "night": ("at night", "under the stars", "in front of a night sky"),
    "street": ("on the street", "in the street", "on a city street"),
    "snow": ("in the snow", "on a snowy hill", "in winter"),
}
_HIDDEN: dict[str, Set[str | None]] = {"snow": {"white"}, "night": {"black", "navy"}}
VARIATIONS = 6
"""How many different drawings there are of each place; the small world only shows drawing 0."""


def plain(color: str = "white", said: bool = False) -> Background:
    return {"kind": "plain", "color": color, "said": said}


def choose_plain(rng: np.random.Generator, small: bool, colors: Set[str | None] = frozenset()) -> Background:
    """An unmentioned tint that shows things of these colors: the first such tint in the small world."""
    tints = _tints(colors)
    return plain(tints[0] if small or rng.random() < 0.5 else str(rng.choice(tints)))


def first_tint(colors: Set[str | None]) -> str:
    """What things of these colors stand on when nothing else is wanted: white, or blue where one of them is white."""
    return _tints(colors)[0]


def _tints(colors: Set[str | None]) -> list[str]:
    return [name for name in PALE if not (name == "white" and "white" in colors)]


def choose(rng: np.random.Generator, small: bool, colors: Set[str | None] = frozenset()) -> Background:
    """A background on which things of these colors are seen: mostly white in the small world."""
    places = [name for name in PLACES if colors.isdisjoint(_HIDDEN.get(name, ()))]
    roll = rng.random()
    if roll < 0.62:
        return choose_plain(rng, small, colors)
    if roll < 0.72:
        return plain(str(rng.choice([name for name in PALE if name != "white"])), said=True)
    if roll < 0.80:
        color = str(rng.choice([name for name in PALE if name not in ("white", "gray")]))
        return {"kind": "gradient", "color": color, "said": small or rng.random() < 0.5}
    variation = 0 if small else int(rng.integers(VARIATIONS))
    return {"kind": "place", "place": str(rng.choice(places)), "variation": variation, "said": True}


def phrase(background: Background, rng: np.random.Generator) -> str:
    """How a caption mentions the background, with a space before it; empty when it does not."""
    if not background["said"]:
        return ""
    if background["kind"] == "place":
        return " " + str(rng.choice(PLACES[background["place"]]))
    if background["kind"] == "gradient":
        return f" on a {background['color']} gradient background"
    tint = background["color"]
    return " " + str(rng.choice([f"on a {tint} background", f"on a light {tint} background"]))


def draw(background: Background) -> Image.Image:
    """A fresh RGB picture of SIDE x SIDE."""
    if background["kind"] == "place":
        return _place(background["place"], background["variation"]).copy()
    if background["kind"] == "gradient":
        return _gradient(background["color"]).copy()
    return Image.new("RGB", (SIDE, SIDE), PALE[background["color"]])


def _vertical(top: tuple[int, int, int], bottom: tuple[int, int, int], height: int = SIDE) -> Image.Image:
    ramp = np.linspace(top, bottom, height)[:, None].repeat(SIDE, axis=1)
    return Image.fromarray(ramp.round().astype(np.uint8))


@cache
def _gradient(color: str) -> Image.Image:
    tint = np.array(PALE[color], np.float64)
    deep = tuple(int(c) for c in 255 - (255 - tint) * 2.6)
    return _vertical((deep[0], deep[1], deep[2]), (255, 255, 255))


@lru_cache(maxsize=64)
def _place(name: str, variation: int) -> Image.Image:
    """Variation 0 is the canonical drawing; the others move its parts and shift its tones."""
    rng = np.random.default_rng(variation)
    shift = (lambda span: int(rng.integers(-span, span + 1))) if variation else (lambda span: 0)
    horizon = 168 + shift(20)
    return _PAINTERS[name](rng, horizon, 1 + shift(10) / 100)


def _sky(rng: np.random.Generator, horizon: int, tone: float) -> Image.Image:
    image = _vertical(shade((112, 182, 246), tone), shade((206, 232, 252), tone))
    draw_ = ImageDraw.Draw(image)
    for x, y in ((20, 24), (176, 12), (196, 190), (8, 206)):
        x, y = x + int(rng.integers(-8, 9)), y + int(rng.integers(-8, 9))
        for dx, dy, r in ((0, 8, 12), (16, 0, 18), (36, 6, 14)):
            draw_.ellipse((x + dx, y + dy, x + dx + 2 * r, y + dy + 1.4 * r), fill=(250, 253, 255))
    return image.filter(ImageFilter.GaussianBlur(1.2))


def _ground(
    sky: tuple[tuple[int, int, int], tuple[int, int, int]],
    ground: tuple[tuple[int, int, int], tuple[int, int, int]],
    horizon: int,
) -> Image.Image:
    image = _vertical(*sky)
    image.paste(_vertical(*ground, height=SIDE - horizon), (0, horizon))
    return image


def _grass(rng: np.random.Generator, horizon: int, tone: float) -> Image.Image:
    green = shade((128, 200, 88), tone), shade((64, 150, 50), tone)
    image = _ground(((160, 212, 250), (224, 242, 254)), green, horizon)
    draw_ = ImageDraw.Draw(image)
    for x in range(4, SIDE, 14):
        y = horizon + 8 + int(rng.integers(0, SIDE - horizon - 12))
        draw_.line((x, y, x + 3, y - 9), fill=shade(green[1], 0.9), width=2)
        draw_.line((x + 6, y, x + 4, y - 8), fill=shade(green[1], 0.9), width=2)
    return image


def _beach(rng: np.random.Generator, horizon: int, tone: float) -> Image.Image:
    image = _ground(((140, 206, 250), (222, 242, 254)), ((250, 228, 172), (236, 204, 136)), horizon)
    image.paste(_vertical((58, 158, 212), shade((120, 208, 226), tone), height=44), (0, horizon - 44))
    draw_ = ImageDraw.Draw(image)
    for x in range(-8, SIDE, 40):
        draw_.ellipse((x, horizon - 6, x + 48, horizon + 6), fill=(240, 250, 252))
        draw_.ellipse((x, horizon, x + 48, horizon + 12), fill=(250, 228, 172))
    return image


def _night(rng: np.random.Generator, horizon: int, tone: float) -> Image.Image:
    image = _vertical(shade((14, 18, 58), tone), shade((48, 56, 118), tone))
    draw_ = ImageDraw.Draw(image)
    for _ in range(34):
        x, y, r = (int(v) for v in rng.integers((0, 0, 1), (SIDE, SIDE, 3)))
        draw_.ellipse((x - r, y - r, x + r, y + r), fill=(255, 250, 214))
    return image


def _street(rng: np.random.Generator, horizon: int, tone: float) -> Image.Image:
    image = _ground(((176, 214, 244), (232, 242, 250)), ((104, 106, 112), (80, 82, 88)), horizon + 16)
    draw_ = ImageDraw.Draw(image)
    fronts = [(196, 120, 96), (226, 196, 140), (150, 166, 190), (208, 156, 120)]
    for index, front in enumerate(fronts):
        x, top = index * 64, 40 + 28 * (index % 2) + int(rng.integers(-10, 11))
        draw_.rectangle((x, top, x + 63, horizon + 4), fill=shade(front, tone))
        for wx in (x + 10, x + 38):
            for wy in range(top + 12, horizon - 20, 30):
                draw_.rectangle((wx, wy, wx + 15, wy + 17), fill=(244, 240, 206))
    draw_.rectangle((0, horizon + 4, SIDE, horizon + 18), fill=(186, 186, 190))
    for x in range(4, SIDE, 52):
        draw_.rectangle((x, 222, x + 30, 228), fill=(244, 236, 190))
    return image


def _snow(rng: np.random.Generator, horizon: int, tone: float) -> Image.Image:
    image = _ground(((168, 194, 222), (214, 226, 240)), ((252, 253, 255), (228, 236, 246)), horizon)
    draw_ = ImageDraw.Draw(image)
    for x, y in rng.integers(4, SIDE - 4, (40, 2)):
        draw_.ellipse((int(x) - 3, int(y) - 3, int(x) + 3, int(y) + 3), fill=(255, 255, 255))
    return image


_PAINTERS = {
    "sky": _sky,
    "grass": _grass,
    "beach": _beach,
    "night": _night,
    "street": _street,
    "snow": _snow,
}
