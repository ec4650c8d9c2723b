"""What a sentence becomes before the model reads it: the normaliser and the tokenizer that the weights learned with.

The published PyTorch port skips the normaliser, drops whatever is not ASCII and cuts words otherwise.
`AsciiTokenizer` does as it does, to compare; `CaptionTokenizer` is what draws.
"""

import html
import math
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import emoji
import ftfy
import torch
from text_unidecode import unidecode
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from dalle import config, text
from dalle.errors import CheckpointError

START, PADDING, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"  # ids 0, 1, 2, 3
_SPACE = "Ġ"  # stands for a space in the vocabulary

_MARK = "xtokx"  # around the names of signs that shall outlive the commas; hashtags show it, and did in training
_KEPT = {"dot": ".", "quote": "'", "slash": "/"}

_PLACEHOLDERS = (
    (r"<person>([,\s]*(and)*[,\s]*<person>)+", " people "),
    (r"<person>", " a person "),  # in training also "someone" and "somebody", by chance
    (r"\A\s*\[\d+\]", ""),  # references
    (r"\[\d+\]\s*\Z", ""),
    (r"<[^<]+?>", " "),
    (r"http\S+", ""),
)
_SIGNS = (
    (r"(\d),(\d{3})", r"\1\2"),
    (r"(\d),(\d{3})", r"\1\2"),
    (r"(\w)\.(\w)", rf"\1{_MARK}dot{_MARK}\2"),
    (r"'(?=([stdm]|ll|re|ve)\b)", f"{_MARK}quote{_MARK}"),
    (r"(\d)/(\d)", rf"\1{_MARK}slash{_MARK}\2"),
    (r"(\w)-(\w)", r"\1 \2"),
    (r"([%&/$*])", r" \1 "),
)
_PUNCTUATION = (
    (r"[_#\\]", " "),
    (r"""['"`]""", ' " '),
    (r"[()\[\].,|:;?!=+~\-/{}]", ","),
    *((_MARK + name + _MARK, sign) for name, sign in _KEPT.items()),
    (r"(\D)\1{3,}", r"\1"),  # four times the same, and not three: there is a Henry VIII
    (r'\s*"[\s"]*', ' " '),
    (r"\s*,[\s,]*", ", "),
    (r"\s+", " "),
)


class Normalizer:
    """Sentences of the web -> lower-case ASCII with few signs, always behind one space."""

    def __init__(self, words: Path | None = None) -> None:
        """`words` lists words by frequency, the commonest first, one to a line; without it hashtags stay whole."""
        self._words = words

    def __call__(self, prompt: str) -> str:
        prompt = html.unescape(html.unescape(ftfy.fix_text(prompt)))
        prompt = unidecode(emoji.demojize(prompt)).lower()
        prompt = _replace(_SIGNS, _replace(_PLACEHOLDERS, prompt))
        prompt = re.sub(r"#(\w+)", lambda tag: self._split_hashtag(tag[1]), prompt)
        prompt = _replace(_PUNCTUATION, prompt).strip()
        return " " + prompt.removesuffix(",").removeprefix(",").strip()

    def _split_hashtag(self, tag: str) -> str:
        if self._words is None:
            return tag
        pieces = re.split(r"[^a-z0-9']+", tag)
        return " ".join(word for piece in pieces for word in split_words(piece, _ranks(self._words, piece)))


def split_words(piece: str, ranks: dict[str, int]) -> list[str]:
    """Words written together -> the most probable words, if their frequency falls with their rank (Zipf's law)."""
    longest = max(map(len, ranks), default=1)
    costs, lengths = [0.0], [0]  # of the best split of the first n characters, and of its last word
    for end in range(1, len(piece) + 1):
        cost, length = min(
            (costs[end - n] + _cost(ranks.get(piece[end - n : end])), n) for n in range(1, min(end, longest) + 1)
        )
        costs.append(cost)
        lengths.append(length)
    words: list[str] = []
    end = len(piece)
    while end:
        word = piece[end - lengths[end] : end]
        if words and word != "'" and (words[0] == "'s" or (word[-1].isdigit() and words[0][0].isdigit())):
            words[0] = word + words[0]
        else:
            words.insert(0, word)
        end -= lengths[end]
    return words


