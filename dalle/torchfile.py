"""Files of `torch.save`, read as data: nothing in them is imported, called or executed.

A pickle is a program for a small machine with a stack. Here is such a machine that builds only what weights are made
of: a global is no more than a name, a call of one is answered from a short list (`_Machine.call`), and objects of
modules that the caller expects become `Shell`s, which hold their attributes and have no behaviour. The tensors are
views of the mapped file, so reading costs little more than the names; `mapped.cast` one before computing with it.

Both containers are known: the zip archive (since torch 1.6), and the older stream of five pickles before the raw data.
"""

from __future__ import annotations

import io
import math
import mmap
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dalle import mapped
from dalle.errors import CheckpointError

MAX_PICKLE = 64 << 20  # bytes; that of a model with 12 billion weights is far below one million
MAX_STEPS = 300_000  # instructions of a pickle; the same model with its optimizer needs some 100,000
MAX_MODULES = 10_000
MAX_NAME = 1000  # characters of a tensor's name
MAX_DIMENSIONS = 64
MAX_COPIES = 4  # how often all tensors of a storage together may show its numbers
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_ZIP_START = b"PK\x03\x04"
_ZIP_HEADER = 30  # bytes of a local header before the name

_DTYPES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
_KNOWN = {
    *(f"torch.{name}" for name in _DTYPES),
    *(f"torch.{name}" for name in ("bfloat16", "float16", "float32", "float64", "int64")),
    "__builtin__.set",
    "builtins.set",
    "collections.OrderedDict",
    "torch.Size",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch.device",
}
ANY = ("",)  # as `shells`: every name begins with it


@dataclass(frozen=True)
class Global:
    """The name of something that a pickle refers to; never the thing itself."""

    name: str


@dataclass(eq=False)
class Shell:
    """An object of a class that is not loaded: its name, what it was made with, and its attributes."""

    kind: str
    arguments: Any = ()
    state: Any = None


def read(path: Path, shells: Sequence[str] = ()) -> Any:
    """The object in a file of `torch.save`: plain values, tensors on the CPU, and shells.

    Args:
        shells: beginnings of the class names whose objects are expected, such as "torch.nn.modules.".

    Raises CheckpointError for a damaged file, for one that is none of `torch.save`, and for a pickle that refers to
    anything but tensors, plain containers and the expected classes.
    """
    return _read(path, tuple(shells), verify=True)


def look(path: Path) -> Any:
    """What `read` would return, checksums unread and any class a shell. Raises CheckpointError."""
    return _read(path, ANY, verify=False)


def peek(path: Path) -> Any:
    """What `look` would return; None where it is no readable file."""
    try:
        return look(path)
    except (CheckpointError, OSError):
        return None


def state_dict(module: Shell) -> dict[str, Tensor]:
    """The parameters and buffers of a pickled module and those below it, by their dotted names.

    Raises CheckpointError where it is no module, or one inside itself.
    """
    tensors: dict[str, Tensor] = {}
    pending: list[tuple[str, Any]] = [("", module)]
    for _ in range(MAX_MODULES):
        if not pending:
            return tensors
        prefix, part = pending.pop()
        if len(prefix) > MAX_NAME or len(pending) > MAX_MODULES or len(tensors) > 10 * MAX_MODULES:
            break
        state = part.state if isinstance(part, Shell) and isinstance(part.state, dict) else {}
        match [state.get(kind) for kind in ("_parameters", "_buffers", "_modules")]:
            case [dict() as parameters, dict() as buffers, dict() as modules]:
                tensors |= {f"{prefix}{name}": t for name, t in {**parameters, **buffers}.items() if t is not None}
                pending += [(f"{prefix}{name}.", child) for name, child in reversed(modules.items())]
            case _:
                raise CheckpointError("A pickled module lacks its parameters.")
    raise CheckpointError("A pickled module is too large, or inside itself.")


def _read(path: Path, shells: tuple[str, ...], verify: bool) -> Any:
    memory = mapped.open_file(path)
    if memory[:4] != _ZIP_START and memory[:1] != b"\x80":
        raise CheckpointError(
            f"{path.name} holds no weights of torch.save. Was the download cut short, or a web page saved in its place?"
        )
    unpack = _unzip if memory[:4] == _ZIP_START else _unroll
    try:
        return unpack(path, memory, shells, verify)
    except _Refused as refusal:
        raise CheckpointError(f"{path.name} {refusal}") from None
    except Exception as error:  # whatever unchecked bytes can provoke means the same
        raise CheckpointError(f"{path.name} is damaged or incomplete ({type(error).__name__}).") from error


class _Refused(Exception):
    """Half a sentence: what is wrong with the file."""


