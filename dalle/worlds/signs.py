"""Families of context: a picture or a written word on a road sign, a mug, a storefront…"""

from string import ascii_lowercase
from typing import ClassVar

import numpy as np
from PIL import Image

from dalle.worlds.backgrounds import SIDE
from dalle.worlds.colors import unlike
from dalle.worlds.scene import NAMED, Facts, Family, Stage, describe
from dalle.worlds.split import Combination
from dalle.worlds.sprites import original
from dalle.worlds.surfaces import PICTURE, SURFACES, WORD, draw_surface
from dalle.worlds.words import article

FAMOUS = ("openai", "dall-e", "clip", "gpt", "hello", "love", "cafe", "art", "open", "stop", "yes", "no")
"""The words that captions also have without quotes, "an openai storefront", and that may be learned as pictures."""
COMMON = (
    "acme", "agi", "apple", "bakery", "bank", "beach", "best", "bike", "bird", "blue", "books", "bread",
    "cat", "cheese", "chips", "city", "coffee", "cool", "dance", "day", "dog", "dream", "east", "exit",
    "farm", "fast", "film", "fish", "free", "fresh", "fun", "game", "garden", "gold", "good", "green",
    "happy", "hi", "home", "hope", "hotel", "ice", "idea", "jazz", "joy", "juice", "jump", "king", "lake",
    "lemon", "life", "light", "lucky", "magic", "map", "milk", "moon", "music", "new", "news", "nice",
    "night", "north", "ok", "ocean", "paint", "paris", "park", "party", "peace", "pizza", "play",
    "pytorch", "queen", "radio", "rain", "red", "rock", "rose", "run", "sale", "salt", "sea", "shoes",
    "shop", "sky", "slow", "smile", "soda", "soup", "south", "space", "star", "sun", "sweet", "tea",
    "time", "tokyo", "toys", "tree", "water", "west", "wild", "wow", "zoo",
)  # fmt: skip
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def made_up_word(rng: np.random.Generator) -> str:
    """Two or three syllables that mean nothing, so that spelling must be read from the caption."""
    syllables = (str(rng.choice(list(_CONSONANTS))) + str(rng.choice(list(_VOWELS))) for _ in range(rng.integers(2, 4)))
    return "".join(syllables)


def misspelled(word: str, rng: np.random.Generator) -> str:
    """The word with up to all of its letters changed, most often one or two."""
    letters = list(word)
    wrong = rng.choice(len(word), size=min(int(rng.geometric(0.5)), len(word)), replace=False)
    for place in wrong:
        letters[place] = str(rng.choice([letter for letter in ascii_lowercase if letter != word[place]]))
    return "".join(letters)


class Pictured(Family):
    """As in "a road sign with an image of a blue strawberry"."""

    name: ClassVar[str] = "surface"
    weight: ClassVar[float] = 3.0

    def plan(self, stage: Stage) -> Facts:
        content = {"noun": stage.pick(stage.vocabulary.nouns), "color": stage.color(0.5)}
        return {
            "things": [],
            "surface": stage.pick(_taking(PICTURE)),
            "content": content,
            "grain": stage.grain(),
        }

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        surface, content = _surface(facts, rng), describe(facts["content"], rng)
        sentences = (
            f"{surface} with an image of {content}",
            f"{surface} with an image of {content}",
            f"{surface} with a picture of {content}",
            f"{surface} showing {content}",
            f"{surface} with {content} on it",
            f"{content} on {surface}",
        )
        return str(rng.choice(sentences))

    def draw(self, facts: Facts) -> Image.Image:
        content = original(facts["content"]["noun"], facts["content"]["color"])
        return draw_surface(facts["surface"], SIDE, content=content, rng=np.random.default_rng(facts["grain"]))

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        content = facts["content"]
        if content["color"] and rng.random() < 0.5:
            color = str(rng.choice(unlike(content["color"])))
            return {**facts, "content": {**content, "color": color}}
        others = [surface for surface in _taking(PICTURE) if surface != facts["surface"]]
        return {**facts, "surface": str(rng.choice(others))}

    def misname(self, facts: Facts, rng: np.random.Generator) -> Facts:
        others = [noun for noun in NAMED if noun != facts["content"]["noun"]]
        return {**facts, "content": {**facts["content"], "noun": str(rng.choice(others))}}

    def combinations(self, facts: Facts) -> list[Combination]:
        noun, color = facts["content"]["noun"], facts["content"]["color"]
        pairs: list[Combination] = [("surface", facts["surface"], noun)]
        return [*pairs, ("color", noun, color)] if color else pairs


class Written(Family):
    """As in "a storefront that has 'openai' written on it"."""

    name: ClassVar[str] = "word"
    weight: ClassVar[float] = 2.5

    def plan(self, stage: Stage) -> Facts:
        word = made_up_word(stage.rng) if stage.chance(0.5) else stage.pick(FAMOUS if stage.chance(0.4) else COMMON)
        return {"things": [], "surface": stage.pick(_taking(WORD)), "word": word, "grain": stage.grain()}

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        surface, word = _surface(facts, rng), facts["word"]
        bare = surface.partition(" ")[2]
        unquoted = (f"{article(word)} {bare}", f"{word} {bare}") if word in FAMOUS else ()
        sentences = (
            f"{surface} that has '{word}' written on it",
            f"{surface} that has the word '{word}' written on it",
            f"{surface} with the word '{word}' written on it",
            f"{surface} with the word '{word}'",
            f"{surface} that says '{word}'",
            *unquoted,
        )
        return str(rng.choice(sentences))

    def draw(self, facts: Facts) -> Image.Image:
        return draw_surface(facts["surface"], SIDE, word=facts["word"], rng=np.random.default_rng(facts["grain"]))

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        return {**facts, "word": misspelled(facts["word"], rng)}

    def combinations(self, facts: Facts) -> list[Combination]:
        word = facts["word"]
        pairs: list[Combination] = [("word", facts["surface"], word)]
        return pairs if word in FAMOUS + COMMON else [*pairs, ("spelling", word)]


def _surface(facts: Facts, rng: np.random.Generator) -> str:
    wordings = SURFACES[facts["surface"]].wordings
    return wordings[0] if rng.random() < 0.5 else str(rng.choice(wordings))


def _taking(kind: str) -> tuple[str, ...]:
    return tuple(name for name, surface in SURFACES.items() if kind in surface.contents)
