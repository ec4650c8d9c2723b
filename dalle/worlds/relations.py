"""Families of several objects: where they stand to each other, rows of them, and stacks of blocks."""

from itertools import pairwise
from typing import ClassVar

import numpy as np
from PIL import Image

from dalle.worlds import backgrounds
from dalle.worlds.objects import opening
from dalle.worlds.scene import (
    COMPANY_SIDE,
    CROWD_SIDE,
    SIDES,
    Facts,
    Family,
    Stage,
    Thing,
    center_of,
    centered,
    describe,
    draw_scene,
    moved,
    rimmed,
    swap_colors,
    thing,
)
from dalle.worlds.split import Combination
from dalle.worlds.words import listing

RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "left of", "on the left of"),
    "right of": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over", "floating above"),
    "below": ("below", "under", "beneath"),
    "on top of": ("on top of", "sitting on", "standing on"),
    "inside": ("inside", "in", "inside of"),
    "in front of": ("in front of", "standing in front of"),
    "behind": ("behind", "standing behind"),
}
INVERSE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}
CONTAINERS = (
    "house",
    "cup",
    "television",
    "heart",
    "book",
    "cube",
    "car",
    "boat",
    "moon",
    "computer",
    "star",
)


def arrange(relation: str, first: Thing, second: Thing, stage: Stage) -> tuple[Thing, Thing]:
    """Both things moved to where `first` is in `relation` to `second`; what covers part of the other has a rim."""
    if relation in ("left of", "right of", "above", "below"):
        near, far = stage.vary(64, 4), stage.vary(192, 4)
        aside = stage.vary(128, 24)
        start, end = (near, far) if relation in ("left of", "above") else (far, near)
        points = ((start, aside), (end, aside)) if relation.endswith("of") else ((aside, start), (aside, end))
        return centered(first, points[0]), centered(second, points[1])
    if relation == "on top of":
        second = centered(second, (stage.vary(128, 40), 128))
        second = stage.align(moved(second, 0, 248 - second["box"][3]))
        first = centered(first, (center_of(second)[0], 0))
        return stage.align(moved(first, 0, second["box"][1] + 4 - first["box"][3])), second
    if relation == "inside":
        point = (128, 128)
        return rimmed(centered(first, point)), centered(second, point)
    front, back = (stage.vary(176, 8), 176), (stage.vary(96, 8), 96)
    if relation == "in front of":
        return rimmed(centered(first, front)), centered(second, back)
    return centered(first, back), rimmed(centered(second, front))


_PAIR_SIDES = {
    "inside": (COMPANY_SIDE, SIDES["large"]),
    "in front of": (COMPANY_SIDE, SIDES[None]),
    "behind": (SIDES[None], COMPANY_SIDE),
}


def _pair_sides(relation: str, stage: Stage) -> tuple[int, int]:
    first, second = _PAIR_SIDES.get(relation, (COMPANY_SIDE, COMPANY_SIDE))
    return stage.lessen(first, 16), stage.lessen(second, 16)


