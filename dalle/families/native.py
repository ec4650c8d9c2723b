"""Our own layout: one folder, a JSON config beside each net's safetensors, as training exports it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from dalle import checkpoint, config
from dalle.contracts import SamplingOptions
from dalle.errors import CheckpointError
from dalle.families import Parts
from dalle.nn.dvae import DVAE, DVAEConfig
from dalle.nn.transformer import Transformer, TransformerConfig
from dalle.ranking import ClipRanker
from dalle.text import BpeTokenizer

CARD = "model.json"
CPU = torch.device("cpu")
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Card:
    """`model.json`: what the nets' own configs do not say."""

    title: str
    text_len: int  # T
    options: SamplingOptions = field(default_factory=SamplingOptions)  # the settings it draws best with


def detect(place: Path) -> bool:
    return (place / CARD).is_file()


def load(place: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Parts:
    """Read a model folder; the ranker may be missing. Raises CheckpointError."""
    card = config.load(Card, place / CARD)
    text = BpeTokenizer.load(place / "tokenizer.json", card.text_len)
    dvae = read_dvae(place, device)
    sizes = config.load(TransformerConfig, place / "transformer.json")
    if (sizes.text_vocab, sizes.text_len) != (text.vocab, text.length):
        raise CheckpointError("tokenizer.json is not the one that the transformer was trained with.")
    if (sizes.image_vocab, sizes.grid) != (dvae.vocab, dvae.grid):
        raise CheckpointError("The dVAE is not the one that the transformer was trained with.")
    transformer = _read(lambda: Transformer(sizes), place, "transformer", device, dtype)
    ranker = ClipRanker.load(place, text) if (place / "clip.json").is_file() else None
    if ranker is not None:
        ranker.model.to(device)
    configs = [place / name for name in ("dvae.json", "transformer.json", "tokenizer.json")]
    files = (*configs, *checkpoint.shards(place, "dvae"), *checkpoint.shards(place, "transformer"))
    return Parts(text, transformer, dvae, ranker, card.title, card.options, files)


def read_dvae(place: Path, device: torch.device = CPU) -> DVAE:
    """The discrete VAE alone: `dvae.json` and its weights."""
    sizes = config.load(DVAEConfig, place / "dvae.json")
    return _read(lambda: DVAE(sizes), place, "dvae", device, torch.float32)


def _read(make: Callable[[], N], place: Path, stem: str, device: torch.device, dtype: torch.dtype) -> N:
    return checkpoint.build(make, checkpoint.read_tensors(place, stem), f"{stem}.safetensors", device, dtype)
