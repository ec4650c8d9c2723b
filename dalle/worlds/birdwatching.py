"""The family of birds described part by part, as in CUB-200."""

from dataclasses import asdict
from typing import ClassVar

import numpy as np
from PIL import Image

from dalle.worlds import backgrounds
from dalle.worlds.birds import BirdSpec, bird_caption, bird_negative, draw_bird, random_bird
from dalle.worlds.scene import Facts, Family, Stage
from dalle.worlds.split import Combination

_SIDES = (256, 224, 192)


class Bird(Family):
    """As in "this bird is red with a yellow belly and a short beak"."""

    name: ClassVar[str] = "bird"
    weight: ClassVar[float] = 2.5

    def plan(self, stage: Stage) -> Facts:
        spec, side = random_bird(stage.rng), 256 if stage.small else int(stage.rng.choice(_SIDES))
        left, top = stage.vary((256 - side) // 2, (256 - side) // 2), 256 - side
        item = {"noun": "bird", "color": spec.body, "box": (left, top, left + side, top + side)}
        return {"things": [item], "bird": asdict(spec), "background": stage.plain_background(item)}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        return bird_caption(BirdSpec(**facts["bird"]), rng)

    def draw(self, facts: Facts) -> Image.Image:
        canvas = backgrounds.draw(facts["background"])
        x0, y0, x1, _ = facts["things"][0]["box"]
        picture = draw_bird(BirdSpec(**facts["bird"]), x1 - x0)
        canvas.paste(picture, (x0, y0), picture)
        return canvas

    def negative(self, facts: Facts, rng: np.random.Generator) -> str:
        return bird_negative(BirdSpec(**facts["bird"]), rng)

    def misname(self, facts: Facts, rng: np.random.Generator) -> None:
        """Captions do not say what a bird is."""

    def combinations(self, facts: Facts) -> list[Combination]:
        bird = facts["bird"]
        parts: list[Combination] = [("bird", part, bird["body"], bird[part]) for part in ("belly", "wing")]
        return [*super().combinations(facts), *parts]
