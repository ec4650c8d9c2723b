"""Families of unrelated concepts: a snail made of violins, a clock in the shape of a heart."""

from typing import ClassVar

import numpy as np

from dalle.worlds import backgrounds
from dalle.worlds.objects import opening
from dalle.worlds.scene import Facts, Family, Stage, describe, thing
from dalle.worlds.split import Combination
from dalle.worlds.sprites import POLYGONS
from dalle.worlds.vocabulary import ANIMALS, FOODS, THINGS, say, say_plural
from dalle.worlds.words import article

_SIDE = 192
MATERIALS = (
    "violin", "strawberry", "pizza", "banana", "avocado", "apple", "lemon", "watermelon", "flower",
    "star", "heart", "mushroom", "carrot", "cherry", "burger", "car", "clock", "cactus", "book", "key",
)  # fmt: skip
OUTLINES = (
    "heart",
    "star",
    "avocado",
    "apple",
    "mushroom",
    "strawberry",
    "banana",
    "house",
    "cat",
    "fish",
    "cactus",
)
PRODUCTS = (
    "clock",
    "chair",
    "lamp",
    "teapot",
    "television",
    "phone",
    "radio",
    "camera",
    "car",
    "pizza",
    "cake",
    "book",
)


class MadeOf(Family):
    """As in "a snail made of violin. a snail with the texture of a violin"."""

    name: ClassVar[str] = "made_of"
    weight: ClassVar[float] = 2.5

    def plan(self, stage: Stage) -> Facts:
        words = stage.vocabulary
        bodies = (
            (*words.among(ANIMALS + FOODS + THINGS), *words.shapes) if stage.small else (*words.nouns, *words.shapes)
        )
        materials = words.among(MATERIALS) if stage.small or stage.chance(0.5) else words.nouns
        material = stage.pick(materials)
        noun = stage.pick([body for body in bodies if body != material])
        side = stage.vary(_SIDE, 24)
        item = thing(noun, (stage.vary(128, 16), stage.vary(128, 16)), side, material=material)
        return {"things": [item], "background": stage.background(item)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        (item,) = facts["things"]
        noun, material = say(item["noun"], rng), item["material"]
        body, one, many = article(noun), article(say(material, rng)), say_plural(material, rng)
        place = backgrounds.phrase(facts["background"], rng)
        made, texture = f"{body} made of {say(material, rng)}", f"{body} with the texture of {one}"
        sentences = (
            f"{made}. {texture}.",
            f"{made}. {texture}.",
            made + place,
            f"{body} made of {many}{place}",
            f"{body} made out of {many}{place}",
            texture + place,
            f"{body} that looks like it is made of {many}{place}",
        )
        return opening(rng) + str(rng.choice(sentences))

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        (item,) = facts["things"]
        return {**facts, "things": [{**item, "noun": item["material"], "material": item["noun"]}]}

    def combinations(self, facts: Facts) -> list[Combination]:
        (item,) = facts["things"]
        return [("material", item["noun"], item["material"])]


class InShapeOf(Family):
    """As in "a clock in the shape of a heart", "a pentagon green clock"."""

    name: ClassVar[str] = "in_shape_of"
    weight: ClassVar[float] = 1.5

    def plan(self, stage: Stage) -> Facts:
        words = stage.vocabulary
        outlines = (*words.among(OUTLINES), *POLYGONS) if stage.small else (*words.nouns, *POLYGONS)
        noun = stage.pick(words.among(PRODUCTS) if stage.small or stage.chance(0.5) else words.nouns)
        outline = stage.pick([other for other in outlines if other != noun])
        center = (stage.vary(128, 16), stage.vary(128, 16))
        item = thing(noun, center, stage.vary(_SIDE, 24), stage.color(0.35), outline=outline)
        return {"things": [item], "background": stage.background(item)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        (item,) = facts["things"]
        shape, place = say(item["outline"], rng), backgrounds.phrase(facts["background"], rng)
        body = describe(item, rng)
        sentences = [
            f"{body} in the shape of {article(shape)}{place}",
            f"{body} imitating {article(shape)}{place}",
            f"{article(shape)}-shaped {describe(item, rng, with_article=False)}{place}",
            f"{body} in the form of {article(shape)}{place}",
        ]
        if item["outline"] in POLYGONS:
            sentences.append(f"{article(_ADJECTIVES[shape])} {describe(item, rng, with_article=False)}{place}")
        return opening(rng) + str(rng.choice(sentences))

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts | None:
        (item,) = facts["things"]
        others = [shape for shape in POLYGONS if shape != item["outline"]]
        if item["outline"] in POLYGONS:
            return {**facts, "things": [{**item, "outline": str(rng.choice(others))}]}
        return {**facts, "things": [{**item, "noun": item["outline"], "outline": item["noun"]}]}

    def combinations(self, facts: Facts) -> list[Combination]:
        (item,) = facts["things"]
        return [*super().combinations(facts), ("outline", item["noun"], item["outline"])]


_ADJECTIVES = {
    "triangle": "triangular",
    "square": "square",
    "pentagon": "pentagonal",
    "hexagon": "hexagonal",
    "heptagon": "heptagonal",
}
