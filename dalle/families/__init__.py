"""Checkpoint families: each file here knows one layout of files, and folds it onto the nets in `dalle.nn`."""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, cast

import torch

from dalle.contracts import ImageTokenizer, Ranker, SamplingOptions, TextTokenizer, TokenModel


@dataclass(frozen=True)
class Parts:
    """What a checkpoint turned out to hold; a part may be missing."""

    text: TextTokenizer | None = None
    model: TokenModel | None = None
    images: ImageTokenizer | None = None
    ranker: Ranker | None = None
    title: str = ""
    options: SamplingOptions = field(default_factory=SamplingOptions)
    files: tuple[Path, ...] = ()  # that the weights came from
    version: str = ""  # which of the family's layouts or releases it is, where there are several
    languages: tuple[str, ...] = ()  # of prompts, where all models of the layout read the same
    agreement: bool = False  # as in `Bundle`


class Family(Protocol):
    """A module of this package. A place is a file, or a folder that holds all files of a model."""

    __name__: str

    def detect(self, place: Path) -> bool:
        """Whether the files at a place are of this family, by keys and shapes alone; never raises."""

    def load(self, place: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Parts:
        """The parts that are there, on the device, ready to draw. Raises CheckpointError.

        The transformer has weights of that type; image tokenizers keep float32, which their codes depend on.
        Loading to the "meta" device costs next to nothing and tells what the files hold.
        """


def families() -> tuple[Family, ...]:
    """All of them: a file in this package is enough to add one."""
    return tuple(cast(Family, import_module(f"{__name__}.{module.name}")) for module in iter_modules(__path__))
