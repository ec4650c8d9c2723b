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


@dataclass(frozen=True)
class Limits:
    """Rates with all threads, in float32."""

    gemm: float  # floating point operations a second, in a product of large square matrices
    bandwidth: float  # bytes a second, read from memory

    @classmethod
    def best(cls, readings: Sequence[Self]) -> Self:
        """What the machine can do when nobody disturbs it."""
        return cls(max(r.gemm for r in readings), max(r.bandwidth for r in readings))


class Gauge:
    """Measures the limits, again and again; the buffers are made once."""

    def __init__(self, floats: int = FLOATS, side: int = SIDE):
        self.buffer = torch.ones(floats)
        self.matrix = torch.ones(side, side)

    def read(self) -> Limits:
        """The best of a few attempts."""
        products = fastest(lambda: self.matrix @ self.matrix)
        sums = fastest(lambda: self.buffer.sum())
        return Limits(2 * len(self.matrix) ** 3 / products, self.buffer.nbytes / sums)


def fastest(work: Callable[[], object], attempts: int = 5) -> float:
    """Seconds of the fastest attempt."""
    return min(seconds(work) for _ in range(attempts))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def describe() -> dict[str, str | int]:
    """Processor, cores, threads, memory and instruction set."""
    return {
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
