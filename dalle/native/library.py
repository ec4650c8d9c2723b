"""The compiled step: built once per machine by whatever C++ compiler is there, kept in the user's cache.

One file with a C interface and no headers but the standard ones: it compiles in seconds, and without any of torch's.
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("step.cpp")
FLAGS = ("-std=gnu++17", "-O3", "-ffp-contract=fast", "-fopenmp", "-w", "-shared", "-fPIC")
THIS_PROCESSOR = ("-march=native", "-mcpu=native")  # one of which the compiler knows
PATIENCE = 300  # seconds

_log = logging.getLogger(__name__)


class BuildError(Exception):
    """There is no compiled step here; the message says why. It never leaves `dalle.native`."""


def cached() -> bool:
    """Whether the step has been compiled here before, so that `load` takes no time."""
    try:
        compiler = find_compiler()
        return compiler is not None and _place(compiler).exists()
    except (OSError, RuntimeError):  # what is wrong, `load` will say
        return False


@lru_cache(maxsize=1)
def load() -> ctypes.CDLL:
    """The compiled step; compiles it where that has not been done. Raises BuildError."""
    compiler = find_compiler()
    if compiler is None:
        raise BuildError("there is no C++ compiler")
    place = _place(compiler)
    try:
        if not place.exists():
            _compile(compiler, place)
        compiled = ctypes.CDLL(str(place))
    except (OSError, subprocess.SubprocessError) as error:
        with contextlib.suppress(OSError):
            place.unlink()  # a damaged file shall not stay
        raise BuildError(f"{compiler.name}: {error}") from error
    compiled.dalle_step.argtypes = (ctypes.c_void_p,) * 4
    return compiled


def find_compiler() -> Path | None:
    """A C++ compiler that knows GCC's language extensions."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((Path(found) for name in names if name and (found := shutil.which(name))), None)


def _place(compiler: Path) -> Path:
    """Its file in the cache, named after everything that it is made from and for."""
    parts = (SOURCE.read_bytes(), compiler, compiler.stat().st_mtime_ns, FLAGS, torch.__version__, _cpu())
    key = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(cache) / "dalle" / f"step-{key}.so"


def _cpu() -> str:
    """What this processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.machine())


def _compile(compiler: Path, place: Path) -> None:
    """Raises OSError, subprocess.SubprocessError or BuildError."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # torch's own OpenMP where it brings one: two of them in a process would compete for the cores
    runtime = sorted(map(str, (Path(torch.__file__).parent / "lib").glob("libgomp*.so*")))[:1]
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        out = Path(folder) / place.name
        for processor in THIS_PROCESSOR:
            command = [str(compiler), *FLAGS, processor, str(SOURCE), "-o", str(out)]
            command += ["-Wl,--as-needed", *runtime] if runtime else []
            result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
            if result.returncode == 0:
                os.replace(out, place)
                return
            _log.debug("%s: %s", " ".join(command), result.stderr)
    raise BuildError(f"{compiler.name} cannot compile the step: {result.stderr.strip()[:300]}")
