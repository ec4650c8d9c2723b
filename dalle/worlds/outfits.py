"""The family of outfits: up to four pieces of clothing, each in its own color."""

from typing import ClassVar

import numpy as np

from dalle.worlds import backgrounds
from dalle.worlds.scene import Facts, Family, Stage, Thing, thing
from dalle.worlds.split import Combination
from dalle.worlds.vocabulary import say, say_color
from dalle.worlds.wearing import worn
from dalle.worlds.words import article, listing

WEARERS = ("penguin", "panda", "fox", "frog", "owl", "robot", "avocado", "strawberry", "koala", "bear")
_PIECES = ("hat", "gloves", "shirt", "pants")
_BODY_PARTS = (("pants", "jeans", (128, 212), 84), ("shirt", "t-shirt", (128, 156), 104))
_HANDS = ((68, 170), (188, 170))


class Outfit(Family):
    """As in "an emoji of a baby penguin wearing a blue hat, red gloves, green shirt, and yellow pants"."""

    name: ClassVar[str] = "outfit"
    weight: ClassVar[float] = 1.5

    def plan(self, stage: Stage) -> Facts:
        noun = stage.pick(stage.vocabulary.among(WEARERS))
        colors = dict(zip(_PIECES, stage.pick_distinct(stage.vocabulary.colors, 4), strict=True))
        head = thing(noun, (128, 92), stage.vary(92, 6), role="head")
        clothes = [thing(glyph, at, side, colors[piece], role=piece) for piece, glyph, at, side in _BODY_PARTS]
        gloves = [thing("gloves", at, 40, colors["gloves"], role="gloves") for at in _HANDS]
        things = [*clothes, head, *gloves, {**worn("hat", head, colors["hat"]), "role": "hat"}]
        return {"things": things, "background": stage.background(*things)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        by_role: dict[str, Thing] = {item["role"]: item for item in facts["things"]}
        noun = say(by_role["head"]["noun"], rng)
        wearer = article(f"baby {noun}" if rng.random() < 0.4 else noun)
        pieces = [f"{say_color(by_role[piece]['color'], rng)} {piece}" for piece in _PIECES]
        pieces[0] = article(pieces[0])
        start = str(rng.choice(["an emoji of ", "an emoji of ", "an illustration of ", ""]))
        word = str(rng.choice(["wearing", "wearing", "in"]))
        return f"{start}{wearer} {word} {listing(pieces)}{backgrounds.phrase(facts['background'], rng)}"

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        colors = {item["role"]: item["color"] for item in facts["things"]}
        one, other = (str(piece) for piece in rng.choice(_PIECES, size=2, replace=False))
        colors[one], colors[other] = colors[other], colors[one]
        return {**facts, "things": [{**item, "color": colors[item["role"]]} for item in facts["things"]]}

    def combinations(self, facts: Facts) -> list[Combination]:
        colors = {item["role"]: item["color"] for item in facts["things"]}
        return [("outfit", colors["hat"], colors["shirt"])]
