"""Files of weights: found, checked, read safely, and loaded with nothing missing and nothing left over."""

import contextlib
import hashlib
import itertools
import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from dalle import flaxfile, mapped, torchfile
from dalle.errors import CheckpointError

SHARD_BYTES = 9_500_000  # many hosts refuse, or store elsewhere, single files above 10 MB
TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")  # of files of torch.save
FLAT_SUFFIX = ".safetensors"
_SPARE = 1000  # parameters that a net may have beyond twice the tensors of its file before it is refused half made
N = TypeVar("N", bound=nn.Module)
_KINDS = {  # names of number types in safetensors
    "BF16": torch.bfloat16,
    "BOOL": torch.bool,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I32": torch.int32,
    "I64": torch.int64,
    "U8": torch.uint8,
}
_POINTER = b"version https://git-lfs.github.com/spec/"


def shards(directory: Path, stem: str) -> list[Path]:
    """The files that hold one net: `stem.safetensors`, or `stem-00001-of-0000N.safetensors` and so on.

    Raises CheckpointError where there is none, or one of a row is missing.
    """
    single = directory / f"{stem}.safetensors"
    if single.is_file():
        return [single]
    found = _row(directory, stem)
    if not found:
        raise CheckpointError(f"{single.name} is missing.")
    count = int(found[0].stem[-5:])
    wanted = [directory / f"{stem}-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    if missing := sorted(set(wanted) - set(found)):
        raise CheckpointError(f"{missing[0].name} is missing.")
    return wanted


def read_tensors(directory: Path, stem: str) -> dict[str, Tensor]:
    """All tensors of one net, on the CPU, in the type that they were stored in. Raises CheckpointError."""
    tensors: dict[str, Tensor] = {}
    for path in shards(directory, stem):
        part = _views(path)
        if twice := sorted(set(part) & set(tensors)):
            raise CheckpointError(f"{path.name} holds {twice[0]} a second time.")
        tensors |= part
    return tensors


def _views(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, views of it. Its library checks it, and this finds where they are."""
    with path.open("rb") as start_of:
        if start_of.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"{path.name} is only a Git LFS pointer, not the weights. Run `git lfs pull` to fetch them."
            )
    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is damaged or is no safetensors file.") from error
    memory = mapped.open_file(path)
    start = 8 + int.from_bytes(memory[:8], "little")
    header = json.loads(memory[8:start])
    tensors = {}
    for name in names:
        kind, shape = _KINDS.get(header[name]["dtype"]), header[name]["shape"]
        if kind is None:
            raise CheckpointError(f"{path.name} holds numbers of a type that no model here has: {name}.")
        first, _ = header[name]["data_offsets"]
        tensors[name] = mapped.view(memory, start + first, kind, math.prod(shape)).view(shape)
    return tensors


def read(path: Path) -> Any:
    """What a file of torch.save or safetensors holds, tensors as views of it. Raises CheckpointError."""
    return _views(path) if path.suffix == FLAT_SUFFIX else torchfile.read(path)


def look(path: Path) -> Any:
    """As `read`, with checksums unread and any class a shell."""
    return _views(path) if path.suffix == FLAT_SUFFIX else torchfile.look(path)


def peek(path: Path) -> Any:
    """What `look` would return; None where it is no readable file."""
    try:
        return look(path)
    except (CheckpointError, OSError):
        return None


def write_tensors(
    tensors: Mapping[str, Tensor], directory: Path, stem: str, dtype: torch.dtype, limit: int | None = None
) -> None:
    """Write one net's tensors as `dtype`, masks as they are; replaces what was there.

    Shards are of at most `limit` bytes; without one they are of a size that any host takes. A tensor with two names
    is written twice.
    """
    for old in [directory / f"{stem}.safetensors", *_row(directory, stem)]:
        old.unlink(missing_ok=True)
    parts: list[dict[str, Tensor]] = [{}]
    size, written = 0, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        if parts[-1] and size + tensor.nbytes > (limit or SHARD_BYTES):
            parts.append({})
            size = 0
        memory = tensor.untyped_storage().data_ptr()
        parts[-1][name] = tensor.clone() if memory in written else tensor
        size += tensor.nbytes
        written.add(memory)
    count = len(parts)
    for i, part in enumerate(parts, start=1):
        name = stem if count == 1 else f"{stem}-{i:05}-of-{count:05}"
        file = directory / f"{name}.safetensors"
        save_file(part, file)
        file.chmod(directory.stat().st_mode & 0o666)  # who may use the folder may read it; else only its owner might


@dataclass(frozen=True)
class Contents:
    """What a file of weights holds."""

    file: str
    bytes: int
    tensors: int  # 0 where the file is of no known kind
    parameters: int  # numbers in all tensors
    types: tuple[str, ...]  # "float32" and the like


def contents(path: Path) -> Contents:
    """Count a file's tensors by their names and shapes alone."""
    if path.suffix == FLAT_SUFFIX:
        tensors = list(_views(path).values())
    elif path.suffix == flaxfile.SUFFIX:
        tensors = list((flaxfile.peek(path) or {}).values())
    else:
        tensors = list(_tensors_in(torchfile.peek(path)))
    types = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors}
    return Contents(
        path.name, path.stat().st_size, len(tensors), sum(tensor.numel() for tensor in tensors), tuple(sorted(types))
    )


def _tensors_in(tree: Any) -> Iterator[Tensor]:
    """Those of a file's own dictionaries, and of a whole module."""
    pending, seen = [tree], set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        match value:
            case Tensor():
                yield value
            case torchfile.Shell() if value is tree:
                pending += torchfile.state_dict(value).values()
            case dict():
                pending += value.values()


def _row(directory: Path, stem: str) -> list[Path]:
    five = "[0-9]" * 5
    return sorted(directory.glob(f"{stem}-{five}-of-{five}.safetensors"))


def find(place: Path, *suffixes: str) -> list[Path]:
    """The files of these suffixes at a place, in order: itself, or those in the folder and in its own folders."""
    files = [place] if place.is_file() else [*place.glob("*"), *place.glob("*/*")]
    return sorted(path for path in files if path.suffix in suffixes and path.is_file())


def named(tensors: Any, where: str) -> dict[str, Tensor]:
    """What a file should hold: tensors, each with its name. Raises CheckpointError naming what is none."""
    if not isinstance(tensors, Mapping) or not tensors:
        raise CheckpointError(f"{where} holds no named tensors.")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"{where} should hold tensors with names only, not {str(name)[:100]!r}.")
    return dict(tensors)


