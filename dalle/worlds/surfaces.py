"""Things that carry a picture or a written word: road sign, storefront, mug, T-shirt, postage stamp…

Words are set in one bold face of fixed width, and in one size where their length allows. Every letter has its own cell
of 32 drawing units on a grid of 16, and stands on a line of that grid: the same letter always gives the same pixels
and the same few image tokens, wherever and on whatever it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from dalle.worlds.colors import RGB, shade
from dalle.worlds.easel import UNITS, Box, Easel, grown
from dalle.worlds.fonts import text_font
from dalle.worlds.styles import apply_style

PICTURE, WORD = "picture", "word"


@dataclass(frozen=True)
class Surface:
    """A kind of surface.

    Attributes:
        name: its plain name.
        wordings: noun phrases with their articles, the plain one first.
        contents: what can be put on it, of 'picture' and 'word'.
    """

    name: str
    wordings: tuple[str, ...]
    contents: tuple[str, ...] = (PICTURE, WORD)


SURFACES: dict[str, Surface] = {
    surface.name: surface
    for surface in (
        Surface("road sign", ("a road sign", "a street sign", "a traffic sign")),
        Surface("storefront", ("a storefront", "a store front", "a shop front", "a shop")),
        Surface("mug", ("a mug", "a coffee mug", "a cup")),
        Surface("t-shirt", ("a t-shirt", "a shirt", "a tee")),
        Surface("postage stamp", ("a postage stamp", "a stamp")),
        Surface("picture frame", ("a picture frame", "a framed picture", "a frame on a wall")),
        Surface("neon sign", ("a neon sign", "a glowing neon sign")),
        Surface("billboard", ("a billboard", "a large billboard")),
        Surface("license plate", ("a license plate", "a number plate"), (WORD,)),
        Surface("business card", ("a business card", "a visiting card")),
    )
}


def draw_surface(
    name: str,
    size: int = 256,
    *,
    content: Image.Image | None = None,
    word: str | None = None,
    rng: np.random.Generator,
) -> Image.Image:
    """The surface `name`, a key of `SURFACES`, with an RGBA `content` or a `word` on it: RGB, square.

    `rng` chooses among a few fixed colors. Raises `ValueError` unless exactly one of `content` and `word` is
    given and the surface takes it.
    """
    kind = WORD if content is None else PICTURE
    if (content is None) == (word is None) or kind not in SURFACES[name].contents:
        raise ValueError(f"A {name} takes exactly one of: {', '.join(SURFACES[name].contents)}.")
    layout = _LAYOUTS[name][kind]
    variant = int(rng.integers(len(layout.palettes)))
    picture = _scene(name, kind, variant, size).copy()
    ink = layout.palettes[variant].ink
    if content is not None:
        _put_picture(picture, content, layout.box, glowing=name == "neon sign")
    elif word is not None:
        _put_word(picture, word, layout.box, ink, glowing=name == "neon sign")
    return picture


# ---------------------------------------------------------------------------------------------- contents

_PITCHES = (32, 24, 16)
_GRID = 16
_HALO = 24  # how far the light of a neon picture reaches, in drawing units


def letter_cells(letters: int, box: Box) -> tuple[float, float]:
    """Left edge and width of the first letter's cell, in drawing units, for a word centered in `box`."""
    x0, _, x1, _ = box
    pitch = next((p for p in _PITCHES if p * letters <= x1 - x0), (x1 - x0) / letters)
    left = (x0 + x1 - pitch * letters) / 2
    return (round(left / _GRID) * _GRID if pitch >= _GRID else left), pitch


def _put_word(picture: Image.Image, word: str, box: Box, ink: RGB, glowing: bool) -> None:
    unit = picture.width / UNITS
    left, pitch = letter_cells(len(word), box)
    font = text_font("mono bold", max(1, round(pitch * unit / 0.6)))  # the face is 0.6 em wide
    baseline = round(((box[1] + box[3]) / 2 + 0.45 * pitch) / _GRID) * _GRID
    mask = Image.new("L", picture.size)
    pen = ImageDraw.Draw(mask)
    for index, character in enumerate(word):
        place = (left + (index + 0.5) * pitch) * unit, baseline * unit
        pen.text(place, character, fill=255, font=font, anchor="ms")
    if glowing:
        picture.paste(ink, mask=mask.filter(ImageFilter.GaussianBlur(7 * unit)))
        picture.paste(ink, mask=mask.filter(ImageFilter.GaussianBlur(2 * unit)))
        ink = shade(ink, 1.75)
    picture.paste(ink, mask=mask)


def _put_picture(picture: Image.Image, content: Image.Image, box: Box, glowing: bool) -> None:
    unit = picture.width / UNITS
    x0, y0, x1, y1 = (round(value * unit) for value in (grown(box, _HALO) if glowing else box))
    margin = round(_HALO * unit) if glowing else 0
    inner = x1 - x0 - 2 * margin, y1 - y0 - 2 * margin
    fitted = ImageOps.contain(content.convert("RGBA"), inner, Image.Resampling.LANCZOS)
    place = (x1 - x0 - fitted.width) // 2, (y1 - y0 - fitted.height) // 2
    printed = picture.crop((x0, y0, x1, y1)) if not glowing else Image.new("RGB", (x1 - x0, y1 - y0), _BLACK)
    printed.paste(fitted, place, fitted)
    if glowing:
        light = apply_style(printed, "neon", np.random.default_rng(0))
        printed = ImageChops.lighter(picture.crop((x0, y0, x1, y1)), light)
    picture.paste(printed, (x0, y0))


# ---------------------------------------------------------------------------------------------- scenes


@dataclass(frozen=True)
class _Palette:
    main: RGB
    ink: RGB


@dataclass(frozen=True)
class _Layout:
    """Where the content goes, what the surface is painted by, and in which colors."""

    box: Box
    paint: Callable[[Easel, Box, RGB, RGB], None]
    palettes: tuple[_Palette, ...]


@lru_cache(maxsize=128)
def _scene(name: str, kind: str, variant: int, size: int) -> Image.Image:
    layout = _LAYOUTS[name][kind]
    easel = Easel(size)
    palette = layout.palettes[variant]
    layout.paint(easel, layout.box, palette.main, palette.ink)
    return easel.finished().convert("RGB")


_SKY, _GRASS, _ROAD = (166, 214, 248), (118, 186, 96), (112, 116, 124)
_WOOD, _STEEL, _WHITE, _BLACK = (176, 124, 78), (128, 134, 142), (250, 250, 250), (34, 34, 40)
_ALL: Box = (0, 0, UNITS, UNITS)


