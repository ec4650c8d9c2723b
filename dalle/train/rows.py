"""Arrays that are too many to hold, and reach their files batch by batch."""

from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike


class Rows:
    """A file of `count` rows that is there once it is whole.

    Small arrays that stay, between the large tensors that they were made from, would keep the allocator from using the
    room of these again; so none stays.
    """

    def __init__(self, file: Path, count: int, kind: DTypeLike):
        self.file, self.count, self.kind = file, count, kind
        self._part = file.with_suffix(".part.npy")
        self._done = 0

    def add(self, batch: np.ndarray) -> None:
        """The next rows, (B, ...)."""
        if not self._done:
            self._array = np.lib.format.open_memmap(self._part, "w+", self.kind, (self.count, *batch.shape[1:]))
        self._array[self._done : self._done + len(batch)] = batch
        self._done += len(batch)

    def finish(self) -> None:
        """Give the file its name."""
        self._array.flush()
        self._part.rename(self.file)
