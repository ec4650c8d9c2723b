"""Galleries: several drawings of each of many captions, and how much of its caption a critic sees in each.

A folder `galleries` holds them in numbered files, as they are drawn.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

_FOLDER = "galleries"


class Gallery(NamedTuple):
    """n drawings of each of C captions."""

    captions: Sequence[str]
    pictures: np.ndarray  # (C, n, S, S, 3) uint8
    scores: np.ndarray  # (C, n) float32 in [0, 1]


NONE = Gallery((), np.empty((0, 0, 1, 1, 3), np.uint8), np.empty((0, 0), np.float32))


def hang(gallery: Gallery, place: Path, number: int) -> None:
    """Keep some galleries as a file of that number in the folder of a run."""
    folder = place / _FOLDER
    folder.mkdir(exist_ok=True)
    part = folder / f"{number:06d}.part.npz"
    np.savez(part, captions=np.array(gallery.captions), pictures=gallery.pictures, scores=gallery.scores)
    part.rename(folder / f"{number:06d}.npz")


def visit(place: Path) -> Gallery:
    """All galleries that were kept in the folder of a run, in order; perhaps none."""
    files = sorted(file for file in (place / _FOLDER).glob("*.npz") if not file.name.endswith(".part.npz"))
    if not files:
        return NONE
    parts = [np.load(file) for file in files]
    captions = [str(caption) for part in parts for caption in part["captions"]]
    return Gallery(captions, *(np.concatenate([part[name] for part in parts]) for name in ("pictures", "scores")))
