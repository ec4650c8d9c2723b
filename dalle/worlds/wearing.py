"""The family of figures: animals, fruits and robots that wear, hold, ride and play things, or walk a dog."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw

from dalle.worlds import backgrounds
from dalle.worlds.objects import opening
from dalle.worlds.scene import SIDES, Facts, Family, Stage, Thing, center_of, describe, moved, paste, swap_colors, thing
from dalle.worlds.split import Combination
from dalle.worlds.sprites import fitted

HEADGEAR = ("hat", "helmet", "top hat", "crown", "cap", "graduation cap")
EYEWEAR = ("glasses", "sunglasses")
_ALIKE = (("hat", "top hat", "cap", "graduation cap"), EYEWEAR)
HELD = ("umbrella", "flower", "balloon", "book", "key", "star", "heart", "ice cream", "lamp", "kite")
RIDDEN = ("bicycle", "boat", "car", "rocket", "skateboard", "motorcycle", "snail", "elephant")
PLAYED = ("guitar", "violin", "trumpet", "saxophone", "long drum", "accordion", "banjo")
WALKED = ("dog", "cat", "snail", "penguin", "pig", "turtle", "duck", "elephant")


@dataclass(frozen=True)
class Head:
    """Where a drawing can wear things, in fractions of its width (x, widths) and height (y)."""

    x: float = 0.5
    top: float = 0.12
    width: float = 0.62
    eyes_x: float = 0.5
    eyes: float = 0.44


HEADS: dict[str, Head] = {
    "dog": Head(0.39, 0.07, 0.5, 0.38, 0.30),
    "cat": Head(0.32, 0.19, 0.44, 0.22, 0.30),
    "snail": Head(0.24, 0.14, 0.36, 0.24, 0.36),
    "penguin": Head(0.52, 0.05, 0.5, 0.44, 0.13),
    "fish": Head(0.34, 0.12, 0.4, 0.24, 0.42),
    "fox": Head(0.5, 0.24, 0.62, 0.5, 0.56),
    "panda": Head(0.5, 0.1, 0.62, 0.5, 0.5),
    "elephant": Head(0.42, 0.08, 0.42, 0.28, 0.36),
    "frog": Head(0.5, 0.1, 0.6, 0.5, 0.23),
    "owl": Head(0.5, 0.1, 0.68, 0.5, 0.3),
    "bird": Head(0.25, 0.06, 0.34, 0.22, 0.23),
    "rabbit": Head(0.36, 0.36, 0.44, 0.3, 0.46),
    "pig": Head(0.3, 0.26, 0.46, 0.3, 0.47),
    "turtle": Head(0.26, 0.24, 0.4, 0.27, 0.44),
    "duck": Head(0.4, 0.05, 0.34, 0.36, 0.16),
    "avocado": Head(0.62, 0.08, 0.5, 0.56, 0.27),
    "strawberry": Head(0.45, 0.1, 0.6, 0.52, 0.5),
    "apple": Head(0.47, 0.26, 0.56, 0.5, 0.48),
    "banana": Head(0.48, 0.08, 0.42, 0.48, 0.26),
    "mushroom": Head(0.5, 0.06, 0.6, 0.5, 0.7),
    "pumpkin": Head(0.5, 0.2, 0.6, 0.5, 0.46),
    "lemon": Head(0.5, 0.1, 0.5, 0.52, 0.44),
    "burger": Head(0.5, 0.08, 0.62, 0.5, 0.28),
    "robot": Head(0.5, 0.28, 0.6, 0.5, 0.5),
    "ghost": Head(0.52, 0.07, 0.5, 0.54, 0.22),
    "cactus": Head(0.5, 0.06, 0.44, 0.5, 0.26),
    "cat face": Head(0.5, 0.22, 0.56, 0.5, 0.5),
    "dog face": Head(0.5, 0.06, 0.6, 0.5, 0.5),
    "tiger face": Head(),
    "koala": Head(0.5, 0.12, 0.5, 0.5, 0.44),
    "bear": Head(0.5, 0.12, 0.6, 0.5, 0.42),
    "lion": Head(0.5, 0.08, 0.6, 0.5, 0.38),
    "monkey face": Head(0.5, 0.06, 0.6, 0.5, 0.38),
    "mouse face": Head(0.5, 0.16, 0.5, 0.5, 0.5),
    "hamster": Head(0.5, 0.1, 0.6, 0.5, 0.45),
    "rabbit face": Head(0.5, 0.5, 0.5, 0.5, 0.64),
    "polar bear": Head(0.5, 0.12, 0.6, 0.5, 0.42),
    "chick": Head(0.4, 0.06, 0.5, 0.36, 0.26),
}
"""Every noun that can be a figure."""

WORDINGS: dict[str, tuple[str, ...]] = {
    "walking": ("walking {x}", "taking {x} for a walk", "walking {x} on a leash"),
    "holding": ("holding {x}", "with {x} in its hand"),
    "riding": ("riding {x}", "sitting on {x}"),
    "playing": ("playing {x}",),
}
_PARTNERS = {"walking": WALKED, "holding": HELD, "riding": RIDDEN, "playing": PLAYED}
_LEASH = (176, 40, 40)


def worn(item: str, body: Thing, color: str | None = None) -> Thing:
    """Headgear or glasses, placed on the head of an already placed body."""
    head, (x0, y0, x1, y1) = HEADS.get(body["noun"], Head()), body["box"]
    width, height = x1 - x0, y1 - y0
    x, top = x0 + head.x * width, y0 + head.top * height
    if item in EYEWEAR:
        center = round(x0 + head.eyes_x * width), round(y0 + head.eyes * height)
        return thing(item, center, round(head.width * width * 0.95), color, role="worn")
    piece = thing(item, (round(x), 0), round(head.width * width * 1.1), color, role="worn")
    hat_height = piece["box"][3] - piece["box"][1]
    return moved(piece, 0, round(top + 0.22 * hat_height) - piece["box"][3])


class Wearing(Family):
    """As in "an illustration of an avocado in a helmet walking a dog"."""

    name: ClassVar[str] = "wearing"
    weight: ClassVar[float] = 4.0

    def plan(self, stage: Stage) -> Facts:
        words = stage.vocabulary
        noun = stage.pick(words.among(tuple(HEADS)))
        action = stage.pick(("walking", "walking", "holding", "riding", "playing")) if stage.chance(0.55) else None
        clothed = action is None or stage.chance(0.6)
        body = self._body(noun, action, stage)
        pieces = [body]
        if clothed:
            piece = stage.pick(words.props(HEADGEAR + EYEWEAR))
            pieces.append(worn(piece, body, stage.color(0.45)))
        if action:
            pieces = self._with_partner(pieces, action, stage)
        return {"things": pieces, "action": action, "background": stage.background(*pieces)}

    def _body(self, noun: str, action: str | None, stage: Stage) -> Thing:
        side = SIDES["small" if action == "riding" else None]
        x = {"walking": 84, "holding": 112}.get(action or "", 128)
        bottom = 160 if action == "riding" else 232
        body = thing(noun, (stage.vary(x, 4), 0), stage.vary(side, 6), stage.color(0.3), role="body")
        return stage.align(moved(body, 0, bottom - body["box"][3]))

    def _with_partner(self, pieces: list[Thing], action: str, stage: Stage) -> list[Thing]:
        """The pieces in drawing order, with what the figure walks, holds, rides or plays."""
        body = pieces[0]
        _, _, right, bottom = body["box"]
        options = [noun for noun in stage.vocabulary.props(_PARTNERS[action]) if noun != body["noun"]]
        noun, color = stage.pick(options), stage.color(0.3)
        if action == "riding":
            width, height = fitted(noun, 144)
            side = 144 if height <= 108 else round(108 * max(width, height) / height)
            partner = thing(noun, (128, 0), side, color, role="partner")
            partner = stage.align(moved(partner, 0, 244 - partner["box"][3]))
            seated = stage.align(moved(body, 0, partner["box"][1] + 16 - bottom))
            return [*(moved(piece, 0, seated["box"][3] - bottom) for piece in pieces), partner]
        partner = thing(noun, (0, 0), SIDES["small"], color, role="partner")
        px0, _, px1, py1 = partner["box"]
        dx, dy = {
            "playing": (center_of(body)[0], 196),
            "holding": (min(right - 24, 240 - (px1 - px0)) - px0, 168 - py1),
            "walking": (248 - px1, bottom - py1),
        }[action]
        return [*pieces, stage.align(moved(partner, dx, dy))]

    def draw(self, facts: Facts) -> Image.Image:
        canvas = backgrounds.draw(facts["background"])
        for item in facts["things"]:
            if facts["action"] == "walking" and item["role"] == "partner":
                _draw_leash(canvas, facts["things"][0], item)
            paste(canvas, item)
        return canvas

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        start = "an illustration of " if rng.random() < 0.35 else opening(rng)
        return start + self.phrase(facts, rng)

    def phrase(self, facts: Facts, rng: np.random.Generator) -> str:
        """'an avocado in a helmet walking a dog'."""
        by_role = {item["role"]: item for item in facts["things"]}
        sentence = describe(by_role["body"], rng)
        if "worn" in by_role:
            sentence += f" {_dressed(by_role['worn'], rng)}"
        if facts["action"]:
            wording = str(rng.choice(WORDINGS[facts["action"]]))
            sentence += " " + wording.format(x=describe(by_role["partner"], rng))
        return sentence + backgrounds.phrase(facts["background"], rng)

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        body, *between, other = facts["things"]
        swapped = swap_colors([body, other])
        if swapped:
            return {**facts, "things": [swapped[0], *between, swapped[1]]}
        if other["role"] == "partner":
            exchanged = [{**body, "noun": other["noun"]}, *between, {**other, "noun": body["noun"]}]
            return {**facts, "things": exchanged}
        return {**facts, "things": [body, {**other, "noun": unlike_piece(other["noun"], rng)}]}

    def combinations(self, facts: Facts) -> list[Combination]:
        body, *others = facts["things"]
        pairs: list[Combination] = [("with", body["noun"], item["noun"]) for item in others]
        return [*super().combinations(facts), *pairs]


def unlike_piece(piece: str, rng: np.random.Generator) -> str:
    """A piece of clothing that nobody would call by this one's name (a top hat is a hat too)."""
    alike = next((group for group in _ALIKE if piece in group), (piece,))
    return str(rng.choice([other for other in HEADGEAR + EYEWEAR if other not in alike]))


