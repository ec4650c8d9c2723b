"""Line charts for reports: curves with their names at the right ends, drawn twice as large as they are shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from dalle.worlds.fonts import text_font

RGB = tuple[int, int, int]
INK, PALE, BLUE, FAINT = (40, 40, 46), (206, 206, 212), (38, 70, 200), (150, 160, 200)
_DENSE = 2  # for sharp letters on dense screens
_LEFT, _TOP, _BOTTOM, _FONT, _LINE = 60, 52, 44, 13, 15  # pixels


@dataclass(frozen=True)
class Curve:
    """A name, and points from left to right; `say` writes the value of each of them beside it."""

    name: str
    points: Sequence[tuple[float, float]]
    ink: RGB = BLUE
    width: int = 3
    say: Callable[[float], str] | None = None


@dataclass(frozen=True)
class Axis:
    """What is written where; the axis reaches from the first mark, or point, to the last. `scale` may be `math.log`."""

    marks: Mapping[float, str]
    scale: Callable[[float], float] = float

    def place(self, values: Sequence[float]) -> Callable[[float], float]:
        """From the values on a chart to shares of its width or height."""
        scaled = [self.scale(value) for value in (*self.marks, *values)]
        low, high = min(scaled), max(scaled)
        return lambda value: (self.scale(value) - low) / (high - low or 1.0)


def chart(
    title: str, curves: Sequence[Curve], across: Axis, up: Axis, size: tuple[int, int] = (840, 420), right: int = 230
) -> Image.Image:
    """A picture of twice `size` pixels; the names of the curves stand in a margin of `right` pixels."""
    sheet = Image.new("RGB", (size[0] * _DENSE, size[1] * _DENSE), "white")
    draw, font = ImageDraw.Draw(sheet), text_font("sans", _FONT * _DENSE)
    width, height = size[0] - _LEFT - right, size[1] - _TOP - _BOTTOM
    x_share = across.place([x for curve in curves for x, _ in curve.points])
    y_share = up.place([y for curve in curves for _, y in curve.points])

    def at(x: float, y: float) -> tuple[float, float]:
        return (_LEFT + width * x_share(x)) * _DENSE, (_TOP + height * (1 - y_share(y))) * _DENSE

    def write(where: tuple[float, float], text: str, ink: RGB, anchor: str, dx: int = 0, dy: int = 0) -> None:
        draw.text((where[0] + dx * _DENSE, where[1] + dy * _DENSE), text, ink, font, anchor=anchor)

    write((_LEFT * _DENSE, 16 * _DENSE), title, INK, "la")
    edge, floor = (_LEFT + width) * _DENSE, (_TOP + height) * _DENSE
    for value, text in up.marks.items():
        _, y = at(next(iter(across.marks)), value)
        draw.line((_LEFT * _DENSE, y, edge, y), PALE, _DENSE)
        write((_LEFT * _DENSE, y), text, INK, "rm", dx=-8)
    for value, text in across.marks.items():
        write((at(value, next(iter(up.marks)))[0], floor), text, INK, "ma", dy=10)
    for curve in curves:
        line = [at(*point) for point in curve.points]
        draw.line(line, curve.ink, curve.width * _DENSE, joint="curve")
        for where, (_, value) in zip(line, curve.points, strict=True) if curve.say else ():
            write(where, curve.say(value) if curve.say else "", curve.ink, "ms", dy=-9)
    named = sorted((curve for curve in curves if curve.name), key=lambda curve: -curve.points[-1][1])
    ends = [at(*curve.points[-1])[1] for curve in named]
    for curve, y in zip(named, spread(ends, floor, _LINE * _DENSE), strict=True):
        write((edge, y), curve.name, curve.ink, "lm", dx=10)
    return sheet


def spread(heights: Sequence[float], bottom: float, gap: float) -> list[float]:
    """Rising heights of names, moved apart by `gap` and kept above `bottom`."""
    apart: list[float] = []
    for height in heights:
        apart.append(max(height, apart[-1] + gap) if apart else height)
    return [min(height, bottom - gap * left) for height, left in zip(apart, reversed(range(len(apart))), strict=True)]