def _paint_road_sign(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    easel.box(_ALL, _SKY)
    easel.box((0, 216, UNITS, UNITS), _GRASS)
    easel.polygon(((60, 256), (112, 216), (144, 216), (196, 256)), _ROAD)
    easel.box((120, box[3], 136, 250), _STEEL)
    easel.box(grown(box, 12), main, round_by=14)
    easel.box(grown(box, 9), ink, round_by=11)
    easel.box(grown(box, 4), main, round_by=8)


def _paint_storefront(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    _bricks(easel, (206, 160, 136), (188, 140, 118))
    easel.box((0, 240, UNITS, UNITS), (176, 176, 182))
    easel.box(grown(box, 10, 6), main if _is_wide(box) else ink, round_by=4, outline=3)
    top = box[3] + 12
    easel.box((20, top + 8, 164, 240), (92, 72, 60))
    easel.box((28, top + 8, 156, 226), (206, 234, 246))
    easel.polygon(((60, 226), (100, top + 24), (124, top + 24), (84, 226)), (226, 244, 250))
    easel.box((180, top + 8, 236, 240), shade(main, 0.8))
    easel.box((188, top + 8, 228, 204), (206, 234, 246))
    for stripe in range(10):
        x, color = 8 + 24 * stripe, main if stripe % 2 else _WHITE
        easel.box((x, top, x + 24, top + 22), color)
        easel.ellipse((x, top + 12, x + 24, top + 32), color)


def _paint_mug(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    easel.box(_ALL, (244, 234, 220))
    easel.box((0, 208, UNITS, UNITS), _WOOD)
    x0, x1 = box[0] - 8, box[2] + 8
    easel.ellipse((x0 + 6, 230, x1 + 20, 250), shade(_WOOD, 0.78))
    easel.ellipse((x1 - 30, 86, x1 + 34, 190), shade(main, 0.62))
    easel.ellipse((x1 - 27, 89, x1 + 31, 187), shade(main, 0.9))
    easel.ellipse((x1 - 14, 104, x1 + 17, 172), (244, 234, 220))
    easel.box((x0, 46, x1, 242), main, round_by=24, outline=3)
    easel.ellipse((x0, 26, x1, 70), shade(main, 0.62))
    easel.ellipse((x0 + 3, 29, x1 - 3, 67), main)
    easel.ellipse((x0 + 14, 36, x1 - 14, 64), (98, 60, 38))


def _paint_t_shirt(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    easel.box(_ALL, (226, 228, 234))
    shirt = (
        (88, 20),
        (34, 36),
        (-24, 92),
        (2, 130),
        (12, 122),
        (12, 252),
        (244, 252),
        (244, 122),
        (254, 130),
    )
    easel.shape((*shirt, (280, 92), (222, 36), (168, 20)), main, outline=4)
    easel.line(((12, 122), (24, 84)), shade(main, 0.8), 3)
    easel.line(((244, 122), (232, 84)), shade(main, 0.8), 3)
    easel.ellipse((84, -10, 172, 50), shade(main, 0.72))
    easel.ellipse((90, -12, 166, 42), (226, 228, 234))


def _paint_stamp(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    backing = (196, 164, 124)
    easel.box(_ALL, backing)
    easel.box((10, 10, 246, 246), _WHITE)
    for step in range(8, 256, 20):
        for center in ((step, 10), (step, 246), (10, step), (246, step)):
            easel.disc(center, 6, backing)
    easel.box((28, 28, 228, 228), main, outline=3)


def _paint_frame(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    easel.box(_ALL, (206, 218, 214))
    for x in range(0, UNITS, 32):
        easel.box((x, 0, x + 16, UNITS), (196, 210, 206))
    top, bottom = (56, 200) if _is_wide(box) else (16, 240)
    easel.box((8, top + 6, 252, bottom + 8), (168, 182, 178))
    easel.box((4, top, 252, bottom), main, outline=4)
    easel.box((16, top + 12, 240, bottom - 12), shade(main, 0.62))
    easel.box((19, top + 15, 237, bottom - 15), (252, 250, 244))


def _paint_neon_sign(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    _bricks(easel, (44, 32, 46), (32, 22, 36))
    frame = (0, 64, 256, 192) if _is_wide(box) else (8, 8, 248, 248)
    easel.box(frame, (22, 14, 30), round_by=22)
    easel.box(grown(frame, -5), main, round_by=18)
    easel.box(grown(frame, -7), shade(main, 1.7), round_by=16)
    easel.box(grown(frame, -10), main, round_by=14)
    easel.box(grown(frame, -12), (22, 14, 30), round_by=12)


def _paint_billboard(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    easel.box(_ALL, _SKY)
    for x, y in ((20, 20), (190, 8)):
        easel.ellipse((x, y, x + 60, y + 26), _WHITE)
        easel.ellipse((x + 16, y - 12, x + 44, y + 20), _WHITE)
    easel.box((0, 224, UNITS, UNITS), _GRASS)
    bottom = max(box[3] + 12, 168)
    for x in (56, 184):
        easel.box((x, bottom, x + 16, 240), (118, 92, 70))
    easel.box((4, min(box[1] - 12, 48), 252, bottom), (86, 90, 100))
    easel.box((10, min(box[1] - 6, 54), 246, bottom - 6), main)


def _paint_license_plate(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    body = (188, 48, 52)
    easel.box(_ALL, body)
    easel.box((0, 0, UNITS, 40), shade(body, 0.8))
    easel.box((0, 208, UNITS, UNITS), shade(body, 0.45))
    for x in (0, 216):
        easel.box((x, 14, x + 40, 54), (250, 196, 96), round_by=8, outline=3)
    easel.box((2, 72, 254, 184), main, round_by=12, outline=4)
    easel.box((8, 78, 248, 178), ink, round_by=9)
    easel.box((11, 81, 245, 175), main, round_by=7)
    for x in (60, 196):
        easel.disc((x, 90), 4, _STEEL)


def _paint_business_card(easel: Easel, box: Box, main: RGB, ink: RGB) -> None:
    easel.box(_ALL, _WOOD)
    for y in range(20, UNITS, 44):
        easel.line(((0, y), (UNITS, y)), shade(_WOOD, 0.88), 3)
    easel.box((8, 56, 254, 214), shade(_WOOD, 0.66), round_by=6)
    easel.box((4, 48, 250, 206), main, round_by=6)
    easel.box((4, 48, 250, 60), ink, round_by=6)
    if _is_wide(box):
        for x0, x1, y in ((64, 192, 176), (88, 168, 190)):
            easel.line(((x0, y), (x1, y)), (170, 174, 182), 5)


def _is_wide(box: Box) -> bool:
    """Whether the surface is laid out for a word."""
    return box[2] - box[0] > 2 * (box[3] - box[1])


def _bricks(easel: Easel, brick: RGB, joint: RGB) -> None:
    easel.box(_ALL, joint)
    for row in range(16):
        for column in range(-1, 8):
            x, y = column * 32 + 16 * (row % 2), row * 16
            easel.box((x + 1, y + 1, x + 31, y + 15), brick)


_PALE = (
    _Palette((250, 250, 250), (30, 36, 60)),
    _Palette((214, 232, 250), (22, 54, 130)),
    _Palette((253, 240, 190), (150, 44, 30)),
)
_SIGN_BOARDS = (
    _Palette((34, 104, 72), _WHITE),
    _Palette((156, 40, 48), _WHITE),
    _Palette((36, 66, 130), _WHITE),
)
_LIGHTS = (
    _Palette((64, 190, 255), (255, 70, 150)),
    _Palette((255, 80, 160), (70, 220, 255)),
    _Palette((255, 170, 50), (120, 255, 120)),
)
_GOLD_AND_WOOD = (_Palette((222, 172, 58), (40, 40, 60)), _Palette((120, 76, 46), (40, 40, 60)))
_ROAD_SIGNS = (_Palette((24, 122, 70), _WHITE), _Palette((28, 84, 186), _WHITE))
_WARNINGS = (_Palette(_WHITE, (214, 40, 44)), _Palette(_WHITE, (28, 84, 186)))
_SHIRTS = (*_PALE, _Palette((58, 62, 76), _WHITE))

_LAYOUTS: Mapping[str, Mapping[str, _Layout]] = {
    "road sign": {
        PICTURE: _Layout((52, 20, 204, 172), _paint_road_sign, _WARNINGS),
        WORD: _Layout((16, 80, 240, 144), _paint_road_sign, _ROAD_SIGNS),
    },
    "storefront": {
        PICTURE: _Layout((64, 12, 192, 140), _paint_storefront, _SIGN_BOARDS),
        WORD: _Layout((16, 32, 240, 96), _paint_storefront, _SIGN_BOARDS),
    },
    "mug": {
        PICTURE: _Layout((40, 84, 184, 228), _paint_mug, _PALE),
        WORD: _Layout((16, 112, 208, 176), _paint_mug, _PALE),
    },
    "t-shirt": {
        PICTURE: _Layout((56, 80, 200, 224), _paint_t_shirt, _PALE),
        WORD: _Layout((16, 112, 240, 176), _paint_t_shirt, _SHIRTS),
    },
    "postage stamp": {
        PICTURE: _Layout((44, 44, 212, 212), _paint_stamp, _PALE),
        WORD: _Layout((32, 96, 224, 160), _paint_stamp, _PALE),
    },
    "picture frame": {
        PICTURE: _Layout((52, 52, 204, 204), _paint_frame, _GOLD_AND_WOOD),
        WORD: _Layout((32, 96, 224, 160), _paint_frame, _GOLD_AND_WOOD),
    },
    "neon sign": {
        PICTURE: _Layout((44, 44, 212, 212), _paint_neon_sign, _LIGHTS),
        WORD: _Layout((16, 96, 240, 160), _paint_neon_sign, _LIGHTS),
    },
    "billboard": {
        PICTURE: _Layout((56, 24, 200, 168), _paint_billboard, _PALE),
        WORD: _Layout((16, 80, 240, 144), _paint_billboard, _PALE),
    },
    "license plate": {
        WORD: _Layout((16, 96, 240, 160), _paint_license_plate, _PALE),
    },
    "business card": {
        PICTURE: _Layout((72, 70, 184, 198), _paint_business_card, _PALE),
        WORD: _Layout((16, 96, 240, 160), _paint_business_card, _PALE),
    },
}
