"""The allocator that tensors on a CPU come from."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h


def hold() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc.

    Otherwise the largest tensors of a step are given back to the system each time, and come back from it page by page,
    every page cleared: a fifth of the time of a step of the transformer.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
