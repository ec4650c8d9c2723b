"""What every family of pictures shares: examples, facts, the stage they are planned on, and drawing a scene.

A family makes a picture in two steps. `plan` decides the *facts*: plain, JSON-able data that name everything
the picture will show. `draw` and `caption` then both follow the facts, which is why a caption is true of its
picture. A false caption is the caption of twisted facts.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from dalle.worlds import backgrounds
from dalle.worlds.backgrounds import SIDE
from dalle.worlds.colors import PALE, unlike
from dalle.worlds.split import Combination
from dalle.worlds.sprites import fitted, natural_color, sprite
from dalle.worlds.vocabulary import ANIMALS, FOODS, THINGS, Vocabulary, say, say_color, vocabulary
from dalle.worlds.words import article

Facts = Mapping[str, Any]
Thing = Mapping[str, Any]
"""One drawn object: `noun`, `color` (or None), `box` (x0, y0, x1, y1); a `material`, `outline` or `rim` where it has
one, `mirrored` where it looks the other way, and what its family adds."""
Box = tuple[int, int, int, int]
NAMED = (*ANIMALS, *FOODS, *THINGS)
"""Nouns of which none is another word for another."""
_NAMES = ("noun", "material", "outline")
SIDES: dict[str | None, int] = {"small": 96, None: 160, "large": 224}
"""Pixels of a thing's longer side. Most families keep to these few, as a net has to learn each thing in each size."""
COMPANY_SIDE, CROWD_SIDE = 120, 64
"""The same where two to four share the picture evenly, and where there are more."""
_RIM = 8  # pixels around a thing that is cut out


@dataclass(frozen=True)
class Example:
    """A captioned picture.

    Attributes:
        picture: RGB, square.
        caption: one true sentence about it.
        family: name of the family that made it.
        facts: all that was drawn; boxes are (x0, y0, x1, y1) on a canvas of 256 x 256, whatever `size` is.
    """

    picture: Image.Image
    caption: str
    family: str
    facts: Facts


@dataclass(frozen=True)
class Plan:
    """A picture not yet drawn: the other fields of its `Example`."""

    caption: str
    family: str
    facts: Facts


@dataclass(frozen=True)
class Stage:
    """What a plan is made from: a generator, the words, and the lattice (pixels) that positions snap to."""

    rng: np.random.Generator
    vocabulary: Vocabulary
    lattice: int

    @property
    def small(self) -> bool:
        return self.vocabulary.is_small

    @property
    def full(self) -> "Stage":
        """This stage, or the full world's in the small one: for what is only copied, and so can be anything."""
        return replace(self, vocabulary=vocabulary("full")) if self.small else self

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def pick_distinct(self, options: Sequence[str], count: int) -> list[str]:
        return [options[int(i)] for i in self.rng.choice(len(options), size=count, replace=False)]

    def color(self, probability: float = 1.0) -> str | None:
        return self.pick(self.vocabulary.colors) if self.chance(probability) else None

    def vary(self, value: int, spread: int) -> int:
        """`value` moved by up to `spread` pixels, snapped to the lattice; not moved in the small world."""
        return value if self.small else self.scatter(value, spread)

    def lessen(self, value: int, most: int) -> int:
        """`value` less up to `most` pixels; as it is in the small world."""
        return value if self.small else value - int(self.rng.integers(0, most + 1))

    def scatter(self, value: int, spread: int) -> int:
        """`value` moved by up to `spread` pixels, snapped to the lattice, in every world."""
        moved = value + int(self.rng.integers(-spread, spread + 1))
        return self._nearest(moved)

    def align(self, item: Thing) -> Thing:
        """A thing moved by the least that brings its center onto the lattice."""
        x, y = center_of(item)
        return centered(item, (self._nearest(x), self._nearest(y)))

    def _nearest(self, value: int) -> int:
        """The lattice's nearest pixel."""
        return round(value / self.lattice) * self.lattice

    def pose(self) -> dict[str, bool]:
        """Further values for a thing: in the full world, one in three looks the other way."""
        return {} if self.small or self.chance(2 / 3) else {"mirrored": True}

    def grain(self) -> int:
        """Seeds the texture of a style or surface: one texture for all in the small world."""
        return 0 if self.small else int(self.rng.integers(1, 1000))

    def background(self, *things: Thing) -> backgrounds.Background:
        """A background that no thing on it vanishes into."""
        return backgrounds.choose(self.rng, self.small, {item["color"] for item in things})

    def plain_background(self, *things: Thing) -> backgrounds.Background:
        """A tint that no caption mentions: in the small world white, or blue behind white things."""
        return backgrounds.choose_plain(self.rng, self.small, {item["color"] for item in things})


def thing(noun: str, center: tuple[int, int], side: int, color: str | None = None, **more: Any) -> Thing:
    """An object centered on a point, its longer side `side` pixels; `more`: a `material`, an `outline`…"""
    width, height = fitted(more.get("outline") or noun, side)
    x0, y0 = center[0] - width // 2, center[1] - height // 2
    return {"noun": noun, "color": color, "box": (x0, y0, x0 + width, y0 + height), **more}


def moved(item: Thing, dx: int, dy: int) -> Thing:
    x0, y0, x1, y1 = item["box"]
    return {**item, "box": (x0 + dx, y0 + dy, x1 + dx, y1 + dy)}


def center_of(item: Thing) -> tuple[int, int]:
    x0, y0, x1, y1 = item["box"]
    return (x0 + x1) // 2, (y0 + y1) // 2


