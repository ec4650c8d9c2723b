"""From a name or a folder to a model that is ready, or a sentence that says why not."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from dalle import models
from dalle.contracts import SamplingOptions
from dalle.errors import CheckpointError, ModelError, SettingError, UnknownModelError

CPU = torch.device("cpu")


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy to spoil, without the corpus."""
    place = tmp_path / "model"
    shutil.copytree(tiny_model, place, ignore=shutil.ignore_patterns("corpus", "samples", "curves", "*.pt"))
    return place


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_trained_folder_is_a_whole_model(tiny_model: Path):
    bundle = models.load(str(tiny_model), CPU)
    assert (bundle.name, bundle.title) == (tiny_model.name, "Tiny")
    assert bundle.model.vocab == bundle.images.vocab and bundle.images.size == 64
    assert bundle.ranker is not None and bundle.options == SamplingOptions()
    text = bundle.text.encode("a red bird")[None]
    logits, _ = bundle.model.prefill(text)
    assert logits.shape == (1, bundle.images.vocab)
    assert models.load(str(tiny_model), CPU).fingerprint == bundle.fingerprint


def test_a_model_without_a_ranker_still_draws(folder: Path):
    (folder / "clip.json").unlink()
    assert models.load(str(folder), CPU).ranker is None


@pytest.mark.parametrize("file", ["dvae.json", "transformer.json", "tokenizer.json"])
def test_what_a_picture_depends_on_is_in_the_fingerprint(folder: Path, file: str):
    stamp = models.load(str(folder), CPU).fingerprint
    path = folder / file
    path.write_text(path.read_text() + "\n")
    assert models.load(str(folder), CPU).fingerprint != stamp


@pytest.mark.parametrize("file", ["dvae.json", "transformer.json", "tokenizer.json", "transformer.safetensors"])
def test_a_missing_file_is_named(folder: Path, file: str):
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=rf"^{file} is missing\.$"):
        models.load(str(folder), CPU)


@pytest.mark.parametrize(
    ("file", "changes", "sentence"),
    [
        ("transformer.json", {"text_len": 30}, "tokenizer.json is not the one that the transformer was trained with."),
        ("transformer.json", {"grid": [2, 8]}, "The dVAE is not the one that the transformer was trained with."),
        ("transformer.json", {"depth": 3}, "transformer.safetensors lacks the tensor layers.2."),
        ("transformer.json", {"depth": "3"}, "transformer.json: depth should be int, not str."),
        ("dvae.json", {"width": 16}, "dvae.safetensors: .* has the shape"),
        ("model.json", {"colour": 1}, "model.json has a key that Card does not know: colour."),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(folder: Path, file: str, changes: dict, sentence: str):
    edit(folder / file, **changes)
    with pytest.raises(CheckpointError, match=f"^{sentence}"):
        models.load(str(folder), CPU)


def test_what_is_no_model_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match=f"'{tmp_path.name}' holds no model"):
        models.load(str(tmp_path), CPU)
    (tmp_path / "1.3B.tar.gz").write_bytes(b"")
    with pytest.raises(CheckpointError, match="please unpack it"):
        models.load(str(tmp_path / "1.3B.tar.gz"), CPU)
    with pytest.raises(UnknownModelError, match=r"called 'birds'.* emoji"):
        models.load(str(tmp_path / "birds"), CPU)


def test_half_a_model_is_refused(tiny_model: Path, monkeypatch):
    class Half:
        @staticmethod
        def detect(place: Path) -> bool:
            return True

        @staticmethod
        def load(place: Path, *_: object):
            from dalle.families import Parts

            return Parts(title="Half")

    monkeypatch.setattr(models, "families", lambda: (Half,))
    with pytest.raises(ModelError, match="is not a whole model"):
        models.load(str(tiny_model), CPU)


def test_every_registered_model_has_a_name_of_its_own():
    cards = models.registered()
    assert len({card.name for card in cards}) == len(cards) and "emoji" in {card.name for card in cards}
    for card in cards:
        assert card.title and card.licence
        assert card.grid is None or (card.grid[0] > 0 and card.pixels)
        assert card.languages or "draws none" in card.note


def test_devices_are_picked_or_refused():
    assert models.pick_device("cpu") == CPU
    assert models.pick_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cuda:99", ""):
        with pytest.raises(SettingError, match="There is no device"):
            models.pick_device(name)


def test_number_types_are_picked_or_refused(tiny_model: Path):
    assert models.pick_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(SettingError, match="no number type called 'int4'"):
        models.pick_dtype("int4")
    bundle = models.load(str(tiny_model), CPU, torch.bfloat16)
    text = bundle.text.encode("a red bird")[None]
    logits, _ = bundle.model.prefill(text)
    assert logits.dtype == torch.bfloat16 and bundle.fingerprint.endswith("-bfloat16")
    whole, _ = models.load(str(tiny_model), CPU).model.prefill(text)
    torch.testing.assert_close(logits.float(), whole, atol=0.1, rtol=0.1)
    assert bundle.images.decode(torch.zeros(1, *bundle.images.grid, dtype=torch.long)).dtype == torch.float32
