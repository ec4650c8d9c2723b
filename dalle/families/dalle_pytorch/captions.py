"""Captions for these models: the pieces of one of their text tokenizers, then paddings, behind a first token.

The pieces are those of CLIP, of a file of `tokenizers` or YouTokenToMe, or of a BERT vocabulary. A checkpoint does not
say which, so the file beside it with as many pieces as the model was made for is taken. No special tokens surround a
caption.
Letters: B captions, T caption tokens.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers import models as algorithms
from torch import Tensor

from dalle.nn.transformer import TransformerConfig
from dalle.ranking import open_clip
from dalle.yttm import Yttm

CLIP_SIZE = 49408  # pieces of CLIP's vocabulary
CLIP_MARKS = {"<|startoftext|>": "<start_of_text>", "<|endoftext|>": "<end_of_text>"}  # theirs, the library's
CLIP_MARK_IDS = (49406, 49407)  # where CLIP's sentences start and end; these captions have none unless they are typed
FILES = ("*.json", "*.bpe", "*.model", "vocab.txt")  # of pieces
PAD = 0  # also a piece of its own in CLIP's vocabulary, which these models cannot tell from padding


class Pieces(Protocol):
    """A text tokenizer, but for lengths and paddings."""

    size: int

    def encode(self, prompt: str) -> list[int]:
        """str -> ids below `size`."""

    def decode(self, ids: list[int]) -> str:
        """Paddings are left out."""


class ClipPieces:
    """CLIP's byte-pair encoding of lower-cased text."""

    size = CLIP_SIZE

    @cached_property
    def _bpe(self) -> Any:
        return open_clip().tokenizer.SimpleTokenizer()

    def encode(self, prompt: str) -> list[int]:
        prompt = open_clip().tokenizer.basic_clean(prompt).lower()
        for theirs, ours in CLIP_MARKS.items():
            prompt = prompt.replace(ours, f"< {ours[1:]}").replace(theirs, ours)
        return self._bpe.encode(prompt)

    def decode(self, ids: list[int]) -> str:
        return self._bpe.decode([piece for piece in ids if piece not in (PAD, *CLIP_MARK_IDS)])


class FilePieces:
    """Those of a `tokenizers` file."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self.size = tokenizer.get_vocab_size()

    def encode(self, prompt: str) -> list[int]:
        return self._tokenizer.encode(prompt, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode([piece for piece in ids if piece != PAD])


class Captions:
    """A `TextTokenizer`: the first token, the pieces of the caption, paddings."""

    def __init__(self, pieces: Pieces, config: TransformerConfig):
        self.pieces = pieces
        self._config = config
        self.length = config.text_len  # T + 1
        self.null = self.encode("")

    def encode(self, prompt: str) -> Tensor:
        """str -> (T + 1,) int64; what does not fit is cut."""
        return place(pad(self.pieces.encode(prompt), self.length - 1)[None], self._config)[0]

    def count(self, prompt: str) -> int:
        """How many of the tokens the prompt needs, the first one included."""
        return 1 + len(self.pieces.encode(prompt))

    def readable(self, prompt: str) -> bool:
        """Whether a letter or digit is left of the prompt once it is read."""
        return any(character.isalnum() for character in self.pieces.decode(self.pieces.encode(prompt)))


def pad(ids: list[int], length: int) -> Tensor:
    """Ids -> (length,) int64, cut or padded."""
    row = torch.full((length,), PAD)
    row[: len(ids)] = torch.tensor(ids[:length])
    return row


def place(ids: Tensor, config: TransformerConfig) -> Tensor:
    """(B, T) ids, 0 for padding -> (B, T + 1) text tokens of the stream.

    The first token has id 0. Where paddings count, each becomes that of its position.
    """
    length = config.text_len - 1
    if config.uncounted_token is None:
        paddings = torch.arange(config.text_vocab - length, config.text_vocab, device=ids.device)
        ids = torch.where(ids == PAD, paddings, ids)
    return torch.cat([ids.new_zeros(len(ids), 1), ids], dim=1)


def find(folder: Path, size: int) -> tuple[Pieces, tuple[Path, ...]] | None:
    """The text tokenizer of a model with `size` pieces, and the files that it came from; None where there is none.

    Of the files in the folder, one with exactly that many pieces, else the one with most that is not too large.
    """
    found = {path: pieces for path in sorted(folder.glob("*")) if (pieces := read(path)) is not None}
    fitting = sorted((pieces.size, path) for path, pieces in found.items() if pieces.size <= size)
    if size == CLIP_SIZE and (not fitting or fitting[-1][0] < size):
        return ClipPieces(), ()
    if not fitting:
        return None
    path = fitting[-1][1]
    return found[path], (path,)


def read(path: Path) -> Pieces | None:
    """The pieces of a file of `tokenizers` or YouTokenToMe, or of a list of word pieces; None where it is none."""
    if not any(path.match(pattern) for pattern in FILES):
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if text.lstrip().startswith("{"):
            return FilePieces(Tokenizer.from_str(text)) if "model" in json.loads(text) else None
        return FilePieces(_bert(text.splitlines())) if path.suffix == ".txt" else Yttm.load(path)
    except Exception:  # the library raises bare Exception for any text that is no tokenizer
        return None


def _bert(vocabulary: list[str]) -> Tokenizer:
    """BERT's word pieces; Chinese characters stand alone."""
    ids = {piece: index for index, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(algorithms.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
