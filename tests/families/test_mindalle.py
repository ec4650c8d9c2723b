"""minDALL-E: the authors' files, against what the authors' code makes of them.

`DALLE_GOLDEN=DIR` takes a larger set of the same layout.
"""

import json
import os
import shutil
from pathlib import Path

import filters
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import Tensor

from dalle import models, torchfile
from dalle.contracts import Borders, Request
from dalle.engine import Studio
from dalle.errors import CheckpointError, ModelError, PromptError
from dalle.families import mindalle
from dalle.nn.vqgan import VQGAN, VQGANConfig

CPU = torch.device("cpu")
OWN = Path(__file__).parents[1] / "golden" / "mindalle"
GOLDEN = Path(os.environ.get("DALLE_GOLDEN") or OWN.parent) / "mindalle"
FOLDERS = sorted(path.parent for path in GOLDEN.glob("*/stage2_last.ckpt"))
WHOLE = sorted(path.parent for path in GOLDEN.glob("*/stage1_last.ckpt"))
NEAR = {"atol": 5e-5, "rtol": 0}


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as held:
        return {name: torch.from_numpy(np.atleast_1d(held[name])) for name in held}


def expected(folder: Path) -> dict[str, Tensor]:
    return arrays(GOLDEN / "expected_stage2.npz" if folder in WHOLE else folder / "expected.npz")


