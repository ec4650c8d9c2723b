"""The fixed held-out split, decided by hashing and so the same on every machine, for ever.

A *combination* is a tuple of words, its first the kind: `("color", "strawberry", "blue")`. One combination in
ten is held out: training pictures never show it. A hundred glyphs are held out whole.
"""

from collections.abc import Iterable
from hashlib import blake2b

UNSEEN_GLYPHS = 100

Combination = tuple[str, ...]


def _hash(words: Iterable[str]) -> int:
    return int.from_bytes(blake2b("\x1f".join(words).encode(), digest_size=8).digest(), "big")


def is_held_out(combination: Combination) -> bool:
    """Whether training must never show this combination of words."""
    return _hash(("test", *combination)) % 10 == 0


def unseen(nouns: Iterable[str], protected: Iterable[str]) -> frozenset[str]:
    """The hundred nouns never seen in training: lowest hashes first, none of the `protected` ones."""
    candidates = sorted(set(nouns) - set(protected), key=lambda noun: _hash(("unseen glyph", noun)))
    return frozenset(candidates[:UNSEEN_GLYPHS])
