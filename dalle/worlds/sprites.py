"""Any noun, in any color, material or outline, as an RGBA picture of the wanted size."""

from functools import cache, lru_cache

from PIL import Image

from dalle.errors import WorldError
from dalle.worlds.colors import ALL_COLORS, nearest, recolor
from dalle.worlds.glyphs import catalogue, draw_character
from dalle.worlds.materials import polygon, shaped, textured, typical_color
from dalle.worlds.shapes import SHAPES

POLYGONS = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6, "heptagon": 7}
_DEFAULT_SHAPE_COLOR = "gray"


@lru_cache(maxsize=1536)
def original(
    noun: str, color: str | None = None, material: str | None = None, outline: str | None = None
) -> Image.Image:
    """A noun at its natural resolution (at most about 256 pixels), RGBA, cut to its visible pixels.

    `material` is the noun it is made of, `outline` the noun or polygon whose shape it takes.
    Raises `WorldError` for an unknown noun.
    """
    drawing = _plain(noun, color)
    if material:
        drawing = textured(drawing, original(material))
    if outline:
        drawing = shaped(drawing, _mold(outline))
    return drawing.crop(drawing.getbbox())


def _plain(noun: str, color: str | None) -> Image.Image:
    if noun in SHAPES:
        return SHAPES[noun](ALL_COLORS[color or _DEFAULT_SHAPE_COLOR])
    glyph = catalogue().get(noun)
    if glyph is None:
        raise WorldError(f"The world has no picture of {noun!r}.")
    drawing = draw_character(glyph.character)
    return recolor(drawing, ALL_COLORS[color]) if color else drawing


@lru_cache(maxsize=64)
def _mold(outline: str) -> Image.Image:
    return polygon(POLYGONS[outline]) if outline in POLYGONS else original(outline)


def fitted(outline: str, side: int) -> tuple[int, int]:
    """Width and height of a noun or polygon whose longer side is `side` pixels."""
    width, height = _mold(outline).size
    scale = side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


@lru_cache(maxsize=512)
def sprite(
    noun: str,
    width: int,
    height: int,
    color: str | None = None,
    material: str | None = None,
    outline: str | None = None,
) -> Image.Image:
    """A noun scaled to exactly `width` x `height`, RGBA. Shared between callers: never draw into it."""
    return original(noun, color, material, outline).resize((width, height), Image.Resampling.LANCZOS)


@cache
def natural_color(noun: str) -> str:
    """The name of the color that a noun has of itself."""
    return nearest(typical_color(original(noun)))