def greedy(model, text: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest tokens (B, I), drawn with a cache, and the logits that they were drawn from (B, I, V)."""
    logits, state = model.prefill(text)
    rows = [logits]
    while len(rows) < model.config.image_len:
        rows.append(model.step(rows[-1].argmax(1), state))
    return torch.stack(rows, 1).argmax(2), torch.stack(rows, 1)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_logits_losses_and_greedy_tokens_are_those_of_the_authors(folder):
    assert mindalle.detect(folder)
    model, wanted = mindalle.load(folder, CPU).model, expected(folder)
    if "texts" in wanted:
        text_logits, image_logits = model.logits(wanted["texts"], wanted["images"])
        torch.testing.assert_close(text_logits, wanted["logits_txt"], **NEAR)
        torch.testing.assert_close(image_logits, wanted["logits_img"], **NEAR)
        loss = model(wanted["texts"], wanted["images"], return_loss=True)
        assert loss.text.item() == pytest.approx(wanted["loss_txt"].item(), abs=1e-5)
        assert loss.image.item() == pytest.approx(wanted["loss_img"].item(), abs=1e-5)
        text = wanted["prompt_ids"][None] if "prompt_ids" in wanted else wanted["texts"]
    else:
        classes, images = wanted["labels"][:, None] % model.config.text_vocab, wanted["codes"]
        logits = model(classes, images)
        torch.testing.assert_close(logits, wanted["logits"], **NEAR)
        assert F.cross_entropy(logits.flatten(0, 1), images.flatten()).item() == pytest.approx(
            wanted["loss"].item(), abs=1e-5
        )
        text = wanted["greedy_class"].view(1, 1).clamp(min=0)
    tokens, logits = greedy(model, text)
    assert torch.equal(tokens, wanted["greedy_codes"])
    torch.testing.assert_close(logits, wanted["greedy_step_logits"].view_as(logits), **NEAR)
    torch.testing.assert_close(logits, model(text, tokens), **NEAR)  # with and without the cache


@pytest.mark.parametrize("folder", WHOLE, ids=lambda folder: folder.name)
def test_pictures_are_those_of_the_authors(folder):
    parts, wanted = mindalle.load(folder, CPU), arrays(GOLDEN / "expected_stage1.npz")
    vqgan = parts.images
    pictures = wanted["image_u8"].permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(vqgan.features(2 * pictures[:1] - 1), wanted["quant_conv_out"], **NEAR)
    assert torch.equal(vqgan.encode(pictures).flatten(1), wanted["codes"])
    codes = wanted["decode_codes"].view(-1, *vqgan.grid)
    torch.testing.assert_close(vqgan.paint(codes), wanted["decode_raw"], atol=1e-5, rtol=0)
    torch.testing.assert_close(vqgan.decode(codes), wanted["decode_image"], atol=1e-5, rtol=0)
    stage2 = expected(folder)
    drawn = vqgan.decode(stage2["greedy_codes"].view(-1, *vqgan.grid))
    torch.testing.assert_close(drawn, stage2["greedy_pixels"], atol=1e-5, rtol=0)
    prompt = "A Painting of a Monkey with sunglasses in the frame"
    assert torch.equal(parts.text.encode(prompt), stage2["prompt_ids"])


def test_token_ids_are_those_of_the_authors():
    held = json.loads((GOLDEN / "tokenizer_cases.json").read_text())
    vocab, merges = (GOLDEN / name for name in held["files"])
    text = mindalle.CharBpe(vocab, merges, held["context_length"], held["vocab_size"])
    for case in held["cases"]:
        assert text.encode(case["text"]).tolist() == case["ids"], case["text"]
        assert min(text.count(case["text"]), text.length) == sum(case["attention_mask"])
    assert text.readable("a red bird") and not text.readable("赤い鳥")
    with pytest.raises(CheckpointError, match="vocabulary"):
        mindalle.CharBpe(vocab, merges, 16, held["vocab_size"] - 1)


def test_filters_are_those_of_the_authors():
    filters.compare(GOLDEN / "sampling")


STAGE1 = VQGANConfig(8, vocab=40, code_dim=6, latent=8, stem=32, widths=(32, 64), blocks=1, attention=(1,))


@pytest.fixture
def place(tmp_path) -> Path:
    """A whole model in the layout of the archive: the small stage 2 with more text, and a random stage 1 for it."""
    generator = torch.Generator().manual_seed(0)
    shutil.copytree(OWN / "1.3B" / "tokenizer", tmp_path / "tokenizer")
    shutil.copytree(OWN / "small_stage2", tmp_path, dirs_exist_ok=True)
    edit_weights(
        tmp_path,
        **{
            "tok_emb_txt.weight": torch.randn(300, 24, generator=generator),
            "head_txt.weight": torch.randn(300, 24, generator=generator),
            "pos_emb_txt.weight": torch.randn(16, 24, generator=generator),
        },
    )
    torch.manual_seed(0)
    torch.save({"state_dict": VQGAN(STAGE1).half().state_dict()}, tmp_path / "stage1_last.ckpt")
    sections = yaml.safe_load((tmp_path / "config.yaml").read_text())
    sections["stage2"]["vocab_size_txt"] = 300
    sections["stage2"]["hparams"]["ctx_len_txt"] = 16
    hparams = {"ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "z_channels": 8, "resolution": 8}
    sections["stage1"] = {"embed_dim": 6, "n_embed": 40, "hparams": {**hparams, "attn_resolutions": [4]}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(sections))
    return tmp_path


def edit_weights(place: Path, without: str | None = None, **changes: Tensor) -> None:
    weights = torchfile.read(place / "stage2_last.ckpt")["state_dict"] | changes
    weights.pop(without, None)
    torch.save({"state_dict": {name: tensor.clone() for name, tensor in weights.items()}}, place / "new")
    (place / "new").replace(place / "stage2_last.ckpt")


def edit_config(place: Path, section: str, **changes: object) -> None:
    sections = yaml.safe_load((place / "config.yaml").read_text())
    sections[section]["hparams"] |= changes
    (place / "config.yaml").write_text(yaml.safe_dump(sections))


def test_the_road_from_a_prompt_to_a_gallery(place):
    studio = Studio.load(str(place), "cpu")
    assert studio.bundle.options.top_k == 256
    prime = Image.effect_mandelbrot((16, 16), (-2, -1.5, 1, 1.5), 10).convert("RGB")
    *_, plain = studio.generate(Request("a Red bird", samples=2, previews=0))
    kept = Borders(top=2).of(studio.read(prime))
    *_, primed = studio.generate(Request("a Red bird", samples=2, previews=1, kept=kept))
    assert [candidate.picture.size for candidate in plain.candidates] == [(8, 8)] * 2
    kept = np.stack([candidate.tokens[:2] for candidate in primed.candidates])
    assert (kept == kept[:1]).all() and (kept[0] != plain.candidates[0].tokens[:2]).any()


def test_inspection(place):
    found = models.inspect(str(place))
    assert (found.family, found.title, found.missing) == ("mindalle", "minDALL-E", ("CLIP",))
    assert found.sizes["transformer"]["depth"] == 2 and found.sizes["image tokenizer"]["grid"] == (4, 4)
    assert {file.types for file in found.files} == {("float16",), ("float32",), ()}


def test_stage_1_alone_is_an_image_tokenizer(place):
    (place / "stage2_last.ckpt").unlink()
    found = models.inspect(str(place))
    assert (found.version, found.missing) == ("stage 1 alone", ("transformer", "text tokenizer", "CLIP"))
    assert models.load_images(str(place), CPU).grid == (4, 4)


def test_the_archive_unpacked_in_a_folder_and_one_of_its_files(place, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    shutil.copytree(place, outer / "1.3B")
    assert models.load(str(outer), CPU).text.encode("a bird").tolist()
    parts = mindalle.load(outer / "1.3B" / "stage2_last.ckpt", CPU)
    assert parts.text and parts.model and parts.images is None


@pytest.mark.parametrize("stage", [1, 2])
def test_a_second_model_in_the_folder_is_named(place, stage):
    shutil.copyfile(place / f"stage{stage}_last.ckpt", place / "older.ckpt")
    with pytest.raises(CheckpointError, match=rf"older\.ckpt and stage{stage}_last\.ckpt are both a stage {stage}"):
        mindalle.load(place, CPU)


def test_missing_parts_are_named(place):
    shutil.rmtree(place / "tokenizer")
    (place / "stage1_last.ckpt").unlink()
    with pytest.raises(ModelError, match=r"no text tokenizer and no image tokenizer\."):
        models.load(str(place), CPU)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"without": "blocks.1.attn.key.weight"}, r"stage2_last\.ckpt lacks the tensor blocks\.1\.attn\.key\.weight\."),
        ({"blocks.1.attn.mask": torch.ones(2)}, r"stage2_last\.ckpt holds a tensor .* blocks\.1\.attn\.mask\."),
        ({"blocks.0.mlp.0.bias": torch.ones(96)}, r"stage2_last\.ckpt holds a tensor .* blocks\.0\.mlp\.0\.bias\."),
        ({"ln_f.bias": torch.ones(3)}, r"stage2_last\.ckpt: ln_f\.bias has the shape \(3,\) instead of \(24,\)\."),
        ({"sos": torch.ones(1, 1, 24)}, r"stage2_last\.ckpt"),
        ({"sos.weight": torch.ones(())}, r"stage2_last\.ckpt: sos\.weight has the shape"),
    ],
)
def test_weights_that_do_not_fit_are_named(place, change, sentence):
    edit_weights(place, **change)
    with pytest.raises(CheckpointError, match=sentence):
        mindalle.load(place, CPU)


@pytest.mark.parametrize(
    ("section", "change", "sentence"),
    [
        ("stage2", {"n_experts": 8}, "stage2.* n_experts"),
        ("stage2", {"n_layers": 10**9}, "1000000000 layers"),
        ("stage2", {"n_heads": 0}, "no net has the sizes"),
        ("stage2", {"n_heads": 5}, "has the shape"),
        ("stage2", {"ctx_len_img": 15}, "no square"),
        ("stage2", {"ctx_len_img": 9}, r"pos_emb_img\.weight has the shape"),
        ("stage2", {"embed_dim": "wide"}, "embed_dim should be int"),
        ("stage1", {"ch": 20}, "no net has the sizes"),
        ("stage1", {"double_z": True}, "other than a VQGAN"),
        ("stage1", {"num_res_blocks": 10**9}, "fewer layers"),
        ("stage1", {"ch_mult": [1] * 2000}, "fewer layers"),
        ("stage1", {"ch_mult": [1] * 40_000}, r"config\.yaml is too large"),
        ("stage1", {"attn_resolutions": [8]}, r"stage1_last\.ckpt (lacks|holds)"),
        ("stage1", {"resolution": 16, "attn_resolutions": [8]}, "not the one that stage 2 was trained with"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(place, section, change, sentence):
    edit_config(place, section, **change)
    with pytest.raises(CheckpointError, match=sentence):
        mindalle.load(place, CPU)


def test_a_kind_of_stage_2_that_nobody_knows_is_refused(place):
    text = (place / "config.yaml").read_text()
    (place / "config.yaml").write_text(text.replace("transformer1d", "rq"))
    with pytest.raises(CheckpointError, match="stage 2 that is not known: 'rq'"):
        mindalle.load(place, CPU)


def test_a_model_of_classes_takes_their_numbers():
    text = mindalle.ClassNumbers(7)
    assert text.encode(" 6 ").tolist() == [6]
    for prompt in ("7", "-1", "a dog", "٣", "1" * 5000):
        with pytest.raises(PromptError, match="from 0 to 6"):
            text.encode(prompt)
    assert mindalle.ClassNumbers(1).encode("whatever").tolist() == [0]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        "a: &a {x: 1}\nstage2: {<<: [*a, *a]}",  # one that names one that names one … ten times each
        "stage2: !!python/object/apply:os.getcwd []",
    ],
    ids=["deep", "aliases", "objects"],
)
def test_only_plain_yaml_is_read(place, text):
    (place / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yaml is not readable YAML"):
        mindalle.load(place, CPU)
