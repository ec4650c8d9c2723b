"""Files mapped into memory: their tensors are views of the file, paged in where they are read.

So a model of any size costs what is copied of it, and no more: `release` lets go of what was copied.
"""

import mmap
import weakref
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dalle.errors import CheckpointError

_OPEN: weakref.WeakKeyDictionary[mmap.mmap, int] = weakref.WeakKeyDictionary()  # files in use, and where they begin


def open_file(path: Path) -> mmap.mmap:
    """The bytes of a file; writing to them changes no file. Raises CheckpointError where there are none."""
    with path.open("rb") as file:
        try:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except ValueError:
            raise CheckpointError(f"{path.name} is empty.") from None
    _OPEN[memory] = torch.frombuffer(memory, dtype=torch.uint8, count=1).data_ptr()
    return memory


def view(memory: mmap.mmap, start: int, dtype: torch.dtype, count: int) -> Tensor:
    """(count,) numbers in a file, from a byte on, which may be any: `cast` copies where numbers do not begin there.

    Raises EOFError where the file ends before.
    """
    if count == 0:
        return torch.empty(0, dtype=dtype)
    if count < 0 or start < 0 or start + count * dtype.itemsize > len(memory):
        raise EOFError
    return torch.frombuffer(memory, dtype=torch.uint8, count=count * dtype.itemsize, offset=start).view(dtype)


def cast(tensor: Tensor, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """A tensor in another type or place, to compute with; the part of a file that was copied is let go."""
    moved = tensor.to(device or tensor.device, dtype)
    if moved is tensor and tensor.data_ptr() % tensor.itemsize:
        moved = tensor.clone()
    if moved is not tensor:
        release(tensor)
    return moved


def join(tensors: Sequence[Tensor], dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """Tensors one above the other, in another type or place; the parts of a file that were copied are let go."""
    shape = (sum(map(len, tensors)), *tensors[0].shape[1:])
    joined = torch.empty(shape, dtype=dtype, device=device or tensors[0].device)
    for tensor, room in zip(tensors, joined.split([len(tensor) for tensor in tensors]), strict=True):
        room.copy_(tensor)
        release(tensor)
    return joined


def release(tensor: Tensor) -> None:
    """Let go of the memory that a tensor of a file took when it was read; it is read again if it is needed again."""
    if tensor.device.type != "cpu" or not hasattr(mmap, "MADV_DONTNEED"):
        return
    storage = tensor.untyped_storage()
    for memory, base in list(_OPEN.items()):
        start, stop = storage.data_ptr() - base, storage.data_ptr() - base + storage.nbytes()
        if start >= 0 and stop <= len(memory):
            first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, stop // mmap.PAGESIZE * mmap.PAGESIZE
            if first < last:
                memory.madvise(mmap.MADV_DONTNEED, first, last - first)
