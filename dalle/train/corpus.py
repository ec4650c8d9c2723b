"""Captioned pictures, drawn once and read many times: what every training stage learns from.

A corpus is a folder: `pictures.npy` (N, size, size, 3) uint8, `records.jsonl` with one JSON object to a picture
(captions, false captions, family, whether its thing is shown only to be copied), and, once a tokenizer has read it,
`codes.npy` and `odds.npy` (N, h, w, K): the K likeliest codes of each place, best first, and their log-odds against the
best.
"""

import json
import multiprocessing
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from dalle.errors import DataError
from dalle.train.rows import Rows
from dalle.worlds import Example, negative_captions, reword

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 32  # pictures that a worker draws before it reports
WORDINGS = 3  # captions kept of each picture, at most


class Source(Protocol):
    """Anything that draws or reads example `index`, the same one every time."""

    def __getitem__(self, index: int) -> Example: ...


class Corpus:
    """A folder of pictures and captions, memory-mapped."""

    def __init__(self, directory: Path):
        self.directory = directory
        try:
            lines = (directory / "records.jsonl").read_text(encoding="utf-8").splitlines()
            self.pictures: np.ndarray = np.load(directory / "pictures.npy", mmap_mode="r")  # (N, S, S, 3)
        except (OSError, ValueError) as error:
            raise DataError(f"The corpus '{directory.name}' is not complete; draw it again.") from error
        records = [json.loads(line) for line in lines]
        self.captions: list[list[str]] = [record["captions"] for record in records]
        self.negatives: list[list[str]] = [record["negatives"] for record in records]
        self.families: list[str] = [record["family"] for record in records]
        self.copied: list[bool] = [record.get("copied", False) for record in records]

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def has_codes(self) -> bool:
        return (self.directory / "codes.npy").exists()

    @property
    def tokens(self) -> np.ndarray:
        """(N, h, w) int16, the likeliest code of each place. Raises DataError before `write_codes`."""
        return self.codes[..., 0]

    @property
    def codes(self) -> np.ndarray:
        """(N, h, w, K) int16, the likeliest codes of each place, best first. Raises DataError before `write_codes`."""
        return self._read("codes.npy")

    @property
    def odds(self) -> np.ndarray:
        """(N, h, w, K) float16, the log-odds of `codes` against the first. Raises DataError before `write_codes`."""
        return self._read("odds.npy")

    def write_codes(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Keep codes and log-odds, (B, h, w, K) each, of all pictures in order."""
        kept = Rows(self.directory / "codes.npy", len(self), np.int16)
        told = Rows(self.directory / "odds.npy", len(self), np.float16)
        for codes, odds in batches:
            kept.add(codes)
            told.add(odds)
        told.finish()
        kept.finish()  # last: its presence says that both are complete

    def _read(self, name: str) -> np.ndarray:
        if not self.has_codes:
            raise DataError(f"The corpus '{self.directory.name}' has no tokens yet: train a tokenizer first.")
        return np.load(self.directory / name, mmap_mode="r")

    @classmethod
    def draw(cls, source: Source, count: int, directory: Path, workers: int = 2, first: int = 0) -> "Corpus":
        """`count` examples of a source from `first` on, drawn by workers; a complete folder is taken as it is."""
        if (directory / "records.jsonl").exists():
            return cls(directory)
        directory.mkdir(parents=True, exist_ok=True)
        pictures = Rows(directory / "pictures.npy", count, np.uint8)
        records: list[dict[str, Any]] = []
        starts = range(first, first + count, CHUNK)
        jobs = ((start, min(start + CHUNK, first + count)) for start in starts)
        with multiprocessing.get_context("spawn").Pool(workers, _use, (source,)) as pool:
            for drawn, told in tqdm(pool.imap(_draw, jobs), "drawing", len(starts)):
                pictures.add(drawn)
                records.extend(told)
        pictures.finish()
        lines = (json.dumps(record, ensure_ascii=False) for record in records)
        part = directory / "records.part"
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        part.rename(directory / "records.jsonl")  # last: its presence says that the folder is complete
        return cls(directory)


_source: Source  # of a worker process, which serves one, sent once


def _use(source: Source) -> None:
    global _source
    _source = source


def _draw(job: tuple[int, int]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    start, stop = job
    examples = [_source[index] for index in range(start, stop)]
    records = [_record(example, index) for index, example in enumerate(examples, start)]
    return np.stack([np.asarray(example.picture) for example in examples]), records


def _record(example: Example, index: int) -> dict[str, Any]:
    rng = np.random.default_rng(index)
    captions = dict.fromkeys([example.caption, *(reword(example, rng) for _ in range(WORDINGS - 1))])
    return {
        "captions": list(captions),
        "negatives": negative_captions(example, rng),
        "family": example.family,
        "copied": bool(example.facts.get("copied")),
    }


def to_images(pictures: np.ndarray) -> "Tensor":
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [0, 1]."""
    import torch  # here, as the workers that draw have no use for it

    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255)
