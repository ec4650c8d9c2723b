"""What a model is examined in: kinds of held-out captions, and what has to be right in a picture for each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from PIL import Image

from dalle.judge import LETTERS, Answers, answers
from dalle.worlds import World, WorldConfig
from dalle.worlds.birds import Fact, word_caption
from dalle.worlds.families import FAMILIES
from dalle.worlds.media import VARIANTS
from dalle.worlds.scene import Facts
from dalle.worlds.signs import FAMOUS
from dalle.worlds.split import is_held_out

_LONGEST = 6  # letters of a word


@dataclass(frozen=True)
class Aspect:
    """One thing that can be right about a picture, and the share of pictures aimed at for the best of 16."""

    name: str
    questions: tuple[str, ...]  # of the judge; all their answers have to be right
    aim: float | None = None
    each: bool = False  # instead: what counts is the share of right answers, blanks left out

    def right(self, wanted: Answers, given: Answers) -> float:
        """From 0.0 to 1.0; what the caption does not say need not be there."""
        asked = [question for question in self.questions if question in wanted]
        if self.each:
            asked = [question for question in asked if wanted[question] != " "]
        found = [given.get(question) == wanted[question] for question in asked]
        return sum(found) / len(found) if self.each else float(all(found))


@dataclass(frozen=True)
class Question:
    """A caption that a model has to draw, what the judge should then read, and the world's own picture of it."""

    caption: str
    wanted: Answers
    real: Image.Image


@dataclass(frozen=True)
class Topic:
    """One kind of caption."""

    name: str
    family: str  # of the world
    aspects: tuple[Aspect, ...]  # the first one is the topic's figure
    fits: Callable[[Facts], bool] = lambda facts: True
    split: str = "heldout"
    vocabulary: str | None = None  # None: the model's own
    said: Callable[[Facts], Facts] | None = None  # for birds: the parts that a caption names, and their colors

    def questions(self, world: WorldConfig) -> Iterator[Question]:
        """Without end, always the same ones, in the world that a model was trained on."""
        vocabulary = self.vocabulary or world.vocabulary
        world = replace(world, split=self.split, families={self.family: 1.0}, vocabulary=vocabulary)
        source, family = World(world), FAMILIES[self.family]
        for index in count():
            plan = source.plan(index)
            if not self.fits(plan.facts):
                continue
            wanted, caption = answers(plan.family, plan.facts), plan.caption
            if self.said is not None:
                told = self.said(plan.facts)
                wanted = {part: wanted[part] for part in told}
                facts = tuple(Fact(part, value) for part, value in told.items())
                caption = word_caption(facts, np.random.default_rng((world.seed, index)))
            yield Question(caption, wanted, family.draw(plan.facts).resize((world.size, world.size)))


def _plain(facts: Facts) -> bool:
    """Nothing is said but the name."""
    (item,) = facts["things"]
    return not item["color"] and not facts["size"] and not facts["background"]["said"]


def _unseen_pair(facts: Facts) -> bool:
    first, second = facts["things"]
    pair = ("relation", first["noun"], facts["relation"], second["noun"])
    return first["noun"] != second["noun"] and is_held_out(pair)


def _unseen_word(facts: Facts) -> bool:
    return len(facts["word"]) <= _LONGEST and is_held_out(("spelling", facts["word"]))


def _known_word(facts: Facts) -> bool:
    return facts["word"] in FAMOUS


def _plumage(facts: Facts) -> Facts:
    """The bird's main color, and every part that has another."""
    bird = facts["bird"]
    others = {part: bird[part] for part in ("belly", "wing", "head") if bird[part] != bird["body"]}
    return {"body": bird["body"], **others}


_LETTERS = tuple(f"letter{place}" for place in range(1, LETTERS + 1))
_SPELLING = (Aspect("letters", _LETTERS, 0.60, each=True), Aspect("whole word", _LETTERS, 0.30))

TOPICS: tuple[Topic, ...] = (
    Topic("one named object", "object", (Aspect("object", ("noun",), 0.85),), _plain, split="train"),
    Topic(
        "unseen color × object",
        "object",
        (Aspect("object and color", ("noun", "color"), 0.80), Aspect("color", ("color",))),
    ),
    Topic(
        "counts 1–5",
        "count",
        (Aspect("number", ("count",), 0.80), Aspect("number and object", ("count", "noun"))),
        lambda facts: facts["count"] <= 5,
    ),
    Topic(
        "two objects, unseen pair",
        "relation",
        (
            Aspect("both objects", ("noun", "noun2"), 0.70),
            Aspect("with the relation", ("noun", "noun2", "relation"), 0.65),
        ),
        _unseen_pair,
    ),
    Topic(
        "unseen made-of",
        "made_of",
        (Aspect("object and material", ("noun", "material"), 0.60), Aspect("material", ("material",))),
    ),
    Topic("signs, an unseen word", "word", _SPELLING, _unseen_word),
    Topic("signs, a known word", "word", tuple(replace(aspect, aim=None) for aspect in _SPELLING), _known_word),
    Topic(
        "period looks",
        "period",
        (Aspect("look", ("period",), 0.85), Aspect("look and object", ("period", "noun"))),
        lambda facts: facts["subject"] in VARIANTS,
    ),
    Topic(
        "styles and media", "style", (Aspect("style", ("style",), 0.85), Aspect("style and object", ("style", "noun")))
    ),
    Topic(
        "birds with two part colors",
        "bird",
        (Aspect("all colors", ("body", "belly", "wing", "head"), 0.70),),
        lambda facts: len(_plumage(facts)) >= 2,
        said=_plumage,
    ),
    Topic(
        "dressed figures",
        "wearing",
        (Aspect("figure", ("noun",)), Aspect("with what it wears and does", ("noun", "worn", "noun2", "action"))),
    ),
)
