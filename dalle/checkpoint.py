"""Files of weights: found, checked, read safely, and loaded with nothing missing and nothing left over."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dalle.errors import CheckpointError

SHARD_BYTES = 9_500_000  # many hosts refuse, or store elsewhere, single files above 10 MB
_POINTER = b"version https://git-lfs.github.com/spec/"


def shards(directory: Path, stem: str) -> list[Path]:
    """The files that hold one net: `stem.safetensors`, or `stem-00001-of-0000N.safetensors` and so on.

    Raises CheckpointError where there is none, or one of a row is missing.
    """
    single = directory / f"{stem}.safetensors"
    if single.is_file():
        return [single]
    found = sorted(directory.glob(f"{stem}-?????-of-?????.safetensors"))
    if not found:
        raise CheckpointError(f"{single.name} is missing.")
    count = int(found[0].stem[-5:])
    wanted = [f"{stem}-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    if missing := sorted(set(wanted) - {path.name for path in found}):
        raise CheckpointError(f"{missing[0]} is missing.")
    return found


def read_tensors(directory: Path, stem: str) -> dict[str, Tensor]:
    """All tensors of one net, on the CPU, in the type that they were stored in. Raises CheckpointError."""
    tensors: dict[str, Tensor] = {}
    for path in shards(directory, stem):
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise CheckpointError(
                    f"{path.name} is only a Git LFS pointer, not the weights. Run `git lfs pull` to fetch them."
                )
        try:
            part = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path.name} is damaged or is no safetensors file.") from error
        if twice := sorted(set(part) & set(tensors)):
            raise CheckpointError(f"{path.name} holds {twice[0]} a second time.")
        tensors |= part
    return tensors


def write_tensors(tensors: Mapping[str, Tensor], directory: Path, stem: str, dtype: torch.dtype) -> None:
    """Write one net's tensors as `dtype`, in shards that any host takes; replaces what was there."""
    for old in directory.glob(f"{stem}*.safetensors"):
        old.unlink()
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().to(dtype).contiguous()
        if parts[-1] and size + tensor.nbytes > SHARD_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    count = len(parts)
    for i, part in enumerate(parts, start=1):
        name = stem if count == 1 else f"{stem}-{i:05}-of-{count:05}"
        save_file(part, directory / f"{name}.safetensors")


def load_strict(net: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put tensors into a net, casting to its types. Raises CheckpointError naming the first key that does not fit."""
    wanted = net.state_dict()
    if missing := sorted(set(wanted) - set(tensors)):
        raise CheckpointError(f"{where} lacks the tensor {missing[0]}.")
    if unknown := sorted(set(tensors) - set(wanted)):
        raise CheckpointError(f"{where} holds a tensor that its configuration does not name: {unknown[0]}.")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
            raise CheckpointError(f"{where}: {name} has the shape {shapes}.")
    net.load_state_dict(dict(tensors))


def fingerprint(paths: Iterable[Path]) -> str:
    """A short name of exactly these bytes: 16 hexadecimal digits of a SHA-256 over the files' own."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]
