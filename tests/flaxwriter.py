"""Writes files as Flax does, in plain MessagePack."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def write(path: Path, tensors: Mapping[str, Any]) -> None:
    """Tensors by their paths, "a/b/c" being a map in a map in a map."""
    path.write_bytes(packed(nested(tensors)))


def nested(tensors: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *above, last = name.split("/")
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
        branch[last] = tensor
    return tree


def packed(value: Any) -> bytes:
    match value:
        case Tensor():
            numbers = value.contiguous().flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b""
            array = packed([list(value.shape), str(value.dtype).removeprefix("torch."), numbers])
            return b"\xc9" + len(array).to_bytes(4, "big") + b"\x01" + array
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return value.to_bytes(1, "big") if value < 128 else b"\xce" + value.to_bytes(4, "big")
        case str():
            return b"\xd9" + len(value.encode()).to_bytes(1, "big") + value.encode()
        case bytes():
            return b"\xc6" + len(value).to_bytes(4, "big") + value
        case list():
            return b"\xdc" + len(value).to_bytes(2, "big") + b"".join(map(packed, value))
        case dict():
            pairs = b"".join(packed(key) + packed(item) for key, item in value.items())
            return b"\xde" + len(value).to_bytes(2, "big") + pairs
    raise TypeError(type(value))
