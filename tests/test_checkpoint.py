"""Files of weights: whole, or a sentence that names what is wrong with them."""

import os
import re
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dalle import checkpoint
from dalle.errors import CheckpointError
from dalle.nn.dvae import DVAE, DVAEConfig
from dalle.nn.transformer import Transformer, TransformerConfig

CPU = torch.device("cpu")


def tensors(*sizes: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"layer.{i}": torch.randn(size, generator=generator) for i, size in enumerate(sizes)}


def test_a_small_net_is_one_file_and_comes_back(tmp_path: Path):
    whole = tensors(3, 5)
    checkpoint.write_tensors(whole, tmp_path, "net", torch.float32)
    assert [path.name for path in checkpoint.shards(tmp_path, "net")] == ["net.safetensors"]
    back = checkpoint.read_tensors(tmp_path, "net")
    assert back.keys() == whole.keys() and all(torch.equal(back[name], whole[name]) for name in whole)


def test_a_large_net_is_files_that_any_host_takes(tmp_path: Path):
    ramp = torch.arange(1_500_000).remainder(2000).float()  # 3 MB as fp16
    whole = {f"layer.{i}": ramp + i for i in range(9)}
    checkpoint.write_tensors(whole, tmp_path, "net", torch.float16)
    parts = checkpoint.shards(tmp_path, "net")
    assert [path.name for path in parts] == [f"net-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert all(path.stat().st_size < 10_000_000 for path in parts)
    back = checkpoint.read_tensors(tmp_path, "net")
    assert back.keys() == whole.keys()
    assert all(torch.equal(back[name], whole[name].half()) for name in whole)


def test_writing_replaces_what_was_there_and_nothing_else(tmp_path: Path, monkeypatch):
    checkpoint.write_tensors(tensors(4), tmp_path, "net_b", torch.float32)
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 40)
    checkpoint.write_tensors(tensors(8, 8, 8), tmp_path, "net", torch.float32)
    checkpoint.write_tensors(tensors(8, 8), tmp_path, "net", torch.float32)
    assert len(checkpoint.shards(tmp_path, "net")) == 2
    monkeypatch.undo()
    checkpoint.write_tensors(tensors(6), tmp_path, "net", torch.float32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors", "net_b.safetensors"]
    assert checkpoint.read_tensors(tmp_path, "net")["layer.0"].shape == (6,)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such permissions")
def test_whoever_may_use_the_folder_may_read_the_weights(tmp_path: Path):
    for folder, file in ((0o755, 0o644), (0o700, 0o600)):
        tmp_path.chmod(folder)
        checkpoint.write_tensors(tensors(4), tmp_path, "net", torch.float32)
        assert stat.S_IMODE((tmp_path / "net.safetensors").stat().st_mode) == file


def refused(place: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read_tensors(place, "net")
    assert str(place) not in str(caught.value), "a message tells no path"
    return str(caught.value)


def test_missing_files_are_named(tmp_path: Path, monkeypatch):
    assert refused(tmp_path) == "net.safetensors is missing."
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 40)
    checkpoint.write_tensors(tensors(8, 8, 8), tmp_path, "net", torch.float32)
    (tmp_path / "net-00002-of-00003.safetensors").unlink()
    assert refused(tmp_path) == "net-00002-of-00003.safetensors is missing."


def test_files_that_only_look_like_shards_are_none(tmp_path: Path):
    (tmp_path / "net-first-of-three.safetensors").touch()
    assert refused(tmp_path) == "net.safetensors is missing."


def test_a_pointer_is_not_the_weights(tmp_path: Path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (tmp_path / "net.safetensors").write_text(pointer)
    assert re.fullmatch(r"net\.safetensors is only a Git LFS pointer.* `git lfs pull` .*\.", refused(tmp_path))


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_truncated_file_is_damaged(tmp_path: Path, kept: int):
    checkpoint.write_tensors(tensors(30, 30), tmp_path, "net", torch.float32)
    path = tmp_path / "net.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(tmp_path) == "net.safetensors is damaged or is no safetensors file."


def test_a_tensor_comes_once(tmp_path: Path):
    for i in (1, 2):
        save_file(tensors(3), tmp_path / f"net-0000{i}-of-00002.safetensors")
    assert refused(tmp_path) == "net-00002-of-00002.safetensors holds layer.0 a second time."


def linear() -> nn.Linear:
    return nn.Linear(3, 2)


def test_a_net_gets_exactly_its_tensors():
    given = {"weight": torch.randn(2, 3).half(), "bias": torch.randn(2).half()}
    net = checkpoint.build(linear, given, "net.safetensors", CPU, torch.float32)
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in net.parameters()) and not net.training
    torch.testing.assert_close(net(torch.eye(3)), given["weight"].float().T + given["bias"].float())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bias": None}, "net.safetensors lacks the tensor bias."),
        ({"gain": torch.zeros(1)}, "net.safetensors holds a tensor that its configuration does not name: gain."),
        ({"bias": torch.zeros(3)}, "net.safetensors: bias has the shape (3,) instead of (2,)."),
        (
            {"bias": torch.zeros(2, dtype=torch.long)},
            "net.safetensors: bias holds numbers of another kind than it should: torch.int64.",
        ),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(change, sentence):
    given = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), **change}
    given = {name: tensor for name, tensor in given.items() if tensor is not None}
    with pytest.raises(CheckpointError) as caught:
        checkpoint.build(linear, given, "net.safetensors", CPU, torch.float32)
    assert str(caught.value) == sentence


LAYERS = TransformerConfig(text_vocab=8, text_len=4, image_vocab=8, grid=(2, 2), width=8, depth=10**12, heads=1)


@pytest.mark.parametrize(
    "net",
    [
        lambda: Transformer(LAYERS),
        lambda: DVAE(DVAEConfig(width=4, blocks=10**12)),
        lambda: DVAE(DVAEConfig(width=4, groups=10**12)),
    ],
    ids=["layers", "blocks", "groups"],
)
def test_sizes_beyond_all_measure_are_refused_at_once(net):
    with pytest.raises(CheckpointError, match="sizes"):
        checkpoint.build(net, tensors(3), "net.safetensors", CPU, torch.float32)
    assert isinstance(linear().weight, torch.nn.Parameter), "other nets are made as before"


def test_a_fingerprint_is_of_bytes_and_names(tmp_path: Path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1"), two.write_bytes(b"2")
    stamp = checkpoint.fingerprint([one, two])
    assert re.fullmatch(r"[0-9a-f]{16}", stamp) and checkpoint.fingerprint([two, one]) == stamp
    two.write_bytes(b"3")
    assert checkpoint.fingerprint([one, two]) != stamp
