"""Which nouns and colors a world uses, and the other words captions have for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from dalle.errors import WorldError
from dalle.worlds import colors
from dalle.worlds.glyphs import catalogue
from dalle.worlds.shapes import SHAPE_WORDS, SHAPES
from dalle.worlds.split import unseen
from dalle.worlds.words import plural

ANIMALS = (
    "dog", "cat", "snail", "penguin", "fish", "fox", "panda", "elephant", "frog", "owl", "butterfly",
    "bird", "rabbit", "pig", "turtle", "duck",
)  # fmt: skip
FOODS = (
    "avocado", "strawberry", "apple", "banana", "pizza", "mushroom", "carrot", "pumpkin", "cherry",
    "lemon", "watermelon", "cake", "ice cream", "burger",
)  # fmt: skip
THINGS = (
    "violin", "phone", "television", "camera", "computer", "car", "radio", "house", "teapot", "flower",
    "tree", "sun", "moon", "star", "heart", "cactus", "umbrella", "guitar", "clock", "book", "cup",
    "rocket", "train", "bicycle", "boat", "ball", "key", "lamp", "chair", "robot", "ghost",
)  # fmt: skip
CLOTHES = ("hat", "helmet", "top hat", "crown", "glasses", "sunglasses")
PROPS = (
    "cap", "graduation cap", "balloon", "kite", "skateboard", "motorcycle", "trumpet", "saxophone",
    "long drum", "accordion", "banjo", "cat face", "dog face", "tiger face", "koala", "bear", "lion",
    "monkey face", "mouse face", "hamster", "rabbit face", "polar bear", "chick", "pager", "mobile phone",
    "desktop computer", "movie camera", "camera with flash", "abacus", "tractor", "suv", "flying saucer",
    "derelict house", "house with garden", "school", "electric train", "bullet train", "mantel clock",
    "watch", "timer clock", "candle", "flashlight", "parachute", "small airplane", "airplane",
    "motor boat", "speedboat", "ship", "optical disk", "headphones", "t-shirt", "jeans", "gloves",
)  # fmt: skip
"""Further nouns that families ask for by name, and that are therefore never among the unseen glyphs."""
SMALL = ANIMALS + FOODS + THINGS + CLOTHES
"""The nouns of the small vocabulary: what a model trained on a CPU can learn to draw."""


@dataclass(frozen=True)
class Vocabulary:
    """Nouns (glyphs and shapes) and color names of a world."""

    name: str
    nouns: tuple[str, ...]
    colors: tuple[str, ...]

    @property
    def is_small(self) -> bool:
        return self.name == "small"

    @property
    def shapes(self) -> tuple[str, ...]:
        return ("cube",) if self.is_small else tuple(SHAPES)

    def among(self, group: Sequence[str]) -> tuple[str, ...]:
        """The nouns of a group that this vocabulary knows; all of its nouns where it knows none."""
        return self._known(group) or self.nouns

    def props(self, group: Sequence[str]) -> tuple[str, ...]:
        """The nouns of a group that this vocabulary knows; the group itself where it knows none."""
        return self._known(group) or tuple(group)

    def _known(self, group: Sequence[str]) -> tuple[str, ...]:
        return tuple(noun for noun in group if noun in self.nouns)


@cache
def vocabulary(name: str) -> Vocabulary:
    """'full', 'small', or 'unseen': the hundred glyphs that training never shows."""
    all_nouns = catalogue()
    held_out = unseen(all_nouns, protected=SMALL + PROPS)
    if name == "small":
        return Vocabulary(name, SMALL, tuple(colors.COLORS))
    if name == "full":
        return Vocabulary(name, tuple(n for n in all_nouns if n not in held_out), tuple(colors.ALL_COLORS))
    if name == "unseen":
        return Vocabulary(name, tuple(sorted(held_out)), tuple(colors.ALL_COLORS))
    raise WorldError(f"There is no vocabulary named {name!r}. Choose full, small or unseen.")


def words_for(noun: str) -> tuple[str, ...]:
    """All words for a noun, the plain one first."""
    if noun in SHAPES:
        return SHAPE_WORDS.get(noun, (noun,))
    glyph = catalogue().get(noun)
    return glyph.words if glyph else (noun,)


def say(noun: str, rng: np.random.Generator) -> str:
    """One of the words for a noun; the plain one most of the time."""
    return _often_first(words_for(noun), rng)


def say_plural(noun: str, rng: np.random.Generator) -> str:
    return plural(say(noun, rng))


def say_color(color: str, rng: np.random.Generator) -> str:
    return _often_first((color, *colors.SYNONYMS.get(color, ())), rng)


def _often_first(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[0] if len(words) == 1 or rng.random() < 0.6 else words[int(rng.integers(1, len(words)))]
