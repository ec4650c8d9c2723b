"""Captioned pictures from disk: a folder (CUB-200 as it is unpacked, for one) or tar shards.

Both sources give the same `Example` as the procedural world, by index and without end. Pictures that cannot
be used (damaged, huge, without a caption) are skipped and counted, with a warning.

Captions stand in a file of the picture's stem: `.txt` with one caption to a line, or `.json` with
`{"caption": "…"}` or `{"captions": ["…", "…"]}`. In a folder that file lies beside the picture or, where its
name occurs only once, anywhere below the folder.
"""

from __future__ import annotations

import json
import logging
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dalle.errors import DataError, PictureError
from dalle.images import read_picture, square
from dalle.worlds.scene import Example
from dalle.worlds.split import is_held_out

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
CAPTION_SUFFIXES = (".txt", ".json")
FAMILY = "folder"
"""The family of every example from disk; its facts are the picture's key and all of its captions."""
MAX_FILE = 64 * 2**20
"""Larger files, in bytes, are not read."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slice:
    """A piece of a file: one member of a tar shard."""

    file: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with self.file.open("rb") as shard:
            shard.seek(self.offset)
            return shard.read(self.size)


@dataclass(frozen=True)
class Entry:
    """One captioned picture on disk; `key` is its name without suffix, folders included."""

    key: str
    picture: Slice
    captions: tuple[str, ...]


class CaptionedPictures:
    """`source[index]` is an `Example`, for any index from 0 on; after `len(source)` the pictures come again.

    The order is shuffled by `seed`; which of a picture's captions is taken depends on `(seed, index)`.

    Attributes:
        skipped: how many pictures were left out so far.
    """

    def __init__(self, name: str, entries: Iterable[Entry], split: str, size: int, seed: int) -> None:
        """`split` is 'train', or 'heldout' for the tenth that a hash of the key sets aside."""
        if split not in ("train", "heldout"):
            raise DataError(f"There is no split named {split!r}. Choose train or heldout.")
        self.name, self.size, self.seed = name, size, seed
        found = sorted(entries, key=lambda entry: entry.key)
        captioned = [entry for entry in found if entry.captions]
        if not captioned:
            raise DataError(
                f"'{name}' holds no pictures with captions. Give every picture a file of the same name: "
                '.txt with a caption to a line, or .json with {"caption": "…"}.'
            )
        self.skipped = len(found) - len(captioned)
        if self.skipped:
            _log.warning("Skipped %d of %d pictures in '%s': no caption.", self.skipped, len(found), name)
        chosen = [e for e in captioned if is_held_out(("picture", e.key)) == (split == "heldout")]
        if not chosen:
            raise DataError(f"'{name}' has too few pictures for a {split} split.")
        order = np.random.default_rng(seed).permutation(len(chosen))
        self._entries = [chosen[position] for position in order]
        self._unreadable: set[Slice] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Example:
        """Example `index`; where a picture is unreadable, the next one. Raises `DataError` if all are."""
        if index < 0:
            raise IndexError("pictures are counted from 0")
        for position in range(index, index + len(self)):
            entry = self._entries[position % len(self)]
            picture = self._read(entry)
            if picture is not None:
                caption = str(np.random.default_rng((self.seed, index)).choice(entry.captions))
                return Example(picture, caption, self.name, {"key": entry.key, "captions": list(entry.captions)})
        raise DataError(f"None of the {len(self)} pictures in '{self.name}' can be read.")

    def __iter__(self) -> Iterator[Example]:
        """Every picture once."""
        return (self[index] for index in range(len(self)))

    def _read(self, entry: Entry) -> Image.Image | None:
        if entry.picture in self._unreadable:
            return None
        try:
            if entry.picture.size > MAX_FILE:
                raise PictureError(f"The file is larger than {MAX_FILE // 2**20} MB.")
            return square(read_picture(entry.picture.read()), self.size)
        except (PictureError, OSError) as error:
            self._unreadable.add(entry.picture)
            self.skipped += 1
            reason = error if isinstance(error, PictureError) else "The file cannot be read."
            _log.warning("Skipped picture %d of '%s', %s: %s", self.skipped, self.name, entry.key, reason)
            return None


class FolderSource(CaptionedPictures):
    """The captioned pictures in a folder and the folders below it."""

    def __init__(self, path: str | Path, split: str = "train", size: int = 256, seed: int = 0) -> None:
        """Raises `DataError` for a folder that is missing or holds no captioned picture."""
        folder = Path(path)
        if not folder.is_dir():
            raise DataError(f"There is no folder named '{folder.name}'.")
        super().__init__(folder.name, _folder_entries(folder), split, size, seed)


class TarSource(CaptionedPictures):
    """The captioned pictures in tar shards laid out as for the `webdataset` package.

    `pattern` names local shards in its brace notation: "birds-{000..011}.tar". Shards are indexed once and
    then read in place, in any order, so they must not be compressed.
    """

    def __init__(self, pattern: str, split: str = "train", size: int = 256, seed: int = 0) -> None:
        """Raises `DataError` for shards that are missing, damaged or compressed, or hold no captions."""
        try:
            from webdataset.shardlists import expand_urls
        except ImportError as error:
            raise DataError("Tar shards need one more package: pip install webdataset") from error
        name = Path(pattern).name
        try:
            shards = [Path(shard) for shard in expand_urls(pattern)]
        except ValueError as error:
            raise DataError(f"The pattern '{name}' has a brace without its partner.") from error
        super().__init__(name, (entry for shard in shards for entry in _tar_entries(shard)), split, size, seed)


def _folder_entries(folder: Path) -> Iterator[Entry]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    texts = [file for file in files if file.suffix.lower() in CAPTION_SUFFIXES]
    beside = {text.with_suffix(""): text for text in texts}
    uses = Counter(text.stem for text in texts)
    elsewhere = {text.stem: text for text in texts if uses[text.stem] == 1}
    for file in files:
        if file.suffix.lower() in PICTURE_SUFFIXES:
            text = beside.get(file.with_suffix("")) or elsewhere.get(file.stem)
            captions = _captions(text.suffix, _slice(text)) if text else ()
            yield Entry(file.relative_to(folder).with_suffix("").as_posix(), _slice(file), captions)


def _tar_entries(shard: Path) -> Iterator[Entry]:
    """The members of a shard whose names agree up to the first dot make one entry."""
    from webdataset.tariterators import base_plus_ext

    pictures: dict[str, Slice] = {}
    captions: dict[str, tuple[str, ...]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, extension = base_plus_ext(member.name)
                if not member.isfile() or key is None:
                    continue
                piece, suffix = Slice(shard, member.offset_data, member.size), f".{extension.lower()}"
                if suffix in PICTURE_SUFFIXES:
                    pictures[key] = piece
                elif suffix in CAPTION_SUFFIXES:
                    captions[key] = _captions(suffix, piece)
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"The shard '{shard.name}' is missing, damaged or compressed. Use plain tar files on this disk."
        ) from error
    return (Entry(key, piece, captions.get(key, ())) for key, piece in pictures.items())


def _slice(file: Path) -> Slice:
    return Slice(file, 0, file.stat().st_size)


def _captions(suffix: str, piece: Slice) -> tuple[str, ...]:
    """What a caption file says; nothing for a file that cannot be understood."""
    if piece.size > MAX_FILE:
        return ()
    text = piece.read().decode("utf-8-sig", errors="replace")
    lines: object = text.splitlines()
    if suffix.lower() == ".json":
        try:
            record = json.loads(text)
        except ValueError:
            return ()
        lines = record.get("captions", record.get("caption")) if isinstance(record, dict) else None
    if isinstance(lines, str):
        lines = [lines]
    if not isinstance(lines, list):
        return ()
    return tuple(line.strip() for line in lines if isinstance(line, str) and line.strip())
