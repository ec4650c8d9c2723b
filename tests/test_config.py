"""Frozen dataclasses as JSON: there and back, and a sentence for what does not fit."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dalle import config
from dalle.errors import CheckpointError


@dataclass(frozen=True)
class Inner:
    side: int
    ratio: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    grid: tuple[int, int]
    inner: Inner = field(default_factory=lambda: Inner(3))
    other: Inner | None = None
    layers: tuple[str, ...] = ("full",)
    shares: dict[str, float] = field(default_factory=dict)
    parts: tuple[Inner, ...] = ()


FULL = Outer("größe", (2, 3), Inner(1, 0.5), Inner(2), ("row", "column"), {"a": 1.5}, (Inner(4), Inner(5, 0.1)))


@pytest.mark.parametrize("value", [FULL, Outer("plain", (1, 1))])
def test_a_file_gives_back_what_was_saved(value, tmp_path: Path):
    path = tmp_path / "outer.json"
    config.save(value, path)
    assert config.load(Outer, path) == value


def test_plain_values_are_saved_as_they_are(tmp_path: Path):
    config.save({"losses": [1, 2.5]}, tmp_path / "metrics.json")
    assert config.read(tmp_path / "metrics.json") == {"losses": [1, 2.5]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"widht": 3}, "outer.json has a key that Outer does not know: widht."),
        ({"inner": {"side": 1, "top": 2}}, "outer.json has a key that Inner does not know: top."),
        ({"inner": {}}, "outer.json lacks side, which Inner needs."),
        ({"inner": 5}, "outer.json should hold an object of named values, not int."),
        ({"name": 5}, "outer.json: name should be str, not int."),
        ({"grid": "2x3"}, "outer.json: grid should be list, not str."),
        ({"grid": [2]}, "outer.json: grid should hold 2 values, not 1."),
        ({"grid": [2, "3"]}, "outer.json: grid should be int, not str."),
        ({"inner": {"side": "1"}}, "outer.json: side should be int, not str."),
        ({"inner": {"side": None}}, "outer.json: side should be int, not NoneType."),
        ({"inner": {"side": 1, "ratio": "wide"}}, "outer.json: ratio should be float, not str."),
    ],
)
def test_what_does_not_fit_is_named(change, sentence, tmp_path: Path):
    path = tmp_path / "outer.json"
    path.write_text(json.dumps({**config.to_json(FULL), **change}))
    with pytest.raises(CheckpointError) as caught:
        config.load(Outer, path)
    assert str(caught.value) == sentence


def test_whole_numbers_serve_as_fractions(tmp_path: Path):
    assert config.from_json(Inner, {"side": 1, "ratio": 2}).ratio == 2


def test_what_is_needed_must_be_there():
    with pytest.raises(CheckpointError, match="lacks grid, name, which Outer needs"):
        config.from_json(Outer, {})


@pytest.mark.parametrize("text", ["{", "", '{"side": 1', b"\xff\xfe\x00", "[" * 100_000])
def test_unreadable_files_end_in_a_sentence(text, tmp_path: Path):
    path = tmp_path / "outer.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=r"^outer\.json is not readable JSON"):
        config.load(Outer, path)


def test_a_missing_file_is_called_missing(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"^outer\.json is missing\.$"):
        config.load(Outer, tmp_path / "outer.json")