class Relation(Family):
    """As in "a dog to the left of a cat", "a red cube on top of a blue cube"."""

    name: ClassVar[str] = "relation"
    weight: ClassVar[float] = 5.0
    kinds: ClassVar[tuple[str, ...]] = tuple(RELATIONS)

    def plan(self, stage: Stage) -> Facts:
        relation = stage.pick(self.kinds)
        nouns = self._nouns(relation, stage)
        colored = nouns[0] == nouns[1] or stage.chance(0.55)
        colors: list[str | None] = [None, None]
        if colored:
            colors = [*stage.pick_distinct(stage.vocabulary.colors, 2)]
        if colored and nouns[0] != nouns[1] and stage.chance(0.3):
            colors[int(stage.rng.integers(2))] = None
        sides = _pair_sides(relation, stage)
        pair = [thing(n, (128, 128), s, c, **stage.pose()) for n, s, c in zip(nouns, sides, colors, strict=True)]
        first, second = arrange(relation, pair[0], pair[1], stage)
        return {
            "relation": relation,
            "things": [first, second],
            "background": stage.background(first, second),
        }

    def _nouns(self, relation: str, stage: Stage) -> list[str]:
        if relation != "inside" and stage.chance(0.2):
            return [stage.pick(stage.vocabulary.shapes), stage.pick(stage.vocabulary.shapes)]
        if relation == "inside":
            inner, outer = stage.pick(stage.vocabulary.nouns), stage.pick(CONTAINERS)
            return [inner, outer] if inner != outer else ["dog", outer]
        return stage.pick_distinct((*stage.vocabulary.nouns, *stage.vocabulary.shapes), 2)

    def draw(self, facts: Facts) -> Image.Image:
        first, second = facts["things"]
        back_to_front = [first, second] if facts["relation"] == "behind" else [second, first]
        return draw_scene({**facts, "things": back_to_front})

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        start = opening(rng)
        return start + self.phrase(facts, rng, verb=not start and rng.random() < 0.15)

    def phrase(self, facts: Facts, rng: np.random.Generator, verb: bool = False) -> str:
        """'a dog to the left of a cat'; with a verb, 'a dog is to the left of a cat'."""
        first, second = (describe(item, rng) for item in facts["things"])
        relation = facts["relation"]
        if relation in INVERSE and rng.random() < 0.15:
            first, second, relation = second, first, INVERSE[relation]
        wording = RELATIONS[relation][0] if rng.random() < 0.5 else str(rng.choice(RELATIONS[relation]))
        if verb:
            wording = f"is {wording}"
        return f"{first} {wording} {second}{backgrounds.phrase(facts['background'], rng)}"

    def kind(self, facts: Facts) -> str:
        return facts["relation"]

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts | None:
        swapped = swap_colors(facts["things"])
        if swapped and rng.random() < 0.5:
            return {**facts, "things": swapped}
        return {**facts, "things": facts["things"][::-1]}

    def combinations(self, facts: Facts) -> list[Combination]:
        first, second = facts["things"]
        triple: Combination = ("relation", first["noun"], facts["relation"], second["noun"])
        return [*super().combinations(facts), triple]


