"""Files of torch.save: read as torch reads them, and refused where they hold more than weights."""

import copy
import io
import os
import pickle
import random
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from dalle import mapped, torchfile
from dalle.errors import CheckpointError

FORMS = [True, False]  # the zip archive, and the older stream


def saved(value, path: Path, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.fixture
def tree():
    shared = torch.arange(12.0).view(3, 4)
    half = nn.Linear(3, 2).half()
    return {
        "hparams": {"dim": 8, "types": ("full", "row"), "rate": 0.5, "none": None, "yes": True, "big": 1 << 70},
        "weights": OrderedDict(half.state_dict(), tied=shared, view=shared[:, 1:3], turned=shared.T),
        "kinds": [torch.tensor(values) for values in ([1, 2], [True], [0.5], [1j.imag])],
        "small": [torch.ones(3, dtype=kind) for kind in (torch.uint8, torch.bool, torch.bfloat16, torch.float64)],
        "parameter": nn.Parameter(torch.ones(2)),
        "scalar": torch.tensor(3.0),
        "nothing": torch.empty(0, 4),
        "size": torch.Size((2, 3)),
        "groups": {1, 2, 3},
    }


def assert_same(ours, theirs):
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype
        assert ours.stride() == theirs.stride()
        assert torch.equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    else:
        assert ours == theirs


@pytest.mark.parametrize("zipped", FORMS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_weights_and_plain_values(tree, tmp_path, zipped, protocol):
    path = tmp_path / "some.pt"
    torch.save(tree, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert_same(torchfile.read(path), tree)
    weights = torchfile.read(path)["weights"]
    assert weights["tied"].untyped_storage().data_ptr() == weights["view"].untyped_storage().data_ptr()


@pytest.mark.parametrize("zipped", FORMS)
def test_a_whole_module_is_its_tensors(tmp_path, zipped):
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.BatchNorm1d(3)))
    path = saved(module, tmp_path / "module.pkl", zipped)
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules"):
        torchfile.read(path)
    shell = torchfile.read(path, ("torch.nn.modules.",))
    assert shell.kind == "torch.nn.modules.container.Sequential"
    assert_same(torchfile.state_dict(shell), dict(module.state_dict()))


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", FORMS)
@pytest.mark.parametrize("function", [os.system, eval, getattr, torch.load, io.open])
def test_nothing_is_called(tmp_path, zipped, function):
    mark = tmp_path / "mark"
    trap = Trap(function, f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')")
    path = saved({"weights": torch.ones(2), "trap": trap}, tmp_path / "trap.pt", zipped)
    with pytest.raises(CheckpointError, match=r"trap\.pt refers to .* not loaded"):
        torchfile.read(path)
    assert isinstance(torchfile.peek(path)["trap"], torchfile.Shell)
    assert not mark.exists()


def test_a_shell_runs_no_code_of_its_class(tmp_path):
    module = types.ModuleType("outlandish")
    sys.modules["outlandish"] = module
    ran = []

    class Setter:
        def __setstate__(self, state):
            ran.append(state)

    Setter.__module__, Setter.__qualname__ = "outlandish", "Setter"
    module.Setter = Setter  # type: ignore[attr-defined]
    try:
        thing = Setter()
        thing.__dict__["a"] = 1
        path = saved(thing, tmp_path / "thing.pt")
        shell = torchfile.read(path, ("outlandish.",))
    finally:
        del sys.modules["outlandish"]
    assert (shell.kind, shell.state, ran) == ("outlandish.Setter", {"a": 1}, [])


def repacked(path: Path, out: Path, pickled: bytes) -> Path:
    """The archive with another pickle."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, pickled if entry.filename.endswith("data.pkl") else old.read(entry))
    return out


def tensor_pickle(count=4, offset=0, size=(4,), stride=(1,)) -> bytes:
    """The pickle of one tensor, with anything for its shape."""

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, OrderedDict())

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(thing, Storage) else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(Tensor())
    return buffer.getvalue()


BAD_SHAPES = {
    "more numbers than the entry": {"count": 5, "size": (5,)},
    "beyond the end": {"offset": 1},
    "before the start": {"offset": -1},
    "a stride backwards": {"stride": (-1,)},
    "a stride too far": {"stride": (2,)},
    "one number, a million times": {"size": (1000, 1000), "stride": (0, 0)},
    "an absurd size": {"size": (1 << 62, 4), "stride": (0, 1)},
    "words for numbers": {"size": ("4",)},
}


@pytest.mark.parametrize("shape", BAD_SHAPES.values(), ids=BAD_SHAPES.keys())
def test_tensors_stay_within_their_storage(tmp_path, shape):
    path = saved(torch.arange(4.0), tmp_path / "good.pt")
    assert torch.equal(torchfile.read(repacked(path, tmp_path / "same.pt", tensor_pickle())), torch.arange(4.0))
    with pytest.raises(CheckpointError, match=r"bad\.pt is damaged"):
        torchfile.read(repacked(path, tmp_path / "bad.pt", tensor_pickle(**shape)))


BAD_PICKLES = {
    "eight gigabytes announced": b"\x80\x04\x96\x00\x00\x00\x00\x02\x00\x00\x00.",
    "an extension": b"\x80\x02\x82\x01.",
    "a stack that is empty": b"\x80\x020.",
    "no end": b"\x80\x02]",
    "no pickle": b"hello",
    "two values": b"\x80\x02NN.",
}


@pytest.mark.parametrize("name", BAD_PICKLES)
def test_odd_pickles(tmp_path, name):
    path = repacked(saved([], tmp_path / "good.pt"), tmp_path / "bad.pt", BAD_PICKLES[name])
    with pytest.raises(CheckpointError, match=r"bad\.pt"):
        torchfile.read(path)


def test_a_memo_at_a_far_index_makes_no_table(tmp_path):
    pickled = b"\x80\x02]r\xff\xff\xff\x7f."  # the library's own machine would make one of 2^32 places
    assert torchfile.read(repacked(saved([], tmp_path / "good.pt"), tmp_path / "far.pt", pickled)) == []


def test_released_memory_is_read_again(tmp_path):
    weights = {"large": torch.randn(300, 100), "small": torch.ones(2)}
    ours = torchfile.read(saved(weights, tmp_path / "some.pt"))
    for tensor in (*ours.values(), torch.ones(5)):
        mapped.release(tensor)
    assert_same(ours, weights)


def test_an_older_stream_that_ends_within_its_last_count(tmp_path):
    path = saved({"nothing": torch.empty(0)}, tmp_path / "some.pt", zipped=False)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="incomplete"):
        torchfile.read(path)


def test_numbers_at_any_byte_are_copied_to_compute_with(tmp_path):
    files = (saved({"x" * n: torch.arange(4.0)}, tmp_path / f"{n}.pt", zipped=False) for n in range(8))
    tensors = (tensor for file in files for tensor in torchfile.read(file).values())
    odd = next(tensor for tensor in tensors if tensor.data_ptr() % 4)
    copied = mapped.cast(odd, torch.float32)
    assert copied.data_ptr() % 4 == 0 and torch.equal(copied, torch.arange(4.0))


def test_a_module_inside_itself(tmp_path):
    module = nn.Sequential(nn.ReLU())
    module._modules["self"] = module
    with pytest.raises(CheckpointError, match="inside itself"):
        torchfile.state_dict(torchfile.read(saved(module, tmp_path / "loop.pkl"), ("torch.nn.modules.",)))


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"PK\x03\x04", b"\x80\x02", b"version https://git-lfs"])
def test_other_files(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        torchfile.read(path)
    assert torchfile.peek(path) is None


@pytest.mark.parametrize("zipped", FORMS)
def test_broken_files_are_refused_or_read_alike(tree, tmp_path, zipped):
    """Cut: refused. A byte changed: refused, or read unchanged (but for the older form, which has no checksums)."""
    whole = saved(tree, tmp_path / "whole.pt", zipped).read_bytes()
    broken = tmp_path / "broken.pt"
    dice = random.Random(5)
    for _ in range(60):
        broken.write_bytes(whole[: dice.randrange(len(whole))])
        with pytest.raises(CheckpointError):
            torchfile.read(broken)
    for _ in range(60):
        place = dice.randrange(len(whole))
        broken.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << dice.randrange(8)]) + whole[place + 1 :])
        try:
            value = torchfile.read(broken)
        except CheckpointError:
            continue
        if zipped:
            assert_same(value, tree)


def nested(times: int, of: bytes, pair: bytes) -> bytes:
    """A tuple or list of two that are one, which again are two that are one, and so on: 2^times leaves in few bytes."""
    return of + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + pair for i in range(times))


TUPLES, LISTS = nested(60, b")", b"\x86"), nested(60, b"]", b"\x86")
MANY = b"(" + b"N" * 100_000 + b"lq\xc8"  # a long list, kept at 200
BOMBS = {  # what would run for ages, or fill the memory
    "tuples for a key": b"}" + TUPLES + b"Ns",
    "tuples in a set": b"\x8f(" + TUPLES + b"\x90",
    "tuples for the name of a global": TUPLES + b"\x8c\x01x\x93",
    "tuples for a device": b"ctorch\ndevice\n" + TUPLES + b"\x85R",
    "tuples for the key of a storage": b"(\x8c\x07storagectorch\nFloatStorage\n" + TUPLES + b"\x8c\x03cpuK\x04tQ",
    "lists for numbers of a shape": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00" + LISTS + LISTS + b"tR",
    "a long list, turned to a set over and over": MANY + b"0(" + b"c__builtin__\nset\nh\xc8\x85R" * 10_000 + b"l",
    "a long list, turned to sizes over and over": MANY + b"0(" + b"ctorch\nSize\nh\xc8\x85R" * 10_000 + b"l",
    "no end of instructions": b"(" + b"]" * 400_000 + b"l",
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_grow_are_refused(tmp_path, name):
    path = repacked(saved([], tmp_path / "good.pt"), tmp_path / "bomb.pt", b"\x80\x04" + BOMBS[name] + b".")
    with pytest.raises(CheckpointError, match=r"bomb\.pt"):
        torchfile.read(path)
    assert torchfile.peek(path) is None


def test_a_storage_may_not_be_shown_over_and_over(tmp_path):
    numbers = torch.arange(1000.0)
    twice = {"a": numbers, "again": numbers, "most": numbers[:900]}
    assert_same(torchfile.read(saved(twice, tmp_path / "good.pt")), twice)
    path = saved({f"{i}": numbers[i:] for i in range(20)}, tmp_path / "bomb.pt")
    with pytest.raises(CheckpointError, match="too many tensors"):
        torchfile.read(path)


def test_entries_of_an_archive_may_not_overlap(tmp_path):
    good = saved([torch.full((1000,), i) for i in range(30)], tmp_path / "good.pt")
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(tmp_path / "bomb.pt", "w") as new:
        for name in ("good/data.pkl", "good/data/0"):
            new.writestr(name, old.read(name))
        for i in range(1, 30):
            new.filelist.append(copy.copy(new.filelist[1]))
            new.filelist[-1].filename = f"good/data/{i}"
    with pytest.raises(CheckpointError, match="overlap"):
        torchfile.read(tmp_path / "bomb.pt")


def test_modules_without_end(tmp_path):
    shell = torchfile.Shell("torch.nn.modules.container.Sequential")
    children = {f"{i}": shell for i in range(5000)}
    shell.state = {"_parameters": {}, "_buffers": {}, "_modules": children}
    with pytest.raises(CheckpointError, match="too large"):
        torchfile.state_dict(shell)
