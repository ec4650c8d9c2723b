"""Sentences to text tokens: byte-pair encoding over plain English, and a padding token per position.

Ids 0 … n-1 are the BPE vocabulary, n … n+T-1 the paddings: where a caption ends before position p of the row,
the model sees token n+p there (paper, section 2.2: a padding token learned for each text position).

Where a caption quotes a word to be written, the end of the row shows it once more, centred, letter by letter, two
positions to a letter, as it will stand in the picture. So a letter's position in the row says where it goes, whatever
the sentence around it is.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from dalle import quotes
from dalle.errors import CheckpointError

BOS, UNKNOWN = "[BOS]", "[UNK]"  # ids 0 and 1
_SPACE = "▁"  # stands for a space at the start of a word, so that pieces spell out the sentence
_SPELLED = rf"\A{_SPACE}?'(?=.*'\z)|(?!\A)\G."  # within one: the opening quote, then letter by letter
_WORD = rf"{_SPACE}?\p{{L}}+(?:['-]\p{{L}}+)*|{_SPACE}?[^{_SPACE}\p{{L}}]|{_SPACE}"
_LANE = 16  # positions of the row where a quoted word is set, and how many columns it has in the picture
_ALPHABET = [*string.ascii_lowercase, *string.digits, *"'.,-:;!?()&", _SPACE]


class BpeTokenizer:
    """A `TextTokenizer`: [BOS], the pieces of the sentence, then the paddings of the positions that are left.

    Any text encodes: a run of characters that the alphabet lacks becomes one [UNK]. With `dropout` p each
    merge is left out with probability p, so that training sees a word in many spellings (BPE dropout,
    Provilkov et al. 2020); the library draws it without a seed, so such an encoding cannot be repeated.
    """

    def __init__(self, bpe: Tokenizer, length: int, dropout: float = 0.0) -> None:
        """`bpe` becomes this object's own. Raises CheckpointError where it was not made by `train`."""
        if (bpe.token_to_id(BOS), bpe.token_to_id(UNKNOWN)) != (0, 1):
            raise CheckpointError(f"The text tokenizer does not start with {BOS} and {UNKNOWN}.")
        bpe.model.dropout = dropout or None
        bpe.encode_special_tokens = True  # a person who types "[BOS]" means these five characters
        self._bpe = bpe
        self.length = length  # T
        self.bpe_size = bpe.get_vocab_size()
        self.vocab = self.bpe_size + length
        self._paddings = torch.arange(self.bpe_size, self.vocab)  # (T,)
        self.null = self.encode("")  # (T,)

    def encode(self, prompt: str) -> Tensor:
        """str -> (T,) int64; what does not fit is cut."""
        ids = [0, *self._ids(prompt)][: self.length]
        row = torch.cat([torch.tensor(ids), self._paddings[len(ids) :]])
        word = quoted(prompt)
        if word and 2 * len(word) <= _LANE <= self.length - len(ids):
            start = self.length - _LANE // 2 - len(word)
            letters = [self._bpe.token_to_id(letter) or self._bpe.token_to_id(UNKNOWN) for letter in word]
            row[start : start + 2 * len(word) : 2] = torch.tensor(letters)
        return row

    def count(self, prompt: str) -> int:
        """How many tokens the prompt needs, [BOS] included; more than `length` means that it will be cut."""
        return 1 + len(self._ids(prompt))

    def readable(self, prompt: str) -> bool:
        """Whether any letter or digit of the prompt is in the alphabet."""
        known = [piece for piece in self.pieces(prompt) if piece != UNKNOWN]
        return any(character.isalnum() for piece in known for character in piece)

    def pieces(self, prompt: str) -> list[str]:
        """The sentence as the model reads it, piece by piece; "▁" is a space."""
        return self._bpe.encode(valid(prompt), add_special_tokens=False).tokens

    def with_dropout(self, p: float) -> BpeTokenizer:
        """A tokenizer with the same vocabulary and BPE dropout `p`, for training."""
        return BpeTokenizer(Tokenizer.from_str(self._bpe.to_str()), self.length, dropout=p)

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int, length: int) -> BpeTokenizer:
        """Learn a vocabulary of at most `vocab_size` pieces, specials included and paddings not."""
        bpe = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
        bpe.normalizer = _normalizer()
        bpe.pre_tokenizer = _pre_tokenizer()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=[BOS, UNKNOWN],
            initial_alphabet=_ALPHABET,
            limit_alphabet=len(_ALPHABET),
            show_progress=False,
        )
        bpe.train_from_iterator(captions, trainer)
        return cls(bpe, length)

    def save(self, path: Path) -> None:
        """Write one file in the format of Hugging Face's `tokenizers`; the length is not in it."""
        self._bpe.save(str(path))

    @classmethod
    def load(cls, path: Path, length: int) -> BpeTokenizer:
        """Read what `save` wrote. Raises CheckpointError."""
        try:
            bpe = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"{path.name} is missing.") from None
        except Exception as error:  # the library raises bare Exception for any text that is no tokenizer
            raise CheckpointError(f"{path.name} is not a tokenizer file.") from error
        return cls(bpe, length)

    def _ids(self, prompt: str) -> list[int]:
        return self._bpe.encode(valid(prompt), add_special_tokens=False).ids


def quoted(prompt: str) -> str:
    """The first word in quotes, which is to be written in the picture, as it is read; empty where there is none."""
    found = re.search(quotes.QUOTED, _normalizer().normalize_str(valid(prompt)))
    return found[0][1:-1] if found else ""


def valid(text: str) -> str:
    """`text` without lone surrogates: they come from broken JSON and no UTF-8 can hold them."""
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _normalizer() -> normalizers.Normalizer:
    """Compatibility forms and accents folded, lower case, one kind of quote, one "▁" before each word."""
    return normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(quotes.MARKS), "'"),
            normalizers.Replace(Regex("[‐‑‒–—―−]"), "-"),
            normalizers.Replace(Regex(r"\p{Cf}"), ""),  # joiners and marks of direction, which nobody sees
            normalizers.Replace(Regex(rf"[\s\p{{Cc}}{_SPACE}]+"), " "),
            normalizers.Strip(),
            normalizers.Prepend(_SPACE),
            normalizers.Replace(" ", _SPACE),
        ]
    )


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Words with the space before them; single digits and signs; quoted words letter by letter."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(rf"{_SPACE}?{quotes.QUOTED}"), behavior="isolated"),
            pre_tokenizers.Split(Regex(_SPELLED), behavior="isolated"),
            pre_tokenizers.Split(Regex(_WORD), behavior="isolated"),
        ]
    )
