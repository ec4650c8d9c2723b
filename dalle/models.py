"""From a name or a place to a model that is ready to draw."""

import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dalle import checkpoint, config, flaxfile, hub, torchfile
from dalle.checkpoint import TORCH_SUFFIXES, Contents
from dalle.contracts import Bundle, ImageTokenizer, SamplingOptions
from dalle.errors import CheckpointError, DownloadError, HalfError, ModelError, SettingError, UnknownModelError
from dalle.families import Family, Parts, families, native
from dalle.hub import Source
from dalle.measured import BY_CLIP, BY_JUDGE

ASSETS = Path(__file__).resolve().parents[1] / "assets"
CLIP = "CLIP"  # the one part that is not needed to draw
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ModelCard:
    """An entry of `assets/models.toml`."""

    name: str
    title: str
    languages: tuple[str, ...]  # of prompts; none where it reads no prompts
    licence: str
    grid: tuple[int, int] | None = None  # of image tokens; None where nobody states it
    pixels: int | None = None
    note: str = ""
    size: str = ""  # of its files
    memory: str = ""  # that its weights need
    options: SamplingOptions | None = None  # the settings that its authors recommend; None: those that the files tell
    directory: str = ""  # below assets/, of a model that comes with the program
    sources: tuple[Source, ...] = ()  # of one that comes from the Hub
    settings: dict[str, str] = field(default_factory=dict)  # what these files do not tell: a `config.json` beside them
    addresses: tuple[str, ...] = ()  # of one that is published elsewhere

    def place(self) -> Path:
        """Its folder; what is missing of it is fetched from the Hub. Raises DownloadError."""
        if self.directory:
            return ASSETS / self.directory
        if self.sources:
            return hub.gather(self.name, self.sources, self.settings)
        raise DownloadError(
            f"{self.title} is not on the Hub. Please download and unpack {' and '.join(self.addresses)} into one "
            f"folder, and name that folder instead. {self.note}".rstrip()
        )

    def available(self) -> bool:
        """Whether its files are here."""
        if self.directory:
            return any(family.detect(self.place()) for family in families())
        return bool(self.sources) and not hub.missing(self.sources)


@lru_cache(maxsize=1)
def registered() -> tuple[ModelCard, ...]:
    """The models that have a name."""
    entries = tomllib.loads((ASSETS / "models.toml").read_text(encoding="utf-8"))["model"]
    return tuple(config.from_json(ModelCard, entry, "models.toml") for entry in entries)


def load(name: str, device: torch.device, dtype: torch.dtype = torch.float32) -> Bundle:
    """The model of that registered name, or the one at that place, ready to draw. Raises ModelError."""
    place = find(name)
    parts = family_of(place).load(place, device, dtype)
    if parts.text is None or parts.model is None or parts.images is None:
        lacks = [part for part in _missing(parts) if part != CLIP]
        raise ModelError(f"'{place.name}' is not a whole model. It has no {' and no '.join(lacks)}.")
    stamp = checkpoint.fingerprint(parts.files)
    if dtype != torch.float32:  # other pictures
        stamp = f"{stamp}-{str(dtype).removeprefix('torch.')}"
    title = parts.title or place.name
    card = next((card for card in registered() if card.name == name), None)
    options = card.options if card and card.options else parts.options
    languages = card.languages if card else parts.languages
    nets = (parts.text, parts.model, parts.images, parts.ranker)
    return Bundle(place.name, title, *nets, options, stamp, place, languages, parts.agreement)


def load_images(name: str, device: torch.device) -> ImageTokenizer:
    """The image tokenizer of a model, or one that is on its own. Raises ModelError."""
    place = find(name)
    images = family_of(place).load(place, device).images
    if images is None:
        raise ModelError(f"'{place.name}' has no image tokenizer.")
    return images


def convert(name: str, out: Path, dtype: torch.dtype = torch.float32) -> tuple[str, ...]:
    """Write a model of any family in our own layout, its transformer's weights as `dtype`.

    Returns what could not be written and is left out. Raises ModelError.
    """
    place = find(name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"'{out.name}' is there already. Choose an empty folder, or one that is yet to be made.")
    parts = family_of(place).load(place, torch.device("cpu"), dtype)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=".converting-") as beside:  # a whole model in `out`, or none
        made = Path(beside) / out.name
        made.mkdir()
        native.save(parts, place, made, dtype)
        written = native.load(made, torch.device("meta"))
        if out.exists():
            out.rmdir()
        made.rename(out)
    return tuple(part for part in _missing(written) if part not in _missing(parts))


@dataclass(frozen=True)
class Inspection:
    """What a place holds."""

    family: str
    title: str
    version: str
    sizes: dict[str, dict[str, Any]]  # of each part that is there
    files: tuple[Contents, ...]
    missing: tuple[str, ...]  # what it lacks to draw and to rank


