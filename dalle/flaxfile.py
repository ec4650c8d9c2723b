"""Files of Flax, read as data: MessagePack (msgpack.org) maps within maps, with arrays at the ends.

An array is an extension of type 1 whose payload is MessagePack again: shape, name of its type, and its numbers in C
order, little-endian. One of more than 2^30 bytes is a map of its shape and its flat pieces. Nothing else is read.
"""

import math
import mmap
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dalle import mapped
from dalle.errors import CheckpointError

SUFFIX = ".msgpack"
MAX_ARRAYS = 100_000  # in one file
MAX_VALUES = 20 * MAX_ARRAYS  # names, numbers of shapes and all
MAX_PARTS = 1000  # files of a row
MAX_DEPTH = 32  # of maps within maps
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})")
_ARRAY = 1  # the extension type
_PIECES = "__msgpack_chunked_array__"
_DTYPES = {
    name: getattr(torch, name)
    for name in ("bfloat16", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
}


def row(path: Path) -> list[Path]:
    """The files that one model was split into, `name-00001-of-00003.msgpack` and so on; else the file itself."""
    if not (found := _PART.fullmatch(path.stem)):
        return [path]
    numbers = range(1, min(int(found[2]), MAX_PARTS) + 1)
    parts = [path.with_stem(f"{found[1]}-{number:05}-of-{found[2]}") for number in numbers]
    return parts if path in parts else [path]


def read(path: Path) -> dict[str, Tensor]:
    """All arrays by their paths, such as "model/encoder/embed_tokens/embedding", on the CPU; of all files of a row.

    They are views of the file and may begin at any byte: `mapped.cast` one before computing with it.
    Raises CheckpointError for a damaged file, and for one that holds anything but named arrays.
    """
    tensors: dict[str, Tensor] = {}
    for part in row(path):
        if not part.is_file():
            raise CheckpointError(f"{part.name} is missing.")
        held = _read(part)
        if twice := sorted(held.keys() & tensors.keys()):
            raise CheckpointError(f"{part.name} holds {twice[0]} a second time.")
        tensors |= held
    return tensors


def _read(path: Path) -> dict[str, Tensor]:
    memory = mapped.open_file(path)
    reader = _Reader(memory)
    try:
        tree = reader.value()
        if reader.position != len(memory):
            raise ValueError("bytes behind the end")
        return _flat(tree, "")
    except Exception as error:  # whatever unchecked bytes can provoke means the same
        raise CheckpointError(
            f"{path.name} is damaged or incomplete, or holds no weights of Flax ({type(error).__name__})."
        ) from error


def peek(path: Path) -> dict[str, Tensor] | None:
    """What `read` would return; None where it is no readable file."""
    try:
        return read(path)
    except (CheckpointError, OSError):
        return None


class _Reader:
    """Reads one value after the other. Of MessagePack's types it knows those that such a file is made of."""

    def __init__(self, memory: mmap.mmap):
        self.position = 0
        self._memory = memory
        self._arrays = 0
        self._values = 0

    def value(self, depth: int = 0) -> Any:
        """The value that begins here; leaves the position behind it."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise ValueError("too many values")
        code = self._number(1)
        match code:
            case _ if code <= 0x7F:  # a small number
                return code
            case _ if code <= 0x8F:
                return self._map(code & 0x0F, depth)
            case _ if code <= 0x9F:
                return self._list(code & 0x0F, depth)
            case _ if code <= 0xBF:
                return str(self._take(code & 0x1F), "utf-8")
            case 0xC2 | 0xC3:
                return code == 0xC3
            case 0xC4 | 0xC5 | 0xC6:
                return self._span(self._number(1 << code - 0xC4))
            case 0xC7 | 0xC8 | 0xC9:
                return self._array(self._number(1 << code - 0xC7))
            case 0xCC | 0xCD | 0xCE | 0xCF:
                return self._number(1 << code - 0xCC)
            case 0xD4 | 0xD5 | 0xD6 | 0xD7 | 0xD8:
                return self._array(1 << code - 0xD4)
            case 0xD9 | 0xDA | 0xDB:
                return str(self._take(self._number(1 << code - 0xD9)), "utf-8")
            case 0xDC:
                return self._list(self._number(2), depth)
            case 0xDE | 0xDF:
                return self._map(self._number(2 << code - 0xDE), depth)
        raise ValueError(f"a value of kind {code:#x}")

    def _map(self, count: int, depth: int) -> Any:
        if depth == MAX_DEPTH:
            raise ValueError("maps too deep")
        mapping: dict[str, Any] = {}
        for _ in range(count):
            key, value = self.value(depth + 1), self.value(depth + 1)
            if not isinstance(key, str) or "/" in key or key in mapping:
                raise ValueError("a key that is no name, or there twice")
            mapping[key] = value
        return _joined(mapping) if _PIECES in mapping else mapping

    def _list(self, count: int, depth: int) -> list[Any]:
        """Nothing but a shape: a list of three, the first of them a list of numbers."""
        if depth > 1 or count > 32:
            raise ValueError("a list that is no shape")
        return [self.value(depth + 1) for _ in range(count)]

    def _array(self, size: int) -> Tensor:
        """The extension of `size` bytes whose type comes next."""
        if self._number(1) != _ARRAY or self._arrays == MAX_ARRAYS:
            raise ValueError("an extension that is no array, or too many arrays")
        self._arrays += 1
        stop = self.position + size
        shape, name, (start, count) = self.value()
        dtype = _DTYPES[name]
        if self.position != stop or math.prod(shape) * dtype.itemsize != count:
            raise ValueError("an array of another size than it says")
        return mapped.view(self._memory, start, dtype, math.prod(shape)).view(shape)

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _take(self, size: int) -> bytes:
        start, size = self._span(size)
        return self._memory[start : start + size]

    def _span(self, size: int) -> tuple[int, int]:
        """Where the next bytes begin, and how many they are; leaves the position behind them."""
        start = self.position
        if start + size > len(self._memory):
            raise EOFError
        self.position += size
        return start, size


def _joined(mapping: dict[str, Any]) -> Tensor:
    """An array from its pieces."""
    shape, pieces = ([part[str(i)] for i in range(len(part))] for part in (mapping["shape"], mapping["chunks"]))
    return torch.cat(pieces).view(shape)


def _flat(tree: Any, path: str) -> dict[str, Tensor]:
    """Maps within maps -> one, with paths as names."""
    if isinstance(tree, Tensor) and path:
        return {path: tree}
    if not isinstance(tree, dict):
        raise ValueError("neither map nor array")
    tensors: dict[str, Tensor] = {}
    for name, branch in tree.items():
        tensors |= _flat(branch, f"{path}/{name}" if path else name)
    return tensors
