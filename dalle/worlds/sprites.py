"""Any noun, in any color or material, as an RGBA picture of the wanted size."""

from functools import lru_cache

from PIL import Image

from dalle.errors import WorldError
from dalle.worlds.colors import ALL_COLORS, recolor
from dalle.worlds.glyphs import catalogue, draw_character
from dalle.worlds.shapes import SHAPES

_DEFAULT_SHAPE_COLOR = "gray"


@lru_cache(maxsize=2048)
def original(noun: str, color: str | None = None) -> Image.Image:
    """A noun at its natural resolution (at most about 256 pixels), RGBA, cut to its visible pixels."""
    if noun in SHAPES:
        drawing = SHAPES[noun](ALL_COLORS[color or _DEFAULT_SHAPE_COLOR])
        return drawing.crop(drawing.getbbox())
    glyph = catalogue().get(noun)
    if glyph is None:
        raise WorldError(f"The world has no picture of {noun!r}.")
    drawing = draw_character(glyph.character)
    return recolor(drawing, ALL_COLORS[color]) if color else drawing


def fitted(noun: str, side: int) -> tuple[int, int]:
    """Width and height of a noun whose longer side is `side` pixels."""
    width, height = original(noun).size
    scale = side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


@lru_cache(maxsize=2048)
def sprite(noun: str, width: int, height: int, color: str | None = None) -> Image.Image:
    """A noun scaled to exactly `width` x `height`, RGBA. Shared between callers: never draw into it."""
    return original(noun, color).resize((width, height), Image.Resampling.LANCZOS)