def centered(item: Thing, point: tuple[int, int]) -> Thing:
    """A thing moved to where its center is at a point."""
    x, y = center_of(item)
    return moved(item, point[0] - x, point[1] - y)


def resized(item: Thing, center: tuple[int, int], side: int) -> Thing:
    """The same thing centered on a point, its longer side `side` pixels."""
    kept = {key: value for key, value in item.items() if key not in ("noun", "color", "box")}
    return thing(item["noun"], center, side, item["color"], **kept)


def describe(item: Thing, rng: np.random.Generator, with_article: bool = True) -> str:
    """'a blue strawberry': the noun phrase of one object."""
    words = [item["size"]] if item.get("size") else []
    if item["color"]:
        words.append(say_color(item["color"], rng))
    words.append(say(item["noun"], rng))
    phrase = " ".join(words)
    return article(phrase) if with_article else phrase


def rimmed(item: Thing) -> Thing:
    """A thing cut out with a rim of the paper it would stand on alone, like a sticker, to be seen before another."""
    return {**item, "rim": backgrounds.first_tint({item["color"]})}


def picture_of(item: Thing) -> Image.Image:
    """One object, RGBA, as large as its box. Never draw into it."""
    x0, y0, x1, y1 = item["box"]
    picture = sprite(item["noun"], x1 - x0, y1 - y0, item["color"], item.get("material"), item.get("outline"))
    return ImageOps.mirror(picture) if item.get("mirrored") else picture


def paste(canvas: Image.Image, item: Thing) -> None:
    """Draw one object into its box; a rim lies around it."""
    picture, (x, y) = picture_of(item), item["box"][:2]
    if item.get("rim"):
        canvas.paste(PALE[item["rim"]], (x - 2 * _RIM, y - 2 * _RIM), _spread(picture.getchannel("A")))
    canvas.paste(picture, (x, y), picture)


def _spread(silhouette: Image.Image) -> Image.Image:
    """A silhouette that is `_RIM` pixels wider all around, on a ground that is twice that.

    Of a straight edge, blurred, about `_RIM` pixels are above 45 of 255 and become solid; three more fade out at 24.
    """
    ground = ImageOps.expand(silhouette, 2 * _RIM)
    return ground.filter(ImageFilter.GaussianBlur(_RIM)).point(lambda blurred: min(255, max(0, (blurred - 24) * 12)))


def draw_scene(facts: Facts) -> Image.Image:
    """The background, then every thing in its order."""
    canvas = backgrounds.draw(facts["background"])
    for item in facts["things"]:
        paste(canvas, item)
    return canvas


def is_inside(box: Box, margin: int = 0) -> bool:
    """Whether a box lies on the canvas."""
    return min(box[:2]) >= margin and max(box[2:]) <= SIDE - margin


class Family(ABC):
    """One kind of picture: how it is planned, said, drawn, and falsely said."""

    name: ClassVar[str]
    weight: ClassVar[float] = 1.0
    """Share among the families, unless the world's configuration says otherwise."""
    kinds: ClassVar[tuple[str, ...]] = ()
    """What `kind` can say; a world can show some of these less often than others."""

    @abstractmethod
    def plan(self, stage: Stage) -> Facts:
        """Decide everything that the picture will show."""

    @abstractmethod
    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        """One of the true sentences about these facts."""

    def draw(self, facts: Facts) -> Image.Image:
        """An RGB picture of SIDE x SIDE, which the facts decide completely."""
        return draw_scene(facts)

    def kind(self, facts: Facts) -> str:
        """One of `kinds`, or nothing where there are none."""
        return ""

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts | None:
        """Facts that use the same words and are false of this picture; None where there are none."""
        return None

    def misname(self, facts: Facts, rng: np.random.Generator) -> Facts | None:
        """Facts in which something that captions name is taken for something else; None where there is nothing."""
        names = [item[key] for item in facts["things"] for key in _NAMES if item.get(key) in NAMED]
        if not names:
            return None
        wrong, right = str(rng.choice([noun for noun in NAMED if noun not in names])), str(rng.choice(names))
        return {**facts, "things": [_renamed(item, right, wrong) for item in facts["things"]]}

    def negative(self, facts: Facts, rng: np.random.Generator) -> str | None:
        """A caption of the same words that is false of this picture; None where there is none."""
        return self._said(self.twist(facts, rng), rng)

    def negatives(self, facts: Facts, rng: np.random.Generator) -> list[str]:
        """Captions that are false of this picture, and nearly true."""
        false = self.negative(facts, rng), self._said(self.misname(facts, rng), rng)
        return [caption for caption in false if caption is not None]

    def _said(self, facts: Facts | None, rng: np.random.Generator) -> str | None:
        return None if facts is None else self.caption(facts, rng)

    def combinations(self, facts: Facts) -> list[Combination]:
        """The combinations of words this picture teaches, for the held-out split."""
        return [("color", item["noun"], item["color"]) for item in facts["things"] if item["color"]]


def _renamed(item: Thing, noun: str, other: str) -> Thing:
    return {**item, **{key: other for key in _NAMES if item.get(key) == noun}}


def swap_colors(things: Sequence[Thing]) -> list[Thing] | None:
    """The same two things with each other's color; None where that would still be true of the picture."""
    first, second = things
    recolored: list[Thing] = [{**first, "color": second["color"]}, {**second, "color": first["color"]}]
    return recolored if any(map(_contradicts, recolored, things)) else None


def _contradicts(claimed: Thing, seen: Thing) -> bool:
    """Whether a thing is said to have a color that it does not have."""
    apparent = seen["color"] or natural_color(seen["noun"])
    return claimed["color"] is not None and claimed["color"] in unlike(apparent)
