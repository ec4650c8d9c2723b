"""Text files of YouTokenToMe: a byte-pair encoding over code points, trained with that library.

A file is whitespace-separated integers: the number of characters and of rules; for each character its code point
and id; for each rule two ids and the id that they merge into, first rule first; the ids of unknown, padding, begin
and end. Several ids may spell the same piece, which is why the `tokenizers` library cannot hold such a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path

import torch
from torch import Tensor

from dalle.errors import CheckpointError

UNKNOWN, BEGIN, END = 1, 2, 3  # and 0 pads, in every public file
_MARK = "▁"  # begins a word
_SPACES = re.compile(rf"[\t\n\v\f\r {_MARK}]+")
_MAX_BYTES = 4 << 20  # the largest public file has less than 1 MB


class Yttm:
    """Sentences to ids, as the library does it with its default settings."""

    def __init__(self, characters: dict[str, int], rules: dict[tuple[int, int], tuple[int, int]]):
        """`rules` map two ids to the rank of their rule and the id that they merge into."""
        self._characters = characters
        self._rules = rules
        self._spelled = {index: character for character, index in characters.items()}
        for (x, y), (_, z) in sorted(rules.items(), key=lambda rule: rule[1]):
            self._spelled[z] = self._spelled.get(x, "") + self._spelled.get(y, "")
        self.size = len(characters) + len(rules) + 4

    @classmethod
    def load(cls, path: Path) -> Yttm:
        """Raises CheckpointError where it is no such file."""
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError("too large")
            numbers = [int(word) for word in path.read_text(encoding="ascii").split()]
        except FileNotFoundError:
            raise CheckpointError(f"{path.name} is missing.") from None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path.name} is no text file of a YouTokenToMe tokenizer.") from error
        count, total = numbers[:2] if len(numbers) > 1 else (0, 0)
        body = 2 + 2 * count
        if min(count, total) < 0 or len(numbers) != body + 3 * total + 4:
            raise CheckpointError(f"{path.name} is incomplete, or no text file of a YouTokenToMe tokenizer.")
        points, triples = _rows(numbers[2:body], 2), _rows(numbers[body:-4], 3)
        ids = [*(row[1] for row in points), *(row[2] for row in triples), *numbers[-4:]]
        if sorted(ids) != list(range(len(ids))) or not all(0 <= row[0] < 0x110000 for row in points):
            raise CheckpointError(f"{path.name} is damaged: its ids are not 0 to {len(ids) - 1}, each once.")
        if numbers[-4:] != [UNKNOWN, 0, BEGIN, END] or ord(_MARK) not in (row[0] for row in points):
            raise CheckpointError(f"{path.name} is a tokenizer with other special tokens than those known here.")
        characters = {chr(point): index for point, index in points}
        rules = {(x, y): (rank, z) for rank, (x, y, z) in reversed([*enumerate(triples)])}  # of equals the first
        return cls(characters, rules)

    def encode(self, text: str) -> list[int]:
        """Ids of all words; a run of characters that the table lacks is one `UNKNOWN`."""
        return [index for word in _SPACES.split(text) if word for index in self._word(_MARK + word)]

    def decode(self, ids: Iterable[int]) -> str:
        """The words that ids spell; special tokens spell nothing."""
        return "".join(self._spelled.get(index, "") for index in ids).replace(_MARK, " ").strip()

    def knows(self, character: str) -> bool:
        return character in self._characters

    def _word(self, word: str) -> list[int]:
        ids = [index for known, run in groupby(word, self.knows) for index in self._characters_of(known, run)]
        while pairs := [pair for pair in pairwise(ids) if pair in self._rules]:
            ids = list(self._merge(ids, min(pairs, key=lambda pair: self._rules[pair])))
        return ids

    def _characters_of(self, known: bool, run: Iterable[str]) -> list[int]:
        return [self._characters[character] for character in run] if known else [UNKNOWN]

    def _merge(self, ids: list[int], pair: tuple[int, int]) -> Iterator[int]:
        """Apply the rule of a pair wherever it fits, from the left."""
        position = 0
        while position < len(ids):
            fits = (*ids[position : position + 2],) == pair
            yield self._rules[pair][1] if fits else ids[position]
            position += 2 if fits else 1


class YttmTokenizer:
    """A `TextTokenizer`: begin, the pieces of the lower-cased sentence, end, then a padding for each position left."""

    null = None  # the models never saw an empty caption

    def __init__(self, bpe: Yttm, length: int, begins: int = 1):
        """`begins` tokens stand at the start, all but one of them beside the `length`."""
        self._bpe = bpe
        self._lead = torch.full((begins - 1,), BEGIN)
        self._paddings = torch.arange(bpe.size, bpe.size + length)
        self.length = length + begins - 1  # T
        self.vocab = bpe.size + length

    def encode(self, prompt: str) -> Tensor:
        """str -> (T,) int64; what does not fit is cut, the end too."""
        ids = torch.tensor(self._ids(prompt)[: len(self._paddings)])
        return torch.cat([self._lead, ids, self._paddings[len(ids) :]])

    def count(self, prompt: str) -> int:
        """How many tokens the prompt needs, begin and end included."""
        return len(self._lead) + len(self._ids(prompt))

    def readable(self, prompt: str) -> bool:
        """Whether any letter or digit of the prompt is in the table."""
        return any(character.isalnum() and self._bpe.knows(character) for character in prompt.lower())

    def _ids(self, prompt: str) -> list[int]:
        return [BEGIN, *self._bpe.encode(prompt.lower().strip()), END]


def _rows(numbers: list[int], width: int) -> list[tuple[int, ...]]:
    return list(zip(*[iter(numbers)] * width, strict=True))
