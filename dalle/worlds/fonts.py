"""Finding the fonts the world is drawn with: one color emoji font and a few text faces.

Folders are searched in order: those in the environment variable `DALLE_FONTS` (separated like `PATH`), then
the usual ones of Linux, macOS and a user's home.
"""

import os
from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageFont

from dalle.errors import WorldError

EMOJI_FILE = "NotoColorEmoji.ttf"
STRIKE = 109
"""The only size, in pixels, at which the bitmap emoji font can be opened."""

TEXT_FILES = {
    "sans": "DejaVuSans.ttf",
    "mono bold": "LiberationMono-Bold.ttf",
}
PACKAGES = "fonts-noto-color-emoji fonts-dejavu fonts-liberation"


def _folders() -> list[Path]:
    named = [Path(folder) for folder in os.environ.get("DALLE_FONTS", "").split(os.pathsep) if folder]
    home = Path.home()
    usual = ["/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts"]
    return [*named, home / ".fonts", home / ".local/share/fonts", *map(Path, usual)]


@cache
def find(file: str) -> Path:
    """The path of a font file. Raises `WorldError` where no folder holds it."""
    for folder in _folders():
        if folder.is_dir():
            match = next(iter(sorted(folder.rglob(file))), None)
            if match is not None:
                return match
    raise WorldError(
        f"The font {file} is not installed. On Debian or Ubuntu: apt-get install {PACKAGES}. "
        "Elsewhere, put the font files into a folder and name it in the variable DALLE_FONTS."
    )


@cache
def emoji_font() -> ImageFont.FreeTypeFont:
    """The color emoji font at its one strike."""
    return ImageFont.truetype(find(EMOJI_FILE), STRIKE)


@lru_cache(maxsize=256)
def text_font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """A text font: `face` is a key of `TEXT_FILES`, `size` is in pixels."""
    return ImageFont.truetype(find(TEXT_FILES[face]), size)
