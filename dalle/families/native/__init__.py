"""Our own layout: one folder, a JSON config beside each net's safetensors, as training exports it.

`model.json` says which nets and which text tokenizer there are; a model of any family can be written so.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from dalle import checkpoint, config, lexicon
from dalle.contracts import Ranker, SamplingOptions, TextTokenizer
from dalle.errors import CheckpointError, ModelError
from dalle.families import Parts
from dalle.nn.contrastive import Contrastive, ContrastiveConfig
from dalle.nn.dvae import DVAE, DVAEConfig
from dalle.nn.seq2seq import Seq2Seq, Seq2SeqConfig
from dalle.nn.strided_vae import StridedVAE, StridedVAEConfig
from dalle.nn.transformer import Transformer, TransformerConfig
from dalle.nn.vqgan import VQGAN, VQGANConfig
from dalle.ranking import CONFIG, WEIGHTS, ClipRanker
from dalle.text import BpeTokenizer

CARD = "model.json"
TOKENIZER = "tokenizer.json"
CPU = torch.device("cpu")
SHARD_BYTES = 2_000_000_000  # of a converted model, which goes to a host of models
N = TypeVar("N", bound=nn.Module)

MODELS: dict[str, tuple[Any, Any]] = {  # names of files -> the net that they describe
    "transformer": (Transformer, TransformerConfig),
    "seq2seq": (Seq2Seq, Seq2SeqConfig),
}
IMAGES: dict[str, tuple[Any, Any]] = {
    "dvae": (DVAE, DVAEConfig),
    "strided_vae": (StridedVAE, StridedVAEConfig),
    "vqgan": (VQGAN, VQGANConfig),
}
RANKERS: dict[str, tuple[Any, Any]] = {"contrastive": (Contrastive, ContrastiveConfig)}


@dataclass(frozen=True)
class Card:
    """`model.json`: what the nets' own configs do not say. A part that is None is not there."""

    title: str
    text_len: int  # T
    options: SamplingOptions = field(default_factory=SamplingOptions)  # the settings it draws best with
    text: str | None = "bpe"  # our own tokenizer, or one of `readers.READERS`
    model: str | None = "transformer"  # one of `MODELS`
    images: str | None = "dvae"  # one of `IMAGES`
    ranker: str | None = None  # one of `RANKERS`; our own CLIP is told by its files
    languages: tuple[str, ...] = ()  # of prompts; none where they are not known
    agreement: bool = False  # as in `Bundle`


def detect(place: Path) -> bool:
    return (place / CARD).is_file()


