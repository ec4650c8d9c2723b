"""The machine: what it is, and the two rates that bound every step, measured."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

FLOATS = 2**26  # 256 MiB, more than any cache holds
SIDE = 2048  # of the matrices
FLOATS_OF_GPU, SIDE_OF_GPU = 2**30, 8192  # for more than a millisecond each


@dataclass(frozen=True)
class Limits:
    """Rates of the whole device."""

    gemm: float  # floating point operations a second, in a product of large square matrices
    bandwidth: float  # bytes a second, read from memory

    @classmethod
    def best(cls, readings: Sequence[Self]) -> Self:
        """What the machine can do when nobody disturbs it."""
        return cls(max(r.gemm for r in readings), max(r.bandwidth for r in readings))


class Gauge:
    """Measures the limits, again and again; the buffers are made once."""

    def __init__(self, floats: int = FLOATS, side: int = SIDE, device: str = "cpu", dtype: torch.dtype = torch.float32):
        self.buffer = torch.ones(floats, device=device)
        self.matrix = torch.ones(side, side, device=device, dtype=dtype)

    @classmethod
    def of(cls, device: str, dtype: torch.dtype) -> Self:
        """With buffers that are large enough for a device."""
        sizes = (FLOATS, SIDE) if torch.device(device).type == "cpu" else (FLOATS_OF_GPU, SIDE_OF_GPU)
        return cls(*sizes, device, dtype)

    def read(self) -> Limits:
        """The best of a few attempts."""
        products = fastest(lambda: self.matrix @ self.matrix)
        sums = fastest(lambda: self.buffer.sum())
        return Limits(2 * len(self.matrix) ** 3 / products, self.buffer.nbytes / sums)


def fastest(work: Callable[[], object], attempts: int = 5) -> float:
    """Seconds of the fastest attempt."""
    return min(seconds(work) for _ in range(attempts))


def seconds(work: Callable[[], object]) -> float:
    """Until it is done, also where a GPU does it."""
    _wait()
    start = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def describe() -> dict[str, str | int]:
    """Processor, cores, threads and instruction set; the GPU, where it was used."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_initialized() else {}
    return {
        **gpu,
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Its name as the system tells it; Linux keeps it in a file."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
