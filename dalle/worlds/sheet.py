"""A sheet of captioned pictures to look at."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from dalle.worlds.fonts import text_font
from dalle.worlds.scene import Example

_GAP = 12
_FONT_SIZE = 13
_LINE = 17


def contact_sheet(examples: Sequence[Example], columns: int = 8) -> Image.Image:
    """Pictures in rows of `columns`, each with its caption wrapped below it. RGB."""
    cells = [(example.picture, _wrap(example.caption, example.picture.width)) for example in examples]
    if not cells:
        return Image.new("RGB", (_GAP, _GAP), "white")
    width = max(picture.width for picture, _ in cells)
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(picture.height + _LINE * len(lines) for picture, lines in row) + _GAP for row in rows]
    sheet = Image.new("RGB", (min(columns, len(cells)) * (width + _GAP) + _GAP, sum(heights) + _GAP), (238, 238, 240))
    draw, top = ImageDraw.Draw(sheet), _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, (picture, lines) in enumerate(row):
            left = _GAP + column * (width + _GAP)
            sheet.paste(picture, (left, top))
            text = "\n".join(lines)
            draw.multiline_text(
                (left, top + picture.height + 2), text, "black", text_font("sans", _FONT_SIZE), spacing=2
            )
        top += height
    return sheet


def _wrap(text: str, width: int) -> list[str]:
    font = text_font("sans", _FONT_SIZE)
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines
