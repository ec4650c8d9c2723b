"""The little English the captions need: articles, plurals, numbers."""

import re

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_IRREGULAR = {
    "foot": "feet", "goose": "geese", "man": "men", "mouse": "mice", "ox": "oxen", "person": "people",
    "tooth": "teeth", "woman": "women", "wolf": "wolves", "leaf": "leaves", "knife": "knives",
    "loaf": "loaves", "scarf": "scarves", "elf": "elves", "calf": "calves", "potato": "potatoes",
    "tomato": "tomatoes", "mango": "mangoes", "hero": "heroes", "volcano": "volcanoes",
    "child": "children",
}  # fmt: skip
_UNCHANGED = {"fish", "sheep", "deer", "shrimp", "squid", "bison", "moose"}
_PREPOSITION = re.compile(r"( (?:of|with|in|on|at|over|behind|showing) )")
_VOWEL_SOUND = ("hour", "x-ray", "honest")
_CONSONANT_SOUND = ("uni", "use", "eu", "one", "ukulele", "ufo", "u-turn")


def article(phrase: str) -> str:
    """`phrase` with 'a' or 'an' before it; as it is where it is a plural ("glasses")."""
    if _is_plural(phrase):
        return phrase
    if phrase.startswith(_VOWEL_SOUND):
        return f"an {phrase}"
    vowel = phrase[0] in "aeiou" and not phrase.startswith(_CONSONANT_SOUND)
    return f"{'an' if vowel else 'a'} {phrase}"


def plural(noun: str) -> str:
    """The plural of a noun phrase: its last word is changed ("polar bears"), or its head before "of"."""
    if parts := _PREPOSITION.split(noun, maxsplit=1)[1:]:
        return f"{plural(noun.removesuffix(''.join(parts)))}{''.join(parts)}"
    first, _, last = noun.rpartition(" ")
    if first in ("man", "woman", "person") and last.endswith("ing"):
        return f"{_plural_word(first)} {last}"
    return f"{first} {_plural_word(last)}".lstrip()


def _is_plural(phrase: str) -> bool:
    head = _PREPOSITION.split(phrase, maxsplit=1)[0]
    return head.endswith("s") and not head.endswith(("ss", "us", "is", "aries", "pisces", "lens", "gas"))


def _plural_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _UNCHANGED or (word.endswith("s") and not word.endswith(("ss", "us"))):
        return word
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def listing(parts: list[str]) -> str:
    """'a', 'a and b', 'a, b, and c'."""
    if len(parts) < 3:
        return " and ".join(parts)
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"
