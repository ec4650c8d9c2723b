"""A model of any family in our own layout: the same nets, the same tokens."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from e2e.tiny_model import make
from torch import nn

from dalle import config, models
from dalle.errors import CheckpointError, ModelError, SettingError
from dalle.families import Parts, native

CPU = torch.device("cpu")
GOLDEN = Path(os.environ.get("DALLE_GOLDEN") or Path(__file__).parent / "golden")
PLACES = {  # files and folders that make a model, put into one folder
    "openai_dvae": ["openai_dvae/dvae_hid4_blk1_zip_encoder.pkl", "openai_dvae/dvae_hid4_blk1_zip_decoder.pkl"],
    "dalle_pytorch, own VAE": ["dalle_pytorch/v028_hparams_with_vae_object.pt", "dalle_pytorch/tokenizer_hug_bpe.json"],
    "dalle_pytorch, YouTokenToMe": [
        "dalle_pytorch/v028_hparams_with_vae_object.pt",
        "rudalle/tokenizer/bpe.model",
    ],
    "dalle_pytorch, sparse": ["dalle_pytorch/v0143_sparse_derived.pt", "dalle_pytorch/tokenizer_hug_bpe.json"],
    "dalle_pytorch, reversible": ["dalle_pytorch/v071_kobiso_reversible.pt", "dalle_pytorch/tokenizer_hug_bpe.json"],
    "dalle_pytorch, dVAE": ["dalle_pytorch/v166_openai_dvae.pt", "dalle_pytorch/tokenizer_hug_bpe.json"],
    "dalle_pytorch, VAE alone": ["dalle_pytorch/vae_rgba_smoothl1_st.pt"],
    "mindalle": ["mindalle/small_stage2"],
    "rudalle, v2": ["rudalle/dalle_v2", "rudalle/tokenizer/bpe.model"],
    "rudalle, v3": ["rudalle/dalle_v3", "rudalle/tokenizer/bpe.model"],
    "dalle_mini, Flax": ["dalle_mini/small/flax_scanned_fp32", "dalle_mini/text/enwiki-words-frequency.txt"],
}
PROMPTS = ("a red bird, #sunset", "рыжий кот на окне", "")


@pytest.fixture(params=PLACES)
def place(request, tmp_path: Path) -> Path:
    out = tmp_path / "theirs"
    out.mkdir()
    for name in PLACES[request.param]:
        source = GOLDEN / name
        for file in [source] if source.is_file() else [path for path in source.iterdir() if path.is_file()]:
            if file.suffix != ".npz":
                shutil.copy(file, out)
    return out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny"))


def read(place: Path, dtype: torch.dtype = torch.float32) -> Parts:
    return models.family_of(place).load(place, CPU, dtype)


def assert_same(one: nn.Module | None, other: nn.Module | None) -> None:
    assert type(one) is type(other)
    if one is None:
        return
    assert one.config == other.config
    tensors, others = one.state_dict(), other.state_dict()
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


def test_every_family_comes_back_the_same(place: Path, tmp_path: Path):
    ours = tmp_path / "ours"
    models.convert(str(place), ours)
    before, after = read(place), read(ours)
    assert models.family_of(ours) is native
    for fact in ("title", "options", "languages", "agreement"):
        assert getattr(after, fact) == getattr(before, fact)
    assert_same(before.model, after.model)
    assert_same(before.images, after.images)
    assert (before.text is None) == (after.text is None)
    if before.text is not None and before.text.length > 1:
        for prompt in PROMPTS:
            assert torch.equal(before.text.encode(prompt), after.text.encode(prompt))
            assert (before.text.count(prompt), before.text.readable(prompt)) == (
                after.text.count(prompt),
                after.text.readable(prompt),
            )
    if before.model is not None:
        text = torch.arange(before.model.config.text_len)[None] % 5
        torch.testing.assert_close(after.model.prefill(text)[0], before.model.prefill(text)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("place", ["dalle_pytorch, sparse", "dalle_mini, Flax"], indirect=True)
def test_weights_of_half_precision_take_half_the_room(place: Path, tmp_path: Path):
    models.convert(str(place), tmp_path / "ours", torch.float16)
    model = read(place, torch.float16).model
    assert_same(model, read(tmp_path / "ours", torch.float16).model)
    kind = next(name for name in native.MODELS if (tmp_path / "ours" / f"{name}.json").is_file())
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    assert (tmp_path / "ours" / f"{kind}.safetensors").stat().st_size < size + 50_000


def test_our_own_layout_too_with_its_clip(tiny: Path, tmp_path: Path):
    assert models.convert(str(tiny), tmp_path / "copy") == ()
    before, after = models.load(str(tiny), CPU), models.load(str(tmp_path / "copy"), CPU)
    assert_same(before.model, after.model)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(after.ranker.score("a red bird", pictures), before.ranker.score("a red bird", pictures))


def test_what_the_layout_cannot_hold_is_named(tiny: Path, tmp_path: Path, monkeypatch):
    parts = read(tiny)
    for part, stranger in (("model", nn.Linear(2, 2)), ("text", nn.Linear(2, 2))):
        with pytest.raises(ModelError, match="A Linear cannot be written in our own layout yet"):
            native.save(replace(parts, **{part: stranger}), tiny, tmp_path, torch.float32)


def test_a_conversion_that_fails_leaves_nothing(tiny: Path, tmp_path: Path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(native, "_write_text", fail)
    (tmp_path / "empty").mkdir()
    for out in ("new", "empty", "deep/new"):
        with pytest.raises(OSError, match="disk full"):
            models.convert(str(tiny), tmp_path / out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "empty"]
    monkeypatch.undo()
    models.convert(str(tiny), tmp_path / "empty")
    assert models.load(str(tmp_path / "empty"), CPU).name == "empty"


def test_a_folder_with_files_is_left_alone(tiny: Path, tmp_path: Path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(SettingError, match="Choose an empty folder"):
        models.convert(str(tiny), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(("part", "kind"), [("model", "net"), ("images", "net"), ("text", "text tokenizer")])
def test_kinds_that_nobody_knows_are_refused(tiny: Path, tmp_path: Path, part: str, kind: str):
    models.convert(str(tiny), tmp_path / "copy")
    card = tmp_path / "copy" / native.CARD
    config.save({**config.read(card), part: "a/b"}, card)
    with pytest.raises(CheckpointError, match=f"{kind} that this program does not know: 'a/b'"):
        models.load(str(tmp_path / "copy"), CPU)
