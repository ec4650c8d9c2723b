"""Text tokenizers of other layouts within ours: their own files in the folder `text`, read as their families do."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dalle.contracts import TextTokenizer
from dalle.errors import CheckpointError, ModelError
from dalle.families.dalle_mini import WORDS
from dalle.families.dalle_mini.captions import CaptionTokenizer, Normalizer, read_bpe
from dalle.families.dalle_pytorch.captions import FILES as CAPTION_FILES
from dalle.families.dalle_pytorch.captions import Captions, ClipPieces, find
from dalle.families.dalle_pytorch.ranker import PairRanker
from dalle.families.mindalle import CharBpe, ClassNumbers
from dalle.nn.contrastive import Contrastive
from dalle.yttm import Yttm, YttmTokenizer

FOLDER = "text"
BYTE_BPE = ("vocab*.json", "merges*.txt")


class Reader(NamedTuple):
    """A kind of text tokenizer."""

    fits: Callable[[TextTokenizer], bool]  # whether one is of this kind
    files: tuple[str, ...]  # patterns of the names of its files
    read: Callable[[Path, Any], TextTokenizer]  # from their folder, for a transformer of these sizes


def _yttm(folder: Path, sizes: Any) -> YttmTokenizer:
    length = sizes.pattern_start or sizes.text_len
    text = YttmTokenizer(Yttm.load(_one(folder, "*.model")), length, begins=1 + sizes.text_len - length)
    if text.vocab != sizes.text_vocab:
        raise CheckpointError("The text tokenizer is not the one that the transformer was trained with.")
    return text


def _char_bpe(folder: Path, sizes: Any) -> CharBpe:
    return CharBpe(_one(folder, "*vocab.json"), _one(folder, "*merges.txt"), sizes.text_len, sizes.text_vocab)


def _byte_bpe(folder: Path, sizes: Any, normalize: bool = False) -> CaptionTokenizer:
    bpe = read_bpe(_one(folder, "vocab*.json"), _one(folder, "merges*.txt"), sizes.text_vocab)
    words = sorted(folder.glob(f"*{WORDS}*"))[:1]
    return CaptionTokenizer(bpe, sizes.text_len, Normalizer(*words) if normalize else None)


def _captions(folder: Path, sizes: Any) -> Captions:
    """CLIP's pieces have no file."""
    pieces = ClipPieces() if not any(folder.glob("*")) else (find(folder, sizes.text_vocab) or (None,))[0]
    if pieces is None or pieces.size > sizes.text_vocab:
        raise CheckpointError("The text tokenizer is not the one that the transformer was trained with.")
    return Captions(pieces, sizes)


def _normalizes(text: TextTokenizer) -> bool:
    return type(text) is CaptionTokenizer and text.normalizes


READERS = {
    "yttm": Reader(lambda text: type(text) is YttmTokenizer, ("*.model",), _yttm),
    "char_bpe": Reader(lambda text: type(text) is CharBpe, ("*vocab.json", "*merges.txt"), _char_bpe),
    "classes": Reader(
        lambda text: type(text) is ClassNumbers, (), lambda folder, sizes: ClassNumbers(sizes.text_vocab)
    ),
    "captions": Reader(lambda text: type(text) is Captions, CAPTION_FILES, _captions),
    "normalized_bpe": Reader(
        _normalizes, (*BYTE_BPE, f"*{WORDS}*"), lambda folder, sizes: _byte_bpe(folder, sizes, normalize=True)
    ),
    "byte_bpe": Reader(lambda text: type(text) is CaptionTokenizer, BYTE_BPE, _byte_bpe),
}


def read(name: str, place: Path, sizes: Any) -> tuple[TextTokenizer, tuple[Path, ...]]:
    """The text tokenizer of a model folder, and its files. Raises CheckpointError."""
    if name not in READERS:
        raise CheckpointError(f"The model has a text tokenizer that this program does not know: {name[:50]!r}.")
    text = READERS[name].read(place / FOLDER, sizes)
    return text, tuple(sorted((place / FOLDER).glob("*")))


def write(text: TextTokenizer, files: tuple[Path, ...], place: Path) -> str:
    """Copy those of a model's files that its text tokenizer was read from; returns its kind. Raises ModelError."""
    name = next((name for name, reader in READERS.items() if reader.fits(text)), None)
    if name is None:
        raise ModelError(f"A {type(text).__name__} cannot be written in our own layout yet.")
    for file in files:
        if any(file.match(pattern) for pattern in READERS[name].files):
            (place / FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(file, place / FOLDER / file.name)
    return name


def judge(model: Contrastive, text: TextTokenizer) -> PairRanker:
    """The ranker of a net that reads the same pieces as the transformer. Raises CheckpointError."""
    if not isinstance(text, Captions) or text.pieces.size > model.config.text_vocab:
        raise CheckpointError("The text tokenizer is not the one that the CLIP was trained with.")
    return PairRanker(model, text.pieces)


def _one(folder: Path, pattern: str) -> Path:
    """The file of that pattern. Raises CheckpointError."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise CheckpointError(f"{folder.name}/{pattern} is missing.")
    return found[0]