class Row(Family):
    """As in "a dog, a cat, and a snail in a row"; "a red cube between two blue cubes"."""

    name: ClassVar[str] = "row"
    weight: ClassVar[float] = 1.2

    def plan(self, stage: Stage) -> Facts:
        count = 3 if stage.chance(0.7) else 4
        nouns = stage.pick_distinct(stage.vocabulary.nouns, count)
        centers = (48, 128, 208) if count == 3 else (32, 96, 160, 224)
        y = stage.vary(128, 60)
        things = [thing(noun, (x, y), CROWD_SIDE, stage.color(0.35)) for noun, x in zip(nouns, centers, strict=True)]
        return {"things": things, "background": stage.background(*things)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        if rng.random() < 0.5:
            return self._in_order(facts, rng)
        names = [describe(item, rng) for item in facts["things"]]
        together = str(rng.choice(["in a row", "side by side", "next to each other"]))
        place = backgrounds.phrase(facts["background"], rng)
        return f"{opening(rng)}{listing(names)} {together}{place}"

    def negative(self, facts: Facts, rng: np.random.Generator) -> str:
        first, second, *rest = facts["things"]
        return self._in_order({**facts, "things": [second, first, *rest]}, rng)

    def _in_order(self, facts: Facts, rng: np.random.Generator) -> str:
        """A wording that becomes false when the things change places."""
        names = [describe(item, rng) for item in facts["things"]]
        place = backgrounds.phrase(facts["background"], rng)
        if len(names) == 3 and rng.random() < 0.6:
            left, middle, right = names
            sides = [left, right] if rng.random() < 0.5 else [right, left]
            return f"{middle} between {sides[0]} and {sides[1]}{place}"
        return f"{opening(rng)}{listing(names)} from left to right{place}"

    def combinations(self, facts: Facts) -> list[Combination]:
        nouns = [item["noun"] for item in facts["things"]]
        pairs: list[Combination] = [("relation", a, "left of", b) for a, b in pairwise(nouns)]
        return [*super().combinations(facts), *pairs]


class Trio(Family):
    """As in "a star above a dog and a cat", "a dog to the left of a cat, with a star above them"."""

    name: ClassVar[str] = "trio"
    weight: ClassVar[float] = 1.2

    def plan(self, stage: Stage) -> Facts:
        nouns = stage.pick_distinct(stage.vocabulary.nouns, 3)
        above = stage.chance(0.5)
        near, far = (64, 192) if above else (192, 64)
        centers = ((64, far), (192, far), (128, near))
        sides = [stage.lessen(COMPANY_SIDE, 16) for _ in nouns]
        things = [
            thing(noun, (stage.vary(x, 4), stage.vary(y, 4)), side, stage.color(0.4))
            for noun, (x, y), side in zip(nouns, centers, sides, strict=True)
        ]
        relation = "above" if above else "below"
        return {"things": things, "relation": relation, "background": stage.background(*things)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        left, right, other = (describe(item, rng) for item in facts["things"])
        relation = facts["relation"]
        sentences = (
            f"{left} to the left of {right}, with {other} {relation} them",
            f"{other} {relation} {left} and {right}",
            f"{left} and {right} {INVERSE[relation]} {other}",
            f"{right} to the right of {left}, and {other} {relation} them",
        )
        return opening(rng) + str(rng.choice(sentences)) + backgrounds.phrase(facts["background"], rng)

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        left, right, other = facts["things"]
        return {**facts, "things": [left, other, right]}

    def combinations(self, facts: Facts) -> list[Combination]:
        left, right, other = (item["noun"] for item in facts["things"])
        relation = facts["relation"]
        triples: list[Combination] = [
            ("relation", left, "left of", right),
            ("relation", other, relation, left),
            ("relation", other, relation, right),
        ]
        return [*super().combinations(facts), *triples]


class Stack(Family):
    """As in "a stack of 3 cubes. a red cube is on the top, sitting on a green cube. …"."""

    name: ClassVar[str] = "stack"
    weight: ClassVar[float] = 1.2

    def plan(self, stage: Stage) -> Facts:
        count = int(stage.rng.integers(2, 5))
        colors = stage.pick_distinct(stage.vocabulary.colors, count)
        side = {2: 112, 3: 80, 4: 64}[count]
        x, step = stage.vary(128, 50), round(side * 0.75)
        height = step * (count - 1) + side
        top = (256 - height) // 2 + side // 2
        things = [thing("cube", (x, top + step * level), side, color) for level, color in enumerate(colors)]
        return {"things": things[::-1], "background": stage.background(*things)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        blocks = [describe(item, rng) for item in facts["things"][::-1]]  # top first
        place = backgrounds.phrase(facts["background"], rng)
        if len(blocks) == 3 and rng.random() < 0.5:
            top, middle, bottom = blocks
            the_middle, the_bottom = (f"the {block.partition(' ')[2]}" for block in (middle, bottom))
            return (
                f"a stack of 3 cubes. {top} is on the top, sitting on {middle}. "
                f"{the_middle} is in the middle, sitting on {bottom}. {the_bottom} is on the bottom."
            )
        if rng.random() < 0.5:
            return " on top of ".join(blocks) + place
        return f"a stack of {listing(blocks)}, from top to bottom{place}"

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        things = list(facts["things"])
        return {**facts, "things": [things[1], things[0], *things[2:]]}

    def combinations(self, facts: Facts) -> list[Combination]:
        colors = [item["color"] for item in facts["things"]]
        return [("stack", upper, lower) for lower, upper in pairwise(colors)]
