"""Line charts: values where they belong, names apart."""

import math

from dalle.chart import BLUE, Axis, Curve, chart, spread


def test_names_beside_the_curves_neither_touch_nor_leave_the_picture():
    assert spread([50, 52, 90], 200, 15) == [50, 65, 90]
    assert spread([100, 195, 200, 200], 200, 15) == [100, 170, 185, 200]


def test_a_line_through_powers_is_straight_on_a_logarithmic_axis():
    across, up = Axis({1: "1", 100: "100"}, math.log), Axis({0: "0", 2: "2"})
    picture = chart("", [Curve("", [(1, 0), (10, 1), (100, 2)], width=1)], across, up, (400, 300), 100)
    assert picture.size == (800, 600)
    blue = [(x, y) for x in range(800) for y in range(600) if picture.getpixel((x, y)) == BLUE]
    (left, low), (right, high) = min(blue), max(blue)
    for x, y in blue:
        assert abs((x - left) / (right - left) - (low - y) / (low - high)) < 0.02


def test_values_are_written_where_they_are_wanted():
    axes = Axis({1: "1", 2: "2"}), Axis({0: "0", 1: "1"})

    def ink(**more) -> int:
        picture = chart("", [Curve("", [(1, 0.2), (2, 0.8)], **more)], *axes)
        return sum(count for count, color in picture.getcolors(1 << 20) if color == BLUE)

    assert ink(say="{:.0%}".format) > ink()
