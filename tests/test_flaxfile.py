"""Files of Flax: what is in them comes out, and nothing else comes of them."""

import random
from pathlib import Path

import flaxwriter
import pytest
import torch

from dalle import checkpoint, flaxfile
from dalle.errors import CheckpointError

TENSORS = {
    "model/layer/kernel": torch.arange(6.0).view(2, 3),
    "model/layer/bias": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "model/half": torch.tensor([[0.25]], dtype=torch.float16),
    "count": torch.tensor(300),
    "none": torch.empty(0, 3),
}


@pytest.fixture
def path(tmp_path):
    flaxwriter.write(tmp_path / "flax_model.msgpack", TENSORS)
    return tmp_path / "flax_model.msgpack"


def test_what_was_written_is_read(path):
    found = flaxfile.read(path)
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_an_array_in_pieces_is_put_together(tmp_path):
    pieces = {"0": torch.arange(4.0), "1": torch.arange(4.0, 6.0)}
    tree = {"a": {"__msgpack_chunked_array__": True, "shape": {"0": 2, "1": 3}, "chunks": pieces}}
    (tmp_path / "large.msgpack").write_bytes(flaxwriter.packed(tree))
    assert torch.equal(flaxfile.read(tmp_path / "large.msgpack")["a"], torch.arange(6.0).view(2, 3))


def test_a_file_that_ends_early_is_refused_wherever_it_ends(path):
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"flax_model\.msgpack is (damaged|empty)"):
            flaxfile.read(path)
    assert flaxfile.peek(path) is None


def test_wrong_bytes_are_refused_or_read(path):
    whole, dice, refused = path.read_bytes(), random.Random(1), 0
    for _ in range(2000):
        data = bytearray(whole)
        data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        try:
            assert all(tensor.numel() < len(data) for tensor in flaxfile.read(path).values())
        except CheckpointError:
            refused += 1
    assert refused > 1000


def array(shape: list[int], dtype: str, numbers: bytes, kind: int = 1) -> bytes:
    payload = flaxwriter.packed([shape, dtype, numbers])
    return b"\x81\xa1a\xc7" + len(payload).to_bytes(1, "big") + bytes([kind]) + payload


SPOILT = {
    "another shape": array([3], "float32", bytes(8)),
    "a huge shape": array([2**31, 2**31], "float32", bytes(8)),
    "an unknown type": array([1], "object", bytes(8)),
    "an extension of another kind": array([2], "float32", bytes(8), kind=3),
    "a number": flaxwriter.packed({"a": 1}),
    "raw bytes": flaxwriter.packed({"a": b"1"}),
    "an array alone": flaxwriter.packed(torch.ones(1)),
    "a key twice": b"\x82" + 2 * flaxwriter.packed({"a": torch.ones(1)})[3:],
    "a path as a key": flaxwriter.packed({"a/b": torch.ones(1)}),
    "more behind it": array([2], "float32", bytes(8)) + b"\x80",
    "maps without an end": b"\x81\xa1a" * 100_000,
    "lists without an end": b"\x91" * 100_000,
    "a pickle": b"\x80\x04]\x94.",
    "a long map": b"\xdf\xff\xff\xff\xff",
}


@pytest.mark.parametrize("data", SPOILT.values(), ids=SPOILT)
def test_anything_else_is_refused(data, tmp_path: Path):
    path = tmp_path / "model.msgpack"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.msgpack is damaged"):
        flaxfile.read(path)


def test_its_contents_are_counted(path):
    found = checkpoint.contents(path)
    assert (found.tensors, found.parameters) == (5, 10)
    assert found.types == ("bfloat16", "float16", "float32", "int64")


def test_files_of_a_row_are_one_model(tmp_path):
    names = list(TENSORS)
    for number in (1, 2):
        part = {name: TENSORS[name] for name in names[number - 1 :: 2]}
        flaxwriter.write(tmp_path / f"model-0000{number}-of-00002.msgpack", part)
    first, second = sorted(tmp_path.iterdir())
    assert flaxfile.row(second) == [first, second]
    assert flaxfile.read(first).keys() == flaxfile.read(second).keys() == TENSORS.keys()
    flaxwriter.write(second, TENSORS)
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.msgpack holds .* a second time"):
        flaxfile.read(first)
    first.unlink()
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.msgpack is missing"):
        flaxfile.read(second)


def test_names_that_only_look_like_a_row(tmp_path):
    for name in ("model-00001-of-00000.msgpack", "model-00003-of-00002.msgpack", "model-1-of-2.msgpack"):
        flaxwriter.write(tmp_path / name, TENSORS)
        assert flaxfile.row(tmp_path / name) == [tmp_path / name]
        assert flaxfile.read(tmp_path / name).keys() == TENSORS.keys()
