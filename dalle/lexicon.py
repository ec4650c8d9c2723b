"""Honest words: which words of a prompt a model never met in training.

A model of ours has `words.json` beside it: the words of the captions that it learned from, but for those that name a
thing only to be copied, and how often each came. Of models without that file nothing is known, and nothing is said.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from dalle import config
from dalle.quotes import unquoted
from dalle.worlds.words import plural

FILE = "words.json"
_SELDOM = 3  # a word of fewer captions is not learned
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*(?!\w)")
_LITTLE = """a about across after all also among an and any are around as at be been before behind being below beside
    between both but by can could did do does doing down each either every few for from had has have having he her here
    hers him his how i if in inside into is it its itself just like look looking looks made make makes many may me more
    most much my near next no nor not of off on one onto or other our out outside over own please s same she should
    show showing shows so some something such t than that the their them then there these they thing things this those
    through to together too towards under up upon us very was we were what when where which while who whose will with
    within without would you your"""
_FUNCTION_WORDS = frozenset(_LITTLE.split())


def count_words(captions: Iterable[str]) -> dict[str, int]:
    """How many of the captions have each word, the most frequent first."""
    counts = Counter(word for caption in captions for word in dict.fromkeys(map(_plain, _words(caption))))
    return dict(counts.most_common())


def unknown_words(prompt: str, place: Path | None) -> list[str]:
    """The words of a prompt, as they were typed, that the model in a folder has not learned; each once, in order.

    Function words, numbers and what stands in quotes do not count. Empty where the folder does not tell its words.
    """
    path = place and place / FILE
    if not path or not path.is_file():
        return []
    known = _known(path, path.stat().st_mtime_ns)
    first: dict[str, str] = {}
    for word in _words(prompt):
        first.setdefault(_plain(word), word)
    return [word for plain, word in first.items() if not _is_known(plain, known)]


def confession(words: Sequence[str]) -> str:
    """What the page says of such words; empty where there are none."""
    if not words:
        return ""
    named = ", ".join(f"‘{word}’" for word in words)
    word = "word" if len(words) == 1 else "words"
    return f"This small model has not learned the {word} {named}; it draws the nearest thing it can."


@lru_cache(maxsize=4)
def _known(path: Path, changed: int) -> frozenset[str]:
    """The words of a file, as it is since `changed`, and their plurals. Raises CheckpointError."""
    counts: Mapping[str, int] = config.read(path)
    learned = [word for word, count in counts.items() if count >= _SELDOM]
    return frozenset(learned) | frozenset(map(plural, learned)) | _FUNCTION_WORDS


def _is_known(word: str, known: frozenset[str]) -> bool:
    """Also a word of known parts, "strawberry-shaped", and a possessive, "dog's"."""
    stem = word.removesuffix("'s")
    return stem in known or ("-" in stem and all(part in known for part in stem.split("-")))


def _words(text: str) -> list[str]:
    return _WORD.findall(unquoted(text))


def _plain(word: str) -> str:
    """Lower case, without accents, with one kind of apostrophe."""
    letters = unicodedata.normalize("NFKD", word.lower().replace("’", "'"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
