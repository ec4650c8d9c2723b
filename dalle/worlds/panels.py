"""The family of image-to-image pairs: one thing on the top, the same thing changed on the bottom."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageOps

from dalle.worlds import backgrounds
from dalle.worlds.colors import PALE, shade
from dalle.worlds.materials import typical_color
from dalle.worlds.scene import (
    Facts,
    Family,
    Stage,
    Thing,
    center_of,
    moved,
    paste,
    picture_of,
    resized,
    rimmed,
    thing,
)
from dalle.worlds.split import Combination
from dalle.worlds.styles import STYLES, apply_style
from dalle.worlds.vocabulary import say, say_color
from dalle.worlds.wearing import HEADS, unlike_piece, worn
from dalle.worlds.words import article, plural

WIDTH, HEIGHT = 256, 128
_SIDE, _CENTER = 88, (128, 76)
_STAMP_PAPER, _STAMP_EDGE = (250, 246, 232), (150, 60, 60)
WORN = ("hat", "top hat", "crown", "helmet", "glasses", "sunglasses")
PATTERNS = ("stripes", "checkers", "polka dots")
SYMBOLS = ("heart", "star", "flower", "moon", "sun")


@dataclass(frozen=True)
class Change:
    """What happens between the panels: `kind` is a key of `CHANGES`, `value` a color, style, noun…"""

    kind: str
    value: str = ""


@dataclass(frozen=True)
class Rule:
    """One kind of change: its `values`, its wordings (`{x}` is the value said), and how to draw it."""

    values: tuple[str, ...]
    wordings: tuple[str, ...]
    paint: Callable[[Image.Image, Thing, Change], Image.Image]
    weight: float = 1.0


def _panel(background: backgrounds.Background, items: list[Thing]) -> Image.Image:
    canvas = Image.new("RGB", (WIDTH, HEIGHT), PALE[background["color"]])
    for item in items:
        paste(canvas, item)
    return canvas


def _tint_of(panel: Image.Image) -> backgrounds.Background:
    corner = panel.getpixel((0, 0))
    return backgrounds.plain(next(name for name, color in PALE.items() if color == corner))


def _colored(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    return _panel(_tint_of(panel), [{**item, "color": change.value}])


def _styled(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    return apply_style(panel, change.value, np.random.default_rng(0))


def _upside_down(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    return ImageOps.flip(panel)


def _mirrored(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    return ImageOps.mirror(panel)


def _tiny(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    return _panel(_tint_of(panel), [resized(item, center_of(item), 32)])


def _close_up(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    x, y = center_of(item)
    cut = panel.crop((x - 48, y - 32, x + 48, y + 16))
    return cut.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _wearing(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    return _panel(_tint_of(panel), [item, worn(change.value, item)])


def _made_of(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    return _panel(_tint_of(panel), [{**item, "material": change.value}])


def _with_symbol(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    return _panel(_tint_of(panel), [item, rimmed(thing(change.value, center_of(item), 36))])


def _patterned(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    x0, y0, x1, y1 = item["box"]
    width, height = x1 - x0, y1 - y0
    drawing = picture_of(item)
    pattern = Image.new("L", (width, height))
    pen = ImageDraw.Draw(pattern)
    for row, y in enumerate(range(0, height, 12)):
        for column, x in enumerate(range(0, width, 12)):
            if change.value == "stripes" and column % 2:
                pen.rectangle((x, y, x + 11, y + 11), fill=210)
            if change.value == "checkers" and (row + column) % 2:
                pen.rectangle((x, y, x + 11, y + 11), fill=210)
            if change.value == "polka dots" and (row + column) % 2:
                pen.ellipse((x + 1, y + 1, x + 9, y + 9), fill=230)
    color = typical_color(drawing)
    ink = shade(color, 0.5) if sum(color) > 200 else shade(color, 1.7)
    result = panel.copy()
    result.paste(ink, (x0, y0), ImageChops.multiply(pattern, drawing.getchannel("A")))
    return result


def _stamped(panel: Image.Image, item: Thing, change: Change) -> Image.Image:
    result = Image.new("RGB", (WIDTH, HEIGHT), PALE["gray"])
    pen = ImageDraw.Draw(result)
    left, top, right, bottom = 72, 12, 184, 116
    pen.rectangle((left, top, right, bottom), fill=_STAMP_PAPER)
    for x in range(left, right + 1, 8):
        for y in (top, bottom):
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=PALE["gray"])
    for y in range(top, bottom + 1, 8):
        for x in (left, right):
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=PALE["gray"])
    pen.rectangle((left + 10, top + 10, right - 10, bottom - 10), outline=_STAMP_EDGE, width=2)
    paste(result, resized(item, (128, 64), 68))
    return result


_COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray")

CHANGES: dict[str, Rule] = {
    "color": Rule(
        _COLORS,
        (
            "colored {x} on the bottom",
            "in {x} on the bottom",
            "but {x} on the bottom",
            "colored {x} on the bottom",
        ),
        _colored,
        weight=3.0,
    ),
    "style": Rule(tuple(STYLES), ("{x} on the bottom",), _styled, weight=2.5),
    "upside down": Rule(("",), ("upside down on the bottom", "reflected upside-down on the bottom"), _upside_down),
    "mirrored": Rule(("",), ("mirrored on the bottom", "facing the other way on the bottom"), _mirrored, weight=0.6),
    "tiny": Rule(("",), ("tiny on the bottom", "but very small on the bottom"), _tiny, weight=0.8),
    "close-up": Rule(
        ("",), ("in extreme close-up view on the bottom", "in close-up on the bottom"), _close_up, weight=0.8
    ),
    "wearing": Rule(
        WORN,
        ("wearing {x} on the bottom", "with {x} on the bottom", "wearing {x} on the bottom"),
        _wearing,
        weight=2.0,
    ),
    "symbol": Rule(SYMBOLS, ("with {x} on it on the bottom", "with {x} on the bottom"), _with_symbol, weight=1.2),
    "pattern": Rule(PATTERNS, ("with {x} on the bottom", "with {x} on it on the bottom"), _patterned, weight=1.0),
    "material": Rule(
        ("strawberry", "pizza", "banana", "star", "flower", "heart", "lemon", "watermelon"),
        ("made of {x} on the bottom",),
        _made_of,
        weight=1.2,
    ),
    "stamp": Rule(
        ("",), ("on a postage stamp on the bottom", "as a postage stamp on the bottom"), _stamped, weight=1.0
    ),
}


class TwoPanel(Family):
    """As in "the exact same teapot on the top with a heart on the bottom": two panels of 256 x 128."""

    name: ClassVar[str] = "two_panel"
    weight: ClassVar[float] = 4.0
    kinds: ClassVar[tuple[str, ...]] = tuple(CHANGES)

    def plan(self, stage: Stage) -> Facts:
        weights = np.array([CHANGES[kind].weight for kind in self.kinds])
        kind = self.kinds[int(stage.rng.choice(len(self.kinds), p=weights / weights.sum()))]
        full = stage.full
        nouns = full.vocabulary.nouns
        if stage.chance(0.4):
            nouns = stage.vocabulary.among(tuple(HEADS)) if kind == "wearing" else stage.vocabulary.nouns
        color = full.color(0.15)
        value = stage.pick([value for value in CHANGES[kind].values if value != color])
        noun = stage.pick([noun for noun in nouns if noun != value])
        center = stage.scatter(_CENTER[0], 40), _CENTER[1]  # what is copied can stand anywhere
        pose = {} if kind == "wearing" else full.pose()
        top = thing(noun, center, _SIDE, color, **pose)
        changed = value if kind == "color" else color
        return {
            "things": [top, moved({**top, "color": changed}, 0, HEIGHT)],
            "change": {"kind": kind, "value": value},
            "background": full.plain_background(top),
            "copied": noun not in stage.vocabulary.nouns,  # and so not learned by its name
        }

    def draw(self, facts: Facts) -> Image.Image:
        top = facts["things"][0]
        change = Change(**facts["change"])
        panel = _panel(facts["background"], [top])
        canvas = Image.new("RGB", (WIDTH, 2 * HEIGHT))
        canvas.paste(panel, (0, 0))
        canvas.paste(CHANGES[change.kind].paint(panel, top, change), (0, HEIGHT))
        return canvas

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        change = Change(**facts["change"])
        noun = say(facts["things"][0]["noun"], rng)
        end = str(rng.choice(CHANGES[change.kind].wordings)).format(x=_said(change, rng))
        if rng.random() < 0.12:
            short = end.removesuffix(" on the bottom")
            panels = f"on the top, the {noun}. on the bottom, the {noun} {short}."
            return f"2 panel image of the exact same {noun}. {panels}"
        return f"the exact same {noun} on the top {end}"

    def kind(self, facts: Facts) -> str:
        return facts["change"]["kind"]

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        change = Change(**facts["change"])
        if change.kind == "wearing":
            return {**facts, "change": {"kind": change.kind, "value": unlike_piece(change.value, rng)}}
        others = [value for value in CHANGES[change.kind].values if value != change.value]
        if others:
            return {**facts, "change": {"kind": change.kind, "value": str(rng.choice(others))}}
        plain = [kind for kind, rule in CHANGES.items() if rule.values == ("",) and kind != change.kind]
        return {**facts, "change": {"kind": str(rng.choice(plain)), "value": ""}}

    def combinations(self, facts: Facts) -> list[Combination]:
        change, noun = facts["change"], facts["things"][0]["noun"]
        kind = "color" if change["kind"] == "color" else "change"
        return [(kind, noun, change["value"] or change["kind"])]


def _said(change: Change, rng: np.random.Generator) -> str:
    if change.kind == "color":
        return say_color(change.value, rng)
    if change.kind == "style":
        return STYLES[change.value][1].removeprefix("{x} ")
    if change.kind == "pattern":
        return change.value
    if change.kind == "material":
        return str(rng.choice([change.value, plural(change.value)]))
    return article(say(change.value, rng)) if change.value else ""