def _dressed(piece: Thing, rng: np.random.Generator) -> str:
    """'in a red helmet', 'wearing glasses'."""
    words = ("wearing", "with") if piece["noun"] in EYEWEAR else ("wearing", "in", "with")
    word = str(rng.choice(words))
    return f"{word} {describe(piece, rng)}"


def _draw_leash(canvas: Image.Image, walker: Thing, walked: Thing) -> None:
    x0, y0, x1, y1 = walker["box"]
    start = x0 + 0.72 * (x1 - x0), y0 + 0.62 * (y1 - y0)
    x0, y0, x1, y1 = walked["box"]
    end = x0 + 0.35 * (x1 - x0), y0 + 0.55 * (y1 - y0)
    middle = (start[0] + end[0]) / 2, max(start[1], end[1]) + 6
    curve = [_bezier(start, middle, end, step / 12) for step in range(13)]
    ImageDraw.Draw(canvas).line(curve, fill=_LEASH, width=4, joint="curve")


def _bezier(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], t: float) -> tuple[float, float]:
    """A point of the quadratic curve from `a` over `b` to `c`."""
    weights = (1 - t) ** 2, 2 * t * (1 - t), t**2
    return tuple(sum(w * p[axis] for w, p in zip(weights, (a, b, c), strict=True)) for axis in (0, 1))  # type: ignore
