"""Contact sheets: the first captions of a topic, none picked by hand, each with its best picture or its best eight."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from dalle.worlds import Example, contact_sheet

FIRST = 24  # captions on a sheet
TOP = 8  # pictures of each, on the second sheet
_SMALL, _QUALITY = 128, 82  # pixels, of WebP
_BEST, _STRIPS = ".top1.webp", ".top8.webp"  # how the names of files end


@dataclass
class Sheet:
    """The captions of one topic, and what was drawn for them, best first."""

    topic: str
    rows: list[tuple[str, Sequence[Image.Image]]] = field(default_factory=list)

    def add(self, caption: str, gallery: Sequence[Image.Image]) -> None:
        if len(self.rows) < FIRST:
            self.rows.append((caption, [picture.resize((_SMALL, _SMALL)) for picture in gallery[:TOP]]))


def save(sheet: Sheet, folder: Path) -> None:
    """`TOPIC.top1.webp` and `TOPIC.top8.webp`."""
    stem = re.sub(r"\W+", "-", sheet.topic).strip("-").lower()
    best = [_captioned(gallery[0], caption) for caption, gallery in sheet.rows]
    contact_sheet(best).save(folder / f"{stem}{_BEST}", quality=_QUALITY)
    strips = [_captioned(_strip(gallery), caption) for caption, gallery in sheet.rows]
    contact_sheet(strips, columns=1).save(folder / f"{stem}{_STRIPS}", quality=_QUALITY)


def index(folder: Path) -> str:
    """A list of the topics whose sheets are in a folder, with links to them: Markdown."""
    stems = sorted(path.name.removesuffix(_BEST) for path in folder.glob(f"*{_BEST}"))
    return "\n".join(
        f"- {stem.replace('-', ' ')}: [the first]({stem}{_BEST}), [the first eight]({stem}{_STRIPS})" for stem in stems
    )


def _captioned(picture: Image.Image, caption: str) -> Example:
    return Example(picture, caption, "", {})


def _strip(gallery: Sequence[Image.Image]) -> Image.Image:
    strip = Image.new("RGB", (TOP * _SMALL, _SMALL), "white")
    for place, picture in enumerate(gallery):
        strip.paste(picture, (place * _SMALL, 0))
    return strip
