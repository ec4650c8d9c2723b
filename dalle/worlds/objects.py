"""Families of one kind of object: one of it, or a number of them."""

from typing import ClassVar

import numpy as np

from dalle.worlds import backgrounds
from dalle.worlds.colors import unlike
from dalle.worlds.scene import COMPANY_SIDE, CROWD_SIDE, SIDES, Facts, Family, Stage, Thing, describe, thing
from dalle.worlds.vocabulary import say, say_color, say_plural
from dalle.worlds.words import NUMBERS, article

SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "little"),
    "large": ("large", "big", "huge", "giant"),
}
_OPENINGS = ("an illustration of ", "a picture of ", "a drawing of ", "an image of ", "an emoji of ")


def opening(rng: np.random.Generator) -> str:
    """'an illustration of ', or nothing most of the time."""
    return str(rng.choice(_OPENINGS)) if rng.random() < 0.2 else ""


class SingleObject(Family):
    """As in "a blue strawberry", "a tiny dog on the beach", "red bird"."""

    name: ClassVar[str] = "object"
    weight: ClassVar[float] = 5.0

    def plan(self, stage: Stage) -> Facts:
        noun, color = stage.pick(stage.vocabulary.nouns), stage.color(0.6)
        size = stage.pick(tuple(SIZES)) if stage.chance(0.2) else None
        side = SIDES[size]
        if not stage.small and size is None:
            side = stage.vary(side, 36)
        room = (240 - side) // 2
        center = (128, 128) if stage.small else (stage.vary(128, room), stage.vary(128, room))
        item = thing(noun, center, side, color, **stage.pose())
        return {"things": [item], "size": size, "background": stage.background(item)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        (item,) = facts["things"]
        place = backgrounds.phrase(facts["background"], rng)
        if rng.random() < 0.2:
            return describe(self._sized(facts, rng), rng, with_article=False) + place
        start = opening(rng)
        if item["color"] and not facts["size"] and rng.random() < 0.08:
            return f"{start}{article(say(item['noun'], rng))} that is {say_color(item['color'], rng)}{place}"
        return start + self.phrase(facts, rng)

    def phrase(self, facts: Facts, rng: np.random.Generator) -> str:
        """'a tiny blue strawberry in the snow'."""
        return describe(self._sized(facts, rng), rng) + backgrounds.phrase(facts["background"], rng)

    def _sized(self, facts: Facts, rng: np.random.Generator) -> Thing:
        (item,) = facts["things"]
        return {**item, "size": str(rng.choice(SIZES[facts["size"]]))} if facts["size"] else item

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts | None:
        (item,), background = facts["things"], facts["background"]
        if item["color"]:
            return {**facts, "things": [{**item, "color": str(rng.choice(unlike(item["color"])))}]}
        if facts["size"]:
            return {**facts, "size": "large" if facts["size"] == "small" else "small"}
        if background["kind"] == "place":
            others = [place for place in backgrounds.PLACES if place != background["place"]]
            return {**facts, "background": {**background, "place": str(rng.choice(others))}}
        return None


def layout(count: int) -> tuple[int, list[tuple[int, int]]]:
    """Side of one object and the centers of `count` of them, in rows."""
    if count == 1:
        return SIDES[None], [(128, 128)]
    if count <= 4:
        rows, side = {2: (2,), 3: (2, 1), 4: (2, 2)}[count], COMPANY_SIDE
        columns = {1: (128,), 2: (64, 192)}
    else:
        rows, side = {5: (3, 2), 6: (3, 3), 7: (3, 3, 1), 8: (3, 3, 2), 9: (3, 3, 3)}[count], CROWD_SIDE
        columns = {1: (128,), 2: (80, 176), 3: (48, 128, 208)}
    heights = {1: (128,), 2: (64, 192) if count <= 4 else (80, 176), 3: (48, 128, 208)}[len(rows)]
    return side, [(x, y) for y, wide in zip(heights, rows, strict=True) for x in columns[wide]]


class Count(Family):
    """As in "three pizzas", "a collection of seven blue stars"."""

    name: ClassVar[str] = "count"
    weight: ClassVar[float] = 2.5

    def plan(self, stage: Stage) -> Facts:
        noun, color, count = (
            stage.pick(stage.vocabulary.nouns),
            stage.color(0.4),
            int(stage.rng.integers(1, 10)),
        )
        side, centers = layout(count)
        side = stage.lessen(side, side // 4)
        things = [thing(noun, (stage.vary(x, 6), stage.vary(y, 6)), side, color) for x, y in centers]
        return {"things": things, "count": count, "background": stage.background(*things)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        item, count = facts["things"][0], facts["count"]
        number = NUMBERS[count] if rng.random() < 0.85 else str(count)
        color = f"{say_color(item['color'], rng)} " if item["color"] else ""
        noun = say(item["noun"], rng) if count == 1 else say_plural(item["noun"], rng)
        place = backgrounds.phrase(facts["background"], rng)
        start = "a group of " if count > 2 and rng.random() < 0.08 else opening(rng)
        return f"{start}{number} {color}{noun}{place}"

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        others = [count for count in range(1, 10) if count != facts["count"]]
        return {**facts, "count": int(rng.choice(others))}