def _unzip(path: Path, memory: mmap.mmap, shells: tuple[str, ...], verify: bool) -> Any:
    """The zip form: data.pkl, and one uncompressed entry to a storage, all in one folder."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    used = 0

    def span(name: str) -> tuple[int, int]:
        """Where an entry's bytes begin and how many there are."""
        nonlocal used
        if name not in entries:
            raise _Refused(f"is incomplete: its entry {name} is missing.")
        entry = entries[name]
        header = memory[entry.header_offset : entry.header_offset + _ZIP_HEADER]
        start = entry.header_offset + _ZIP_HEADER + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
        if entry.compress_type or header[:4] != _ZIP_START or start + entry.file_size > len(memory):
            raise _Refused(f"is damaged: its entry {name} is not where the table of contents says.")
        used += entry.file_size
        if used > len(memory):
            raise _Refused("is damaged: its entries overlap.")
        if verify and _checksum(path, start, entry.file_size) != entry.CRC:
            raise _Refused(f"is damaged: the checksum of its entry {name} is wrong.")
        return start, entry.file_size

    def storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        start, size = span(f"data/{key}")
        if count * dtype.itemsize != size:
            raise _Refused(f"is damaged: its entry data/{key} has another size than the pickle says.")
        return _view(memory, start, dtype, count)

    if "byteorder" in entries:
        start, size = span("byteorder")
        if memory[start : start + min(size, 6)] != b"little":
            raise _Refused("was written on a big-endian machine, which this program cannot read.")
    start, size = span("data.pkl")
    if size > MAX_PICKLE:
        raise _Refused("holds too large a pickle to be a checkpoint.")
    return _Machine(shells, storage).run(io.BytesIO(memory[start : start + size]))


def _checksum(path: Path, start: int, size: int) -> int:
    """Of a part of a file, which is read past the mapping: it need not stay in memory."""
    value = 0
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (chunk := file.read(min(size, 1 << 20))):
            value, size = zlib.crc32(chunk, value), size - len(chunk)
    return value


def _unroll(_: Path, memory: mmap.mmap, shells: tuple[str, ...], verify: bool) -> Any:
    """The older form: magic number, protocol, system, object, storage keys, then a count and raw data to each key.

    The object comes before the places of its storages: it is built once to learn their types, and then again.
    """
    stream = io.BytesIO(memory[:MAX_PICKLE])
    types: dict[str, tuple[torch.dtype, int]] = {}

    def collect(key: str, dtype: torch.dtype, count: int) -> Tensor:
        types[key] = dtype, count
        return torch.empty(count, dtype=dtype, device="meta")

    plain = _Machine((), collect)
    magic, protocol, system = (plain.run(stream) for _ in range(3))
    if (magic, protocol) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
        raise _Refused("holds no weights of torch.save.")
    if not system["little_endian"]:
        raise _Refused("was written on a big-endian machine, which this program cannot read.")
    begin = stream.tell()
    _Machine(shells, collect).run(stream)
    keys = plain.run(stream)
    if not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(types):
        raise _Refused("is damaged: it lists other storages than it uses.")
    position = stream.tell()
    storages = {}
    for key in keys:
        dtype, count = types[key]
        if position + 8 > len(memory) or int.from_bytes(memory[position : position + 8], "little") != count:
            raise _Refused("is damaged or incomplete: a storage is not as long as its pickle says.")
        storages[key] = _view(memory, position + 8, dtype, count)
        position += 8 + count * dtype.itemsize
    stream.seek(begin)
    return _Machine(shells, lambda key, dtype, count: storages[key]).run(stream)


def _view(memory: mmap.mmap, start: int, dtype: torch.dtype, count: int) -> Tensor:
    """(count,) numbers in the file."""
    try:
        return mapped.view(memory, start, dtype, count)
    except EOFError:
        raise _Refused("is incomplete: it ends before its tensors do.") from None