def _cost(rank: int | None) -> float:
    return math.inf if rank is None else math.log(rank)


def _ranks(path: Path, piece: str) -> dict[str, int]:
    """The ranks, from 1, of those words of a list that are in a piece; the list is too long to be kept."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        words = ((rank, line.split(maxsplit=1)[:1]) for rank, line in enumerate(lines, start=1))
        return {word[0]: rank for rank, word in words if word and word[0] in piece}


def _replace(rules: tuple[tuple[str, str], ...], prompt: str) -> str:
    for pattern, replacement in rules:
        prompt = re.sub(pattern, replacement, prompt)
    return prompt


class CaptionTokenizer:
    """A `TextTokenizer`: <s>, the pieces of the normalised sentence, </s>, and padding.

    `normalizer` is None where the model was trained on sentences as they are.
    """

    def __init__(self, bpe: models.BPE, length: int, normalizer: Normalizer | None) -> None:
        self.length = length  # T
        self.normalizes = normalizer is not None
        self._bpe = Tokenizer(bpe)
        self._bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._clean: Callable[[str], str] = lru_cache(maxsize=64)(normalizer) if normalizer else str
        self.null: Tensor = self._row([0, 2])  # (T,); not the sentence "", which is normalised to a space

    def encode(self, prompt: str) -> Tensor:
        """str -> (T,) int64; of what does not fit, the end is cut, but not </s>."""
        return self._row([0, *self._pieces(prompt)[: self.length - 2], 2])

    def count(self, prompt: str) -> int:
        """How many tokens the prompt needs, <s> and </s> included; more than `length` means that it will be cut."""
        return 2 + len(self._pieces(prompt))

    def readable(self, prompt: str) -> bool:
        """Whether any letter or digit is left once the prompt is normalised."""
        return any(character.isalnum() for character in self._clean(text.valid(prompt)))

    def _pieces(self, prompt: str) -> list[int]:
        return self._bpe.encode(self._clean(text.valid(prompt)), add_special_tokens=False).ids

    def _row(self, ids: list[int]) -> Tensor:
        return torch.tensor(ids + [1] * (self.length - len(ids)))


class AsciiTokenizer(CaptionTokenizer):
    """As the port does it: what is not ASCII vanishes, words end at spaces only, and a long prompt loses its </s>."""

    def __init__(self, bpe: models.BPE, length: int) -> None:
        super().__init__(bpe, length, None)
        self._bpe.pre_tokenizer = None
        self._bpe.model.unk_token = UNKNOWN
        self._clean = _ascii

    def encode(self, prompt: str) -> Tensor:
        return self._row([0, *self._pieces(prompt), 2][: self.length])

    def _pieces(self, prompt: str) -> list[int]:
        words = [_SPACE + word for word in _ascii(prompt).split(" ") if word]
        return self._bpe.encode(words, is_pretokenized=True, add_special_tokens=False).ids


def _ascii(prompt: str) -> str:
    """Lower case, emoji by their names, without whatever is not ASCII."""
    return emoji.demojize(prompt, delimiters=("", "")).lower().encode("ascii", "ignore").decode()


def read_bpe(vocabulary: Path, merges: Path, size: int) -> models.BPE:
    """Byte-pair encoding of `vocab.json` and `merges.txt`, with ids below `size`. Raises CheckpointError."""
    ids = config.read(vocabulary)
    if not isinstance(ids, dict) or not all(type(number) is int and 0 <= number < size for number in ids.values()):
        raise CheckpointError(f"{vocabulary.name} should give each piece of text a number from 0 to {size - 1}.")
    for number, piece in enumerate((START, PADDING, END, UNKNOWN)):
        if ids.get(piece) != number:
            raise CheckpointError(f"{vocabulary.name} should give {piece} the number {number}.")
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")[1:-1]  # between the version and the last line's end
        pairs = [(one, other) for one, other in (line.split() for line in lines)]
        return models.BPE(ids, pairs)
    except Exception as error:  # the library raises bare Exception for a pair that is in no vocabulary
        raise CheckpointError(f"{merges.name} is damaged, or not the one that {vocabulary.name} belongs to.") from error