def inspect(name: str) -> Inspection:
    """What a registered model, a file or a folder holds, without loading weights. Raises ModelError."""
    place = find(name)
    family = family_of(place)
    name_of_family = family.__name__.rpartition(".")[2]
    try:
        parts = family.load(place, torch.device("meta"))
    except HalfError as error:
        files = checkpoint.find(place, *TORCH_SUFFIXES)
        held = tuple(checkpoint.contents(file) for file in files)
        return Inspection(name_of_family, "", f"without the {error.missing}", {}, held, (error.missing,))
    text = {} if parts.text is None else {"length": parts.text.length, "guidance": parts.text.null is not None}
    images = {} if parts.images is None else {"grid": parts.images.grid, "codes": parts.images.vocab}
    sizes = {
        "text tokenizer": text,
        "transformer": _config(parts.model),
        "image tokenizer": images | _config(parts.images),
        CLIP: _config(getattr(parts.ranker, "model", None)),
    }
    return Inspection(
        family=name_of_family,
        title=parts.title,
        version=parts.version,
        sizes={part: numbers for part, numbers in sizes.items() if numbers},
        files=tuple(checkpoint.contents(file) for file in parts.files),
        missing=_missing(parts),
    )


def _config(part: Any) -> dict[str, Any]:
    """The sizes of a net, and those of its choices that are not the usual ones."""
    config = getattr(part, "config", None)
    if not is_dataclass(config) or isinstance(config, type):
        return {}
    usual = {part.name: part.default for part in fields(config)}
    return _flat({name: value for name, value in asdict(config).items() if value != usual[name]})


def _flat(numbers: dict[str, Any]) -> dict[str, Any]:
    """The sizes of a part within a net stand behind its name: "decoder depth"."""
    flat: dict[str, Any] = {}
    for name, value in numbers.items():
        flat |= {f"{name} {inner}": v for inner, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _missing(parts: Parts) -> tuple[str, ...]:
    """The parts that are not there."""
    there = {
        "transformer": parts.model,
        "text tokenizer": parts.text,
        "image tokenizer": parts.images,
        CLIP: parts.ranker,
    }
    return tuple(name for name, part in there.items() if part is None)


def family_of(place: Path) -> Family:
    """The one that knows the files at a place. Raises CheckpointError where none does, or a file is damaged."""
    for family in families():
        if family.detect(place):
            return family
    for file in checkpoint.find(place, *TORCH_SUFFIXES):
        torchfile.read(file, torchfile.ANY)  # says what is wrong with it, where something is
    for file in checkpoint.find(place, checkpoint.FLAT_SUFFIX):
        checkpoint.read(file)
    for file in checkpoint.find(place, flaxfile.SUFFIX):
        flaxfile.read(file)
    if place.suffix in (".gz", ".tar", ".tgz", ".zip"):
        raise CheckpointError(f"'{place.name}' is an archive: please unpack it and name the folder.")
    raise CheckpointError(f"'{place.name}' holds no model that this program knows.")


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


def pick_dtype(name: str) -> torch.dtype:
    """The type of a transformer's weights. Raises SettingError."""
    if name not in DTYPES:
        raise SettingError(f"There is no number type called '{name}'. Try {', '.join(DTYPES)}.")
    return DTYPES[name]


def find(name: str) -> Path:
    """The folder of a registered model, that file or folder itself, or that of a repository on the Hub, fetched where
    it is not here. Raises UnknownModelError, DownloadError.
    """
    for card in registered():
        if card.name == name:
            return card.place()
    place = Path(name)
    if place.exists():
        return place
    if hub.is_name(name):
        whole = next((card for card in registered() if card.sources and card.sources[0].repo == name), None)
        return whole.place() if whole else hub.snapshot(name)
    known = ", ".join(card.name for card in registered())
    raise UnknownModelError(f"There is no model, file or folder called '{place.name}'. Known models: {known}.")


def files(name: str) -> tuple[Path, list[str]]:
    """The folder of a model, and the paths below it of all that belongs to it: its own files, and what was measured.

    Raises ModelError.
    """
    place = find(name)
    if place.is_file():
        return place.parent, [place.name]
    if not native.detect(place):
        family_of(place)
        return place, [path.relative_to(place).as_posix() for path in sorted(place.rglob("*")) if path.is_file()]
    told = [name for name in (BY_CLIP, BY_JUDGE) if (place / name).is_file()]
    return place, native.files(place) + told


def push(name: str, repo: str, private: bool = False) -> str:
    """Upload a model in our own layout to the Hub, and return its address. Raises ModelError."""
    place = find(name)
    if not native.detect(place):
        raise ModelError(f"'{place.name}' is not in our own layout: convert it first.")
    return hub.push(place, native.files(place), repo, private)