class _Machine:
    """Runs a pickle. `storage` finds the flat tensor of a key, a type and a count."""

    def __init__(self, shells: tuple[str, ...], storage: Callable[[str, torch.dtype, int], Tensor]):
        self._shells = shells
        self._storage = storage
        self._storages: dict[str, Tensor] = {}
        self._shown: dict[int, int] = {}  # numbers of a storage, by its id, that tensors show
        self._tensors: dict[tuple[Any, ...], Tensor] = {}
        self._steps = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """The object of the pickle that starts here; leaves the stream behind it."""
        self._stack, self._marks, self._memo = [], [], {}
        for instruction, argument, _ in pickletools.genops(stream):
            self._count(1)
            if instruction.name == "STOP":
                break
            self._step(instruction.name, argument)
        (value,) = self._stack
        return value

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise _Refused("holds too long a pickle to be a checkpoint.")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marks.append(len(stack))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._above_mark()
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(set())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop(int(name[-1]))))
            case "TUPLE":
                stack.append(tuple(self._above_mark()))
            case "LIST":
                stack.append(self._above_mark())
            case "DICT":
                stack.append(dict(_pairs(self._above_mark())))
            case "APPEND":
                self._extend(self._pop(1))
            case "APPENDS" | "ADDITEMS":
                self._extend(self._above_mark())
            case "SETITEM":
                self._extend(self._pop(2), pairs=True)
            case "SETITEMS":
                self._extend(self._above_mark(), pairs=True)
            case "GLOBAL":
                stack.append(self._global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(self._global(*self._pop(2)))
            case "REDUCE" | "NEWOBJ":
                stack.append(self.call(*self._pop(2)))
            case "OBJ":
                kind, *arguments = self._above_mark()
                stack.append(self.call(kind, tuple(arguments)))
            case "BUILD":
                (state,) = self._pop(1)
                if isinstance(stack[-1], Shell):
                    stack[-1].state = state
                elif not isinstance(stack[-1], dict):  # a state_dict carries a table of versions, of no use here
                    raise ValueError("attributes of what has none")
            case "BINPERSID":
                stack.append(self._persistent(*stack.pop()[:MAX_DIMENSIONS]))
            case _ if name in _CONSTANTS:
                stack.append(argument)
            case _:
                raise _Refused(f"holds a pickle with an instruction that no checkpoint needs ({name}).")

    def _pop(self, count: int) -> list[Any]:
        """The topmost items, lowest first, none of them below the last mark."""
        start = len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            raise IndexError("pickle stack")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _above_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _extend(self, items: list[Any], pairs: bool = False) -> None:
        """Put items into the container on top of the stack; those of a shell's are let go."""
        match self._stack[-1]:
            case dict() as mapping if pairs:
                mapping.update(_pairs(items))
            case list() as sequence if not pairs:
                sequence.extend(items)
            case set() as group if not pairs:
                group.update(map(_key, items))
            case Shell():
                pass
            case other:
                raise TypeError(f"items for a {type(other).__name__}")

    def _global(self, module: Any, name: Any) -> Global:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a name that is none")
        full = f"{module}.{name}"
        if full not in _KNOWN and not full.startswith(self._shells):
            raise _Refused(f"refers to {full[:100]!r}, which no checkpoint of this kind needs. It was not loaded.")
        return Global(full)

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """All that a pickle can call."""
        match function.name.rpartition(".")[2] if function.name in _KNOWN else "":
            case "OrderedDict":
                return dict(_pairs([item for pair in self._items(arguments) for item in _pair(pair)]))
            case "set":
                return {_key(item) for item in self._items(arguments)}
            case "device":
                return ":".join(str(_key(argument)) for argument in self._items((arguments,)))
            case "Size":
                return tuple(self._items(arguments))
            case "_rebuild_tensor" | "_rebuild_tensor_v2":
                return self._tensor(*arguments[:4])
            case "_rebuild_parameter":
                return arguments[0]
            case "":
                return Shell(function.name, arguments)
        raise ValueError(f"a call of {function.name}")

    def _items(self, arguments: tuple[Any, ...]) -> list[Any]:
        """Those of the only argument, or none; each is a step, for a pickle may name one list over and over."""
        (items,) = arguments or ((),)
        if not isinstance(items, list | tuple):
            raise TypeError("items of what has none")
        self._count(len(items))
        return list(items)

    def _tensor(self, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        """A view of a flat tensor, which may not reach beyond it nor be larger than it; nor all of them be much so."""
        if not len(size) == len(stride) <= MAX_DIMENSIONS or not all(type(n) is int for n in (offset, *size, *stride)):
            raise TypeError("a shape that is none")
        place = (id(storage), offset, size, stride)
        if place not in self._tensors:
            self._tensors[place] = tensor = _view_of(storage, offset, size, stride)
            self._shown[id(storage)] = shown = self._shown.get(id(storage), 0) + tensor.numel()
            if shown > MAX_COPIES * len(storage):
                raise _Refused("shows the same numbers in too many tensors to be a checkpoint.")
        return self._tensors[place]

    def _persistent(self, kind: Any, *about: Any) -> Any:
        """What lies outside the pickle: a storage, or a class together with its source text."""
        if kind == "module":
            return about[0]
        storage, key, _, count, *view = about
        if kind != "storage" or not isinstance(key, str) or any(view) or not isinstance(count, int):
            raise ValueError("an unknown persistent id")
        if key not in self._storages:
            self._storages[key] = self._storage(key, _DTYPES[storage.name.removeprefix("torch.")], count)
        return self._storages[key]


_CONSTANTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(map(_key, items[::2]), items[1::2], strict=True)


def _pair(items: Any) -> tuple[Any, Any]:
    key, value = items if isinstance(items, list | tuple) else ()
    return key, value


def _key(value: Any) -> Any:
    """What may be looked up: a plain value. Tuples within tuples could take forever to hash, compare and print."""
    if not isinstance(value, str | int | float | bytes | Global | Shell | None):
        raise TypeError(f"a {type(value).__name__} for a name")
    return value


def _view_of(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    if min((offset, *size, *stride)) < 0 or math.prod(size) > len(storage):
        raise ValueError("a tensor larger than its storage")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage):
        raise ValueError("a tensor beyond its storage")
    return storage.as_strided(size, stride, offset)
