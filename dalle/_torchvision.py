"""Make `import torchvision` work beside a PyTorch that its compiled half was not built for.

open_clip imports torchvision for its Python code alone. PyPI's torchvision is compiled against the CUDA build
of PyTorch, so beside a CPU-only PyTorch its library does not load, and the import fails while it describes
operators that nobody registered. Naming those operators is enough: none is called, and a call still fails.
"""

import contextlib
import importlib.util
from functools import cache
from pathlib import Path

import torch

_DESCRIBED_AT_IMPORT = (
    "nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def ensure_operators() -> torch.library.Library:
    """Register what torchvision's own library does not bring; call it before importing torchvision.

    Returns the registrations, which live as long as that object: here, as long as the process.
    """
    _load_compiled_half()
    registrations = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _DESCRIBED_AT_IMPORT:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            registrations.define(schema)
    return registrations


def _load_compiled_half() -> None:
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return
    for library in Path(package.origin).parent.glob("_C.*"):
        with contextlib.suppress(OSError):  # built for another PyTorch
            torch.ops.load_library(library)
