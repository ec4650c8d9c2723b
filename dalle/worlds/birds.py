"""A parametric bird, its captions in the manner of CUB-200, and captions that are wrong about it.

A bird is a frozen `BirdSpec`; `draw_bird` draws it, `bird_facts` lists everything true of it. A caption is
worded from some of these facts (`word_caption`), so it can leave things out but never lie; a negative caption
is worded in the same way from twisted facts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from dalle.worlds.colors import COLORS, RGB, shade
from dalle.worlds.easel import Easel, edge_color, smooth
from dalle.worlds.words import article, listing

PLUMAGE = tuple(COLORS)
BEAKS = ("black", "gray", "orange", "yellow", "red", "brown")
LEGS = ("black", "gray", "orange", "yellow", "red", "brown", "pink")
SIZES = {"small": 0.66, "": 0.86, "large": 1.0}
"""Size words and the share of the picture that the bird takes; '' is a bird of no remarkable size."""


@dataclass(frozen=True)
class BirdSpec:
    """What a bird looks like. Colors are names of `COLORS`; '' means that the part is not there."""

    body: str
    belly: str
    wing: str
    head: str
    beak: str
    legs: str
    beak_length: str = "short"
    size: str = ""
    eyering: str = ""
    crown: str = ""
    striped_wings: bool = False
    shiny: bool = False


@dataclass(frozen=True)
class Fact:
    """One statement: `part` is a field of `BirdSpec`, `value` what it holds ('yes' for a set flag)."""

    part: str
    value: str


COLORED_PARTS = ("body", "belly", "wing", "head", "beak", "legs", "eyering", "crown")


def random_bird(rng: np.random.Generator) -> BirdSpec:
    """A bird of one main color, on average with one part of another."""

    def pick(colors: tuple[str, ...], *but: str) -> str:
        return str(rng.choice([color for color in colors if color not in but]))

    def plumage(chance: float, *but: str) -> str:
        return pick(PLUMAGE, body, *but) if rng.random() < chance else body

    body = pick(PLUMAGE)
    belly, wing, head = plumage(0.4), plumage(0.35), plumage(0.2)
    return BirdSpec(
        body=body,
        belly=belly,
        wing=wing,
        head=head,
        beak=pick(BEAKS, head),
        legs=pick(LEGS, body),
        beak_length=str(rng.choice(["short", "long"])),
        size=str(rng.choice(list(SIZES), p=[0.25, 0.5, 0.25])),
        eyering=pick(("white", "yellow", "red"), head) if rng.random() < 0.15 else "",
        crown=pick(PLUMAGE, head) if rng.random() < 0.18 else "",
        striped_wings=bool(rng.random() < 0.18),
        shiny=bool(rng.random() < 0.25),
    )


def bird_facts(spec: BirdSpec) -> tuple[Fact, ...]:
    """All that can truly be said of the bird."""
    values = ((field.name, getattr(spec, field.name)) for field in fields(spec))
    return tuple(Fact(part, "yes" if value is True else value) for part, value in values if value)


def choose_facts(spec: BirdSpec, rng: np.random.Generator) -> tuple[Fact, ...]:
    """What a caption mentions: nearly always the main color, mostly what strikes the eye, seldom the rest."""
    facts = [fact for fact in bird_facts(spec) if rng.random() < _chance_of_mention(fact, spec)]
    if all(fact.part in ("shiny", "size") for fact in facts):
        facts.append(Fact("body", spec.body))
    return tuple(facts)


def _chance_of_mention(fact: Fact, spec: BirdSpec) -> float:
    if fact.part in ("belly", "wing", "head"):
        return 0.1 if fact.value == spec.body else 0.75
    return {"body": 0.93, "beak_length": 0.3, "beak": 0.15, "legs": 0.15, "size": 0.6}.get(fact.part, 0.75)


def word_caption(facts: tuple[Fact, ...], rng: np.random.Generator) -> str:
    """A caption that says these facts and nothing else. At least one must be a color or a part."""
    said = {fact.part: fact.value for fact in facts}

    def either(*wordings: str) -> str:
        return wordings[rng.integers(len(wordings))]

    color, size = said.get("body", ""), said.get("size", "")
    shiny = either("shiny", "very shiny", "glossy") if "shiny" in said else ""
    parts = _word_parts(said, either)
    rng.shuffle(parts)
    tail = either(" with ", " with ", " that has ") + listing(parts) if parts else ""
    if not color:
        bird = _spaced(size, shiny, "bird")
        return either(f"this {bird} has {listing(parts)}", f"{article(bird)} with {listing(parts)}")
    if rng.random() < 0.4:
        look = listing([word for word in (size, shiny, color) if word]) + either("", "", " in color")
        has = either(" with ", " with ", " and has ") + listing(parts) if parts else ""
        return either("this bird is ", "the bird is ", "this bird is ", "a bird that is ") + look + has
    bird = _spaced(size, shiny, either(color, color, f"{color} colored"), "bird")
    return either(bird, article(bird), f"this is {article(bird)}") + tail


def bird_caption(spec: BirdSpec, rng: np.random.Generator) -> str:
    """A true caption, such as "this bird is red with a yellow belly and a short beak"."""
    return word_caption(choose_facts(spec, rng), rng)


def twist_facts(spec: BirdSpec, facts: tuple[Fact, ...], rng: np.random.Generator) -> tuple[Fact, ...]:
    """Facts false of this bird: two colors exchanged, or one replaced by a color it has nowhere."""
    twisted = {fact.part: fact.value for fact in facts}
    if not set(twisted) & set(COLORED_PARTS):
        twisted["body"] = spec.body
    colored = [part for part in twisted if part in COLORED_PARTS]
    wrong = str(rng.choice(colored))
    others = [part for part in colored if twisted[part] != twisted[wrong]]
    if others and rng.random() < 0.5:
        other = str(rng.choice(others))
        twisted[wrong], twisted[other] = twisted[other], twisted[wrong]
    else:
        owned = {fact.value for fact in bird_facts(spec)}
        twisted[wrong] = str(rng.choice([color for color in PLUMAGE if color not in owned]))
    return tuple(Fact(part, value) for part, value in twisted.items())


def bird_negative(spec: BirdSpec, rng: np.random.Generator) -> str:
    """A caption in the words of a true one, false in one color or in two that are exchanged."""
    return word_caption(twist_facts(spec, choose_facts(spec, rng), rng), rng)


def _word_parts(said: dict[str, str], either: Callable[..., str]) -> list[str]:
    """Noun phrases with their articles; beak and its length, wings and their stripes are one phrase each."""
    phrases = []
    if "belly" in said:
        phrases.append(article(f"{said['belly']} {either('belly', 'belly', 'breast')}"))
    if "head" in said:
        phrases.append(article(f"{said['head']} head"))
    if "crown" in said:
        phrases.append(article(f"{said['crown']} {either('crown', 'cap')}"))
    if "eyering" in said:
        phrases.append(article(f"{said['eyering']} {either('eyering', 'ring around its eye')}"))
    if "wing" in said or "striped_wings" in said:
        phrases.append(_spaced("striped" if "striped_wings" in said else "", said.get("wing", ""), "wings"))
    if "beak" in said or "beak_length" in said:
        beak = either("beak", "beak", "bill")
        phrases.append(article(_spaced(said.get("beak_length", ""), said.get("beak", ""), beak)))
    if "legs" in said:
        phrases.append(f"{said['legs']} {either('legs', 'feet')}")
    return phrases


def _spaced(*words: str) -> str:
    return " ".join(word for word in words if word)


# ---------------------------------------------------------------------------------------------- drawing

_BODY = (
    (205, 96),
    (199, 138),
    (172, 178),
    (128, 196),
    (88, 184),
    (62, 156),
    (72, 128),
    (112, 108),
    (140, 84),
)
_HEAD_BOX = (130, 38, 210, 118)
_NECK = ((142, 88), (196, 96), (190, 116), (150, 122), (124, 104))
_TAIL = ((84, 138), (70, 170), (34, 196), (14, 196), (8, 182), (30, 160), (58, 134))
_BELLY = ((200, 112), (200, 142), (174, 182), (128, 200), (100, 190), (122, 172), (152, 148), (174, 120))
_WING = (
    (140, 112),
    (152, 132),
    (138, 156),
    (104, 170),
    (58, 172),
    (36, 166),
    (66, 146),
    (96, 116),
    (120, 104),
)
_WING_BARS = (((128, 116), (114, 162)), ((106, 122), (90, 166)), ((84, 138), (68, 168)))
_CROWN = ((134, 66), (142, 46), (168, 34), (194, 42), (204, 62), (186, 56), (160, 56))
_EYE, _EYE_RADIUS = (180, 72), 7.5
_BEAKS = {"short": ((204, 66), (227, 78), (203, 91)), "long": ((203, 66), (252, 80), (202, 90))}
_LEG_TOPS, _LEG_DROP, _PERCH = ((116, 190), (142, 190)), 34, 224


def draw_bird(spec: BirdSpec, size: int = 256) -> Image.Image:
    """The bird on a twig, seen from its right side: RGBA of `size` x `size`, transparent around it."""
    easel = Easel(size, scale=SIZES[spec.size])
    _perch(easel)
    _legs(easel, COLORS[spec.legs])
    easel.shape(smooth(_TAIL), shade(COLORS[spec.wing], 0.93))
    _trunk(easel, spec)
    _wing(easel, spec)
    if spec.crown:
        easel.shape(smooth(_CROWN), COLORS[spec.crown])
    _face(easel, spec)
    if spec.shiny:
        _shine(easel)
    return easel.finished()


def _perch(easel: Easel) -> None:
    bark, leaf = (122, 84, 54), (92, 168, 74)
    easel.line(((20, _PERCH + 8), (128, _PERCH), (240, _PERCH + 6)), bark, 9)
    easel.shape(smooth(((238, 228), (224, 214), (230, 198), (246, 210))), leaf, 1.5)


def _legs(easel: Easel, color: RGB) -> None:
    for x, y in _LEG_TOPS:
        foot = (x + 4, y + _LEG_DROP)
        easel.line(((x, y), foot), color, 6)
        easel.line(((foot[0] - 8, foot[1] + 4), foot, (foot[0] + 10, foot[1] + 4)), color, 5)


def _trunk(easel: Easel, spec: BirdSpec) -> None:
    """Body, belly and head; the belly ends where the body ends, the head overlaps both."""
    body = smooth(_BODY)
    easel.shape(body, COLORS[spec.body])
    if spec.belly != spec.body:
        patch = ImageChops.multiply(easel.mask(smooth(_BELLY)), easel.mask(body))
        easel.image.paste((*COLORS[spec.belly], 255), mask=patch)
    easel.line((*body, body[0], body[1]), edge_color(COLORS[spec.body]), 2.5)
    x0, y0, x1, y1 = _HEAD_BOX
    head, center, radius = COLORS[spec.head], ((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0) / 2
    easel.disc(center, radius, edge_color(head))
    easel.disc(center, radius - 2.5, head)
    if spec.head == spec.body:
        easel.polygon(smooth(_NECK), head)


def _wing(easel: Easel, spec: BirdSpec) -> None:
    wing = COLORS[spec.wing]
    color = shade(wing, 0.93 if spec.wing == "white" else 0.86) if spec.wing == spec.body else wing
    points = smooth(_WING)
    easel.shape(points, color, 3)
    if spec.striped_wings:
        bars = Image.new("L", easel.image.size)
        for ends in _WING_BARS:
            ImageDraw.Draw(bars).line([easel.at(end) for end in ends], fill=255, width=easel.length(7))
        stripe = (30, 30, 34) if spec.wing in ("white", "yellow", "pink", "orange") else (250, 250, 250)
        easel.image.paste((*stripe, 255), mask=ImageChops.multiply(bars, easel.mask(points)))
    else:
        for (x0, y0), (x1, y1) in _WING_BARS[1:]:
            easel.line(((x0 - 16, y0 + 34), (x1 - 26, y1 + 2)), edge_color(color), 2)


def _face(easel: Easel, spec: BirdSpec) -> None:
    beak = _BEAKS[spec.beak_length]
    easel.shape(beak, COLORS[spec.beak], 2)
    tip, root = beak[1], (beak[0][0] + 2, (beak[0][1] + beak[2][1]) / 2)
    easel.line((root, tip), edge_color(COLORS[spec.beak]), 2)
    if spec.eyering:
        easel.disc(_EYE, _EYE_RADIUS + 6, COLORS[spec.eyering])
    elif spec.head == "black":
        easel.disc(_EYE, _EYE_RADIUS + 2, (120, 120, 126))
    easel.disc(_EYE, _EYE_RADIUS, (16, 16, 20))
    easel.disc((_EYE[0] + 2.5, _EYE[1] - 2.5), 2.6, (255, 255, 255))


def _shine(easel: Easel) -> None:
    """Specular highlights: soft streaks of light, and two four-pointed sparkles."""
    gloss = Image.new("L", easel.image.size)
    pen = ImageDraw.Draw(gloss)
    for x0, y0, x1, y1 in ((142, 48, 166, 62), (84, 122, 122, 138), (172, 124, 184, 152)):
        pen.ellipse((*easel.at((x0, y0)), *easel.at((x1, y1))), fill=245)
    gloss = gloss.filter(ImageFilter.BoxBlur(easel.length(2)))
    easel.image.paste((255, 255, 255, 255), mask=gloss)
    for x, y, r in ((112, 66, 16), (58, 112, 11)):
        turns = np.arange(8) * np.pi / 4
        reach = np.where(np.arange(8) % 2, 0.28 * r, r)
        star = tuple((x + d * np.cos(turn), y + d * np.sin(turn)) for d, turn in zip(reach, turns, strict=True))
        easel.shape(star, (255, 250, 214), 1.2)
