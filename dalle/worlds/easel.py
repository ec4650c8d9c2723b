"""Drawing with smooth edges, in units that do not depend on the picture's size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from dalle.worlds.colors import RGB, shade

Point = tuple[float, float]
Points = tuple[Point, ...]
Box = tuple[float, float, float, float]

UNITS = 256
"""Width and height of every picture in drawing units."""

_DETAIL = 3  # pictures are drawn this many times larger than asked for, then reduced


class Easel:
    """A transparent square canvas of 256 x 256 units; `scale` shrinks all that is drawn towards `anchor`.

    `image` is the enlarged RGBA canvas itself, `finished()` the picture of `size` x `size` pixels.
    """

    def __init__(self, size: int, scale: float = 1.0, anchor: Point = (128, 248)) -> None:
        self.unit = size * _DETAIL / UNITS
        self.scale = scale
        self.anchor = anchor
        self.image = Image.new("RGBA", (size * _DETAIL, size * _DETAIL))
        self.pen = ImageDraw.Draw(self.image)

    def finished(self) -> Image.Image:
        return self.image.reduce(_DETAIL)

    def at(self, point: Point) -> Point:
        """Units to pixels of the enlarged canvas."""
        x, y = (origin + (value - origin) * self.scale for value, origin in zip(point, self.anchor, strict=True))
        return x * self.unit, y * self.unit

    def length(self, units: float) -> int:
        return max(1, round(units * self.scale * self.unit))

    def mask(self, points: Points) -> Image.Image:
        """The inside of a polygon."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon([self.at(point) for point in points], fill=255)
        return mask

    def polygon(self, points: Points, color: RGB) -> None:
        self.pen.polygon([self.at(point) for point in points], fill=color)

    def shape(self, points: Points, color: RGB, outline: float = 2.5) -> None:
        """A polygon with an outline in a shade of its own color."""
        self.polygon(points, color)
        self.line((*points, points[0], points[1]), edge_color(color), outline)

    def line(self, points: Points, color: RGB, width: float) -> None:
        path = [self.at(point) for point in points]
        self.pen.line(path, fill=color, width=self.length(width), joint="curve")

    def disc(self, center: Point, radius: float, color: RGB) -> None:
        x, y = self.at(center)
        r = radius * self.scale * self.unit
        self.pen.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def ellipse(self, box: Box, color: RGB) -> None:
        self.pen.ellipse((*self.at(box[:2]), *self.at(box[2:])), fill=color)

    def box(self, box: Box, color: RGB, round_by: float = 0, outline: float = 0) -> None:
        """A rectangle, its corners rounded, with an outline in a shade of its own color."""
        self.pen.rounded_rectangle(
            (*self.at(box[:2]), *self.at(box[2:])),
            radius=self.length(round_by) if round_by else 0,
            fill=color,
            outline=edge_color(color) if outline else None,
            width=self.length(outline) if outline else 1,
        )


def grown(box: Box, by: float, down: float | None = None) -> Box:
    """`box` larger by `by` units on either side, and by `down` (or as much) at top and bottom."""
    x0, y0, x1, y1 = box
    more = by if down is None else down
    return x0 - by, y0 - more, x1 + by, y1 + more


def edge_color(color: RGB) -> RGB:
    """The outline of an area: darker, but lighter around black, so that it stays visible on either side."""
    return shade(color, 1.35) if sum(color) < 150 else shade(color, 0.62)


@lru_cache(maxsize=64)
def smooth(points: Points, steps: int = 12) -> Points:
    """A closed Catmull-Rom curve through `points`."""
    knots = np.array(points)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    before, start, end, after = (np.roll(knots, shift, axis=0)[:, None] for shift in (1, 0, -1, -2))
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * (start - end) + after - before) * t**3
    )
    return tuple((float(x), float(y)) for x, y in curve.reshape(-1, 2))