def load(place: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Parts:
    """Read a model folder; the ranker may be missing. Raises CheckpointError."""
    card = config.load(Card, place / CARD)
    sizes = None if card.model is None else _sizes(MODELS, card.model, place)
    text, more = _text(place, card, sizes)
    model = images = None
    if card.images is not None:
        images = _net(IMAGES, card.images, place, device, torch.float32)
    if sizes is not None and images is not None and (sizes.image_vocab, sizes.grid) != (images.vocab, images.grid):
        name = "dVAE" if card.images == "dvae" else "image tokenizer"
        raise CheckpointError(f"The {name} is not the one that the transformer was trained with.")
    if card.model is not None:
        model = _net(MODELS, card.model, place, device, dtype)
    ranker = None if text is None else _ranker(card, place, text, device)
    nets = [name for name in (card.images, card.model, card.ranker) if name is not None]
    weights = [file for name in nets for file in checkpoint.shards(place, name)]
    files = (*(place / f"{name}.json" for name in nets), *more, *weights)
    parts = (text, model, images, ranker)
    return Parts(*parts, card.title, card.options, files, languages=card.languages, agreement=card.agreement)


def save(parts: Parts, source: Path, place: Path, dtype: torch.dtype) -> None:
    """Write the parts of a model of any family, which came from `source`, to an empty folder; `load` reads them.

    The transformer's weights are stored as `dtype`, the image tokenizer's as they are. A CLIP of any other library
    than ours is left out. Raises ModelError for a part that this layout cannot hold.
    """
    model = _write(parts.model, MODELS, place, dtype)
    images = _write(parts.images, IMAGES, place, torch.float32)
    text = None if parts.text is None or model is None else _write_text(parts.text, parts.files, place)
    judge = getattr(parts.ranker, "model", None)
    ranker = _write(judge, RANKERS, place, torch.float32) if isinstance(judge, Contrastive) and text else None
    if text == "bpe" and parts.ranker is not None:
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(source / name, place / name)
    length = 0 if parts.text is None else parts.text.length
    card = Card(parts.title, length, parts.options, text, model, images, ranker, parts.languages, parts.agreement)
    config.save(card, place / CARD)


def files(place: Path) -> list[str]:
    """The files of a whole model folder, by their paths below it. Raises CheckpointError where it is not whole."""
    beside = [place / name for name in (CARD, CONFIG, WEIGHTS, lexicon.FILE, "README.md")]
    read = load(place, torch.device("meta")).files
    return [path.relative_to(place).as_posix() for path in (*beside, *read) if path.is_file()]


def read_dvae(place: Path, device: torch.device = CPU) -> DVAE:
    """The discrete VAE alone: `dvae.json` and its weights."""
    return _net(IMAGES, "dvae", place, device, torch.float32)


def read_transformer(place: Path, device: torch.device = CPU) -> Transformer:
    """The transformer alone: `transformer.json` and its weights."""
    return _net(MODELS, "transformer", place, device, torch.float32)


def _net(kinds: dict[str, Any], name: str, place: Path, device: torch.device, dtype: torch.dtype) -> Any:
    sizes = _sizes(kinds, name, place)
    return _read(lambda: kinds[name][0](sizes), place, name, device, dtype)


def _ranker(card: Card, place: Path, text: TextTokenizer, device: torch.device) -> Ranker | None:
    if card.ranker is not None:
        from dalle.families.native import readers

        return readers.judge(_net(RANKERS, card.ranker, place, device, torch.float32), text)
    if not (place / CONFIG).is_file():
        return None
    own = ClipRanker.load(place, text)
    own.model.to(device)
    return own


def _sizes(kinds: dict[str, Any], name: str, place: Path) -> Any:
    if name not in kinds:
        raise CheckpointError(f"{CARD} names a net that this program does not know: {name[:50]!r}.")
    return config.load(kinds[name][1], place / f"{name}.json")


def _read(make: Callable[[], N], place: Path, stem: str, device: torch.device, dtype: torch.dtype) -> N:
    return checkpoint.build(make, checkpoint.read_tensors(place, stem), f"{stem}.safetensors", device, dtype)


def _write(net: Any, kinds: dict[str, Any], place: Path, dtype: torch.dtype) -> str | None:
    """A net's config and weights; returns the name of its kind. Raises ModelError for one of no known kind."""
    if net is None:
        return None
    name = next((name for name, (kind, _) in kinds.items() if type(net) is kind), None)
    if name is None:
        raise ModelError(f"A {type(net).__name__} cannot be written in our own layout yet.")
    config.save(net.config, place / f"{name}.json")
    checkpoint.write_tensors(net.state_dict(), place, name, dtype, SHARD_BYTES)
    return name


def _text(place: Path, card: Card, sizes: Any) -> tuple[TextTokenizer | None, tuple[Path, ...]]:
    """What reads prompts, and its files."""
    if card.text is None or sizes is None:
        return None, ()
    if card.text != "bpe":
        from dalle.families.native import readers  # all families, which training does without

        return readers.read(card.text, place, sizes)
    text = BpeTokenizer.load(place / TOKENIZER, card.text_len)
    if (sizes.text_vocab, sizes.text_len) != (text.vocab, text.length):
        raise CheckpointError(f"{TOKENIZER} is not the one that the transformer was trained with.")
    return text, (place / TOKENIZER,)


def _write_text(text: TextTokenizer, files: tuple[Path, ...], place: Path) -> str:
    """The text tokenizer, which came from some of these files; returns the name of its kind. Raises ModelError."""
    if isinstance(text, BpeTokenizer):
        text.save(place / TOKENIZER)
        return "bpe"
    from dalle.families.native import readers

    return readers.write(text, files, place)