def take(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], where: str) -> Tensor:
    """Move a tensor out of a file's; what is left at the end was not used. Raises CheckpointError naming the key."""
    if name not in tensors:
        raise CheckpointError(f"{where} lacks the tensor {name}.")
    if tuple(tensors[name].shape) != shape:
        shapes = f"{tuple(tensors[name].shape)} instead of {shape}"
        raise CheckpointError(f"{where}: {name} has the shape {shapes}.")
    return tensors.pop(name)


def build(
    make: Callable[[], N], tensors: Mapping[str, Tensor], where: str, device: torch.device, dtype: torch.dtype
) -> N:
    """A net that draws, of exactly these tensors: nothing is initialised, and each goes straight to its place.

    Tensors that are one stay one. Raises CheckpointError naming the first key that does not fit.
    """
    net = outline(make, tensors, where)
    placed: dict[tuple[int, torch.Size, tuple[int, ...]], Tensor] = {}
    for tensor in tensors.values():
        if _identity(tensor) not in placed:
            kind = dtype if tensor.is_floating_point() else tensor.dtype
            placed[_identity(tensor)] = mapped.cast(tensor, kind, device).contiguous()
    net.load_state_dict({name: placed[_identity(tensor)] for name, tensor in tensors.items()}, assign=True)
    return net.eval().requires_grad_(False)


def outline(make: Callable[[], N], tensors: Mapping[str, Tensor], where: str) -> N:
    """A net on the meta device, where no size costs anything, that has exactly these tensors.

    Raises CheckpointError for sizes that no net has, or naming the first key that does not fit.
    """
    try:
        with torch.device("meta"), _fitting(tensors, where):
            net = make()
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: no net has the sizes that are stated ({error}).") from error
    check(net, tensors, where)
    return net


@contextlib.contextmanager
def _fitting(tensors: Mapping[str, Tensor], where: str) -> Iterator[None]:
    """Raises CheckpointError as soon as a net that is made in here has far more parameters than there are tensors:
    making one of the 10^12 layers that a file may state would take years, though nothing of it is stored.
    """
    thread, made, most = threading.get_ident(), itertools.count(1), 2 * len(tensors) + _SPARE

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() == thread and next(made) > most:
            raise CheckpointError(f"{where} holds far fewer tensors than a net of the stated sizes has.")

    hook = register_module_parameter_registration_hook(count)  # for all threads, hence the look at which one it is
    try:
        yield
    finally:
        hook.remove()


def _identity(tensor: Tensor) -> tuple[int, torch.Size, tuple[int, ...]]:
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def check(net: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise CheckpointError naming the first key that a net wants and does not get, or gets and does not want."""
    wanted = net.state_dict()
    if missing := sorted(set(wanted) - set(tensors)):
        raise CheckpointError(f"{where} lacks the tensor {missing[0]}.")
    if unknown := sorted(set(tensors) - set(wanted)):
        raise CheckpointError(f"{where} holds a tensor that its configuration does not name: {unknown[0]}.")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
            raise CheckpointError(f"{where}: {name} has the shape {shapes}.")
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise CheckpointError(f"{where}: {name} holds numbers of another kind than it should: {tensor.dtype}.")


def fingerprint(paths: Iterable[Path]) -> str:
    """A short name of exactly these bytes: 16 hexadecimal digits of a SHA-256 over the files' own."""
    digests = sorted((path.name, sha256(path)) for path in paths)
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """The SHA-256 of a file of any size, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
