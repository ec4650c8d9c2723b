"""From a name or a place to a model that is ready to draw."""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from dalle import checkpoint
from dalle.contracts import Bundle
from dalle.errors import CheckpointError, ModelError, SettingError, UnknownModelError
from dalle.families import families

ASSETS = Path(__file__).resolve().parents[1] / "assets"


@dataclass(frozen=True)
class ModelCard:
    """An entry of `assets/models.toml`."""

    name: str
    title: str
    directory: str  # below assets/
    languages: tuple[str, ...]
    grid: tuple[int, int]
    pixels: int
    licence: str
    note: str = ""

    @property
    def place(self) -> Path:
        return ASSETS / self.directory

    def available(self) -> bool:
        """Whether its files are here."""
        return any(family.detect(self.place) for family in families())


@lru_cache(maxsize=1)
def registered() -> tuple[ModelCard, ...]:
    """The models that have a name."""
    entries = tomllib.loads((ASSETS / "models.toml").read_text(encoding="utf-8"))["model"]
    return tuple(
        ModelCard(**{**entry, "languages": tuple(entry["languages"]), "grid": tuple(entry["grid"])})
        for entry in entries
    )


def load(name: str, device: torch.device) -> Bundle:
    """The model of that registered name, or the one in that folder. Raises ModelError."""
    place = find(name)
    family = next((family for family in families() if family.detect(place)), None)
    if family is None:
        raise CheckpointError(f"'{place.name}' holds no model that this program knows.")
    parts = family.load(place, device)
    if parts.text is None or parts.model is None or parts.images is None:
        raise ModelError(f"'{place.name}' is not a whole model: it needs a transformer and both tokenizers.")
    stamp = checkpoint.fingerprint(parts.files)
    title = parts.title or place.name
    return Bundle(place.name, title, parts.text, parts.model, parts.images, parts.ranker, parts.options, stamp)


def pick_device(name: str) -> torch.device:
    """ "auto" is the first GPU, or the CPU. Raises SettingError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"There is no device called '{name}' here. Try 'cpu' or 'auto'.") from error
    return device


def find(name: str) -> Path:
    """The folder of a registered model, or that folder itself. Raises UnknownModelError."""
    for card in registered():
        if card.name == name:
            return card.place
    place = Path(name)
    if not place.is_dir():
        known = ", ".join(card.name for card in registered())
        raise UnknownModelError(f"There is no model and no folder called '{place.name}'. Known models: {known}.")
    return place
