"""DALLE-pytorch: checkpoints of several releases, against what the authors' code makes of them.

`DALLE_GOLDEN=DIR` takes a larger set of the same layout.
"""

import json
import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dalle import models, torchfile
from dalle.contracts import Borders, Request
from dalle.engine import Studio
from dalle.errors import CheckpointError, InputError, ModelError
from dalle.families import dalle_pytorch
from dalle.families.dalle_pytorch import DALLE, captions, images, layout
from dalle.nn import strided_vae
from dalle.nn.strided_vae import Objective, StridedVAE
from dalle.nn.vqgan import VQGAN, VQGANConfig

CPU = torch.device("cpu")
OWN = Path(__file__).parents[1] / "golden" / "dalle_pytorch"
GOLDEN = Path(os.environ.get("DALLE_GOLDEN") or OWN.parent) / "dalle_pytorch"
NEAR = {"atol": 1e-4, "rtol": 1e-4}
WHOLE = sorted(path.stem for path in GOLDEN.glob("v[0-9]*.pt"))
ALONE = sorted(path.stem for path in GOLDEN.glob("vae_*.pt"))
JUDGES = sorted(path.stem for path in GOLDEN.glob("clip_*.pt"))
PIECES = sorted(path for path in GOLDEN.glob("tokenizer_*.json") if '"cases"' in path.read_text(encoding="utf-8"))


def expected(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays if arrays[key].dtype.kind in "biuf"}


def about(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def load(name: str) -> DALLE:
    return DALLE.of(dalle_pytorch.load(GOLDEN / f"{name}.pt", CPU))


@pytest.fixture(params=WHOLE)
def case(request) -> tuple[DALLE, dict[str, Tensor]]:
    return load(request.param), expected(request.param)


def without_mask(model: DALLE) -> DALLE:
    """Early releases hid paddings where they were given a mask only."""
    model.model.config = replace(model.model.config, hidden_token=None)
    return model


def test_logits_and_losses(case):
    model, wanted = case
    text, codes = wanted["text"], wanted["image_tokens"]
    logits = model(text, codes)
    if "logits" in wanted:
        torch.testing.assert_close(logits, wanted["logits"], **NEAR)
    if "logits_positions" in wanted:
        torch.testing.assert_close(logits[:, wanted["logits_positions"]], wanted["logits_at_positions"], **NEAR)
    torch.testing.assert_close(model(text, codes, return_loss=True), wanted["loss"], **NEAR)
    for count, last in zip(wanted.get("partial_k", ()), wanted.get("partial_last_logits", ()), strict=True):
        torch.testing.assert_close(model(text, codes[:, :count])[:, -1], last, **NEAR)
    if "logits_null_image_rows" in wanted:
        null = model(torch.zeros_like(text), codes)[:, model.text_len :, model.model.config.text_vocab :]
        torch.testing.assert_close(null, wanted["logits_null_image_rows"], **NEAR)


def test_codes_and_pictures(case):
    model, wanted = case
    if "image" not in wanted:
        pytest.skip("this one holds no picture")
    codes = model.images.encode(wanted["image"])
    assert torch.equal(codes.flatten(1), wanted["image_tokens"])
    if "vae_decode_image_tokens" in wanted:
        pictures = wanted["vae_decode_image_tokens"]
        if isinstance(model.images, StridedVAE):  # theirs are left in the range of the net
            torch.testing.assert_close(model.images.paint(codes.clone()), pictures, **NEAR)
            pictures = (pictures / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(model.images.decode(codes), pictures, **NEAR)
    top = model.images.decode(codes[:, :1])
    assert top.shape[2:] == (model.images.size // model.images.grid[0], model.images.size)


def test_likeliest_tokens_step_by_step(case):
    model, wanted = case
    if "greedy_tokens" not in wanted:
        pytest.skip("nothing was drawn")
    text = wanted["text"]
    assert torch.equal(model.generate_tokens(text, filter_thres=1), wanted["greedy_tokens"])
    stream = captions.place(text, model.model.config)
    logits, state = model.model.prefill(stream)
    for index, theirs in enumerate(wanted["greedy_step_image_logits"].unbind(1)):
        torch.testing.assert_close(logits, theirs, **NEAR)
        if index + 1 < model.model.config.image_len:
            logits = model.model.step(wanted["greedy_tokens"][:, index], state)


def test_the_first_tokens_of_a_picture_are_kept(case):
    model, wanted = case
    if "primed_default_tokens" not in wanted:
        pytest.skip("nothing was drawn")
    model = without_mask(model)  # with a mask, priming fails in early releases
    keep = {"img": wanted["image"], "filter_thres": 1}
    assert torch.equal(model.generate_tokens(wanted["text"], **keep), wanted["primed_default_tokens"])
    count = int(wanted["primed_custom_num_init"])
    drawn = model.generate_tokens(wanted["text"], **keep, num_init_img_tokens=count)
    assert torch.equal(drawn, wanted["primed_custom_tokens"])


def test_guidance_as_intended(case):
    model, wanted = case
    if "cfg_scale" not in wanted:
        pytest.skip("before guidance")
    text = wanted["text"].clone()
    drawn = model.generate_tokens(text, filter_thres=1, cond_scale=float(wanted["cfg_scale"]))
    assert torch.equal(drawn, wanted["cfg_greedy_tokens_intended"])
    assert torch.equal(text, wanted["text"])


def test_captions_are_completed(case):
    model, wanted = case
    if "gentext_tokens" not in wanted:
        pytest.skip("no caption was completed")
    prompt = wanted["gentext_prompt"][None]
    assert torch.equal(model.generate_texts(prompt, filter_thres=1), wanted["gentext_tokens"])
    assert torch.equal(model.generate_texts(filter_thres=1), wanted["gentext_tokens_no_prompt"])


def test_early_releases_without_a_mask(case):
    model, wanted = case
    if "logits_nomask" not in wanted:
        pytest.skip("a later release")
    model = without_mask(model)
    torch.testing.assert_close(model(wanted["text"], wanted["image_tokens"]), wanted["logits_nomask"], **NEAR)
    if "loss_nomask" in wanted:
        loss = model(wanted["text"], wanted["image_tokens"], return_loss=True)
        torch.testing.assert_close(loss, wanted["loss_nomask"], **NEAR)
    if "greedy_tokens_nomask" in wanted:
        assert torch.equal(model.generate_tokens(wanted["text"], filter_thres=1), wanted["greedy_tokens_nomask"])


@pytest.mark.parametrize("name", ALONE)
def test_the_image_tokenizer_alone(name):
    wanted = expected(name)
    vae = dalle_pytorch.load(GOLDEN / f"{name}.pt", CPU).images
    assert isinstance(vae, StridedVAE)
    codes = vae.encode(wanted["image"])
    assert torch.equal(codes.flatten(1), wanted["indices"])
    torch.testing.assert_close(vae.paint(codes.clone()), wanted["decode_of_indices"], **NEAR)
    torch.testing.assert_close(vae.logits(wanted["image"]), wanted["encoder_logits"], **NEAR)
    options = about(name)["constructor_kwargs_not_in_hparams"]
    objective = Objective(
        temperature=float(wanted["tau"]),
        hard=options.get("straight_through", False),
        reinmax=options.get("reinmax", False),
        kl_weight=options.get("kl_div_loss_weight", 0.0),
        smooth_l1=options.get("smooth_l1_loss", False),
    )
    loss, output = strided_vae.loss(vae, wanted["image"], wanted["gumbel_noise"], objective)
    torch.testing.assert_close(loss, wanted["train_loss"], **NEAR)
    if "train_recons" in wanted:
        torch.testing.assert_close(output, wanted["train_recons"], **NEAR)


@pytest.mark.parametrize("name", ALONE)
def test_any_color_picture_can_be_read(name, tmp_path):
    content = torchfile.read(GOLDEN / f"{name}.pt")
    vae = dalle_pytorch.load(GOLDEN / f"{name}.pt", CPU).images
    assert vae.size == content["hparams"]["image_size"]
    picture = torch.rand(1, 3, vae.size, vae.size)
    tokens = vae.encode(picture)
    assert tokens.shape[1:] == vae.grid
    drawn = vae.decode(tokens)
    assert drawn.shape == picture.shape
    assert drawn.min() >= 0 and drawn.max() <= 1
    usual = ((0.5, 0.5, 0.5, 0.0), (0.5, 0.5, 0.5, 1.0))
    for told, message in (({"normalization": usual}, ""), ({"image_size": 2.5}, "image_size should be a number")):
        torch.save({"hparams": content["hparams"] | told, "weights": content["weights"]}, tmp_path / "vae.pt")
        with pytest.raises(CheckpointError, match=message) if message else nullcontext():
            dalle_pytorch.load(tmp_path / "vae.pt", CPU)


@pytest.mark.parametrize("name", JUDGES)
def test_similarities(name):
    wanted = expected(name)
    net = dalle_pytorch.ranker.build(torchfile.read(GOLDEN / f"{name}.pt"), name, CPU)
    text, image, mask = wanted["text"], wanted["image"], wanted["text_mask"]
    torch.testing.assert_close(net(text, image, mask), wanted["similarity_masked"], **NEAR)
    torch.testing.assert_close(net(text, image), wanted["similarity_unmasked"], **NEAR)
    torch.testing.assert_close(net.loss(text, image, mask), wanted["loss_masked"], **NEAR)
    torch.testing.assert_close(net.loss(text, image), wanted["loss_unmasked"], **NEAR)


@pytest.mark.parametrize("path", PIECES, ids=lambda path: path.stem)
def test_pieces_of_captions(path):
    cases = json.loads(path.read_text(encoding="utf-8"))
    file = path.with_name(path.name.replace("_cases", ""))
    pieces = captions.ClipPieces() if file == path else captions.read(file)
    assert pieces.size == cases.get("vocab_size", 49408)
    for case in cases["cases"]:
        ids = pieces.encode(case["prompt"])
        assert ids == case["ids"]
        assert captions.pad(ids, cases["context_length"]).tolist() == case["tokenized_ctx"]
        if "|>" not in case["decoded"]:  # theirs keeps one mark of a sentence's end
            assert pieces.decode(ids) == case["decoded"]


# --- made here: a whole small model in the authors' layout ---


def shapes(hparams: dict[str, Any], codes: int = 16, side: int = 4) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the newest release, without token shift and rotary positions."""
    width, inner = hparams["dim"], hparams["heads"] * hparams["dim_head"]
    length, rows = hparams["text_seq_len"], hparams["num_text_tokens"] + hparams["text_seq_len"]
    names: dict[str, tuple[int, ...]] = {
        "text_emb.weight": (rows, width),
        "image_emb.weight": (codes, width),
        "text_pos_emb.weight": (length + 1, width),
        "image_pos_emb.weights_0": (1, side, 1, width),
        "image_pos_emb.weights_1": (1, 1, side, width),
        "to_logits.0.weight": (width,),
        "to_logits.0.bias": (width,),
        "to_logits.1.weight": (rows + codes, width),
        "to_logits.1.bias": (rows + codes,),
        "vae.codebook.weight": (codes, 8),
        "vae.encoder.0.0.weight": (8, 3, 4, 4),
        "vae.encoder.0.0.bias": (8,),
        "vae.encoder.1.weight": (codes, 8, 1, 1),
        "vae.encoder.1.bias": (codes,),
        "vae.decoder.0.0.weight": (8, 8, 4, 4),
        "vae.decoder.0.0.bias": (8,),
        "vae.decoder.1.weight": (3, 8, 1, 1),
        "vae.decoder.1.bias": (3,),
    }
    for depth in range(hparams["depth"]):
        attention, mlp = (f"transformer.layers.layers.{depth}.{branch}." for branch in (0, 1))
        names |= {f"{branch}scale": (1, 1, width) for branch in (attention, mlp)}
        names |= {f"{branch}fn.norm.{part}": (width,) for branch in (attention, mlp) for part in ("weight", "bias")}
        names |= {
            f"{attention}fn.fn.fn.to_qkv.weight": (3 * inner, width),
            f"{attention}fn.fn.fn.to_out.0.weight": (width, inner),
            f"{attention}fn.fn.fn.to_out.0.bias": (width,),
            f"{mlp}fn.fn.net.0.weight": (8 * width, width),
            f"{mlp}fn.fn.net.0.bias": (8 * width,),
            f"{mlp}fn.fn.net.3.weight": (width, 4 * width),
            f"{mlp}fn.fn.net.3.bias": (width,),
        }
    return names


@pytest.fixture
def content() -> dict[str, Any]:
    """What a small `dalle.pt` holds."""
    hparams = {"num_text_tokens": 330, "text_seq_len": 8, "dim": 12, "depth": 2, "heads": 2, "dim_head": 6}
    hparams |= {"attn_types": ("full", "conv_like"), "loss_img_weight": 7, "stable": False}
    dice = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=dice) * 0.3 for name, shape in shapes(hparams).items()}
    return {"hparams": hparams, "vae_params": {}, "weights": weights, "version": "1.6.6", "epoch": 0}


@pytest.fixture
def place(content, tmp_path) -> Path:
    """A folder with it and its text tokenizer."""
    torch.save(content, tmp_path / "dalle.pt")
    shutil.copyfile(OWN / "tokenizer_hug_bpe.json", tmp_path / "tokenizer.json")
    return tmp_path


def fold(content: dict[str, Any]) -> layout.Folded:
    own = {name: tensor for name, tensor in content["weights"].items() if not name.startswith("vae.")}
    return layout.fold(own, content["hparams"], content.get("version"), "dalle.pt")


def test_from_a_file_to_a_gallery(place):
    studio = Studio(models.load(str(place), CPU), CPU)
    *_, done = studio.generate(Request("a blue bird near the window", samples=3, seed=1))
    assert [candidate.picture.size for candidate in done.candidates] == [(8, 8)] * 3
    picture = done.candidates[0].picture
    kept = Borders(top=2).of(studio.read(picture))
    *_, primed = studio.generate(Request("a blue bird", samples=2, seed=1, kept=kept))
    assert (primed.candidates[0].tokens[:2] == primed.candidates[1].tokens[:2]).all()


def test_what_a_file_holds_is_told(place):
    told = models.inspect(str(place / "dalle.pt"))
    assert (told.family, told.version) == ("dalle_pytorch", "1.6.6")
    assert told.sizes["transformer"]["patterns"] == ("full", "quadrant5")
    assert told.missing == ("CLIP",)


def place_clip(place: Path, rows: int = 330) -> None:
    """The golden CLIP beside a model, with a table for so many pieces."""
    weights = torchfile.read(OWN / "clip_v166.pt")
    table = weights["text_emb.weight"]
    weights["text_emb.weight"] = table.repeat(-(-rows // len(table)), 1)[:rows]
    torch.save({name: tensor.clone() for name, tensor in weights.items()}, place / "clip.pt")


def test_the_clip_beside_a_model_ranks_and_is_converted_with_it(place, tmp_path):
    place_clip(place)
    pictures = torch.rand(3, 3, 8, 8)
    scores = dalle_pytorch.load(place, CPU).ranker.score("a blue bird", pictures)
    assert scores.shape == (3,) and scores.abs().max() <= 1 + 1e-5
    assert models.inspect(str(place)).sizes["CLIP"]["text depth"] > 0
    assert models.convert(str(place), tmp_path / "ours") == ()
    torch.testing.assert_close(models.load(str(tmp_path / "ours"), CPU).ranker.score("a blue bird", pictures), scores)


def test_a_clip_of_early_releases():
    """Whose branches have no scale: here it goes into their last weights."""
    newer, early = torchfile.read(OWN / "clip_v166.pt"), {}
    for name, tensor in newer.items():
        branch, _, inner = name.partition("fn.")
        inner = inner.replace("fn.", "")
        if inner.startswith(("to_out.", "net.3.")):
            tensor = torch.einsum("d...,d->d...", tensor, newer[f"{branch}scale"].flatten())
        if not name.endswith(".scale"):
            early[branch + ("fn." if inner and "norm" not in inner else "") + inner] = tensor
    nets = [dalle_pytorch.ranker.build(tensors, "clip.pt", CPU) for tensors in (newer, early)]
    config = nets[0].config
    text = torch.randint(config.text_vocab, (2, config.text_len))
    pictures = torch.rand(2, config.channels, config.size, config.size)
    torch.testing.assert_close(nets[1](text, pictures), nets[0](text, pictures))


def test_a_clip_of_another_tokenizer_is_refused(place):
    place_clip(place, rows=20)
    with pytest.raises(CheckpointError, match=r"clip\.pt was trained with another text tokenizer than dalle\.pt"):
        dalle_pytorch.load(place, CPU)


def test_a_neighborhood_depends_on_the_release(content):
    assert fold(content).config.patterns == ("full", "quadrant5")
    assert fold(content | {"version": "1.4.9"}).config.patterns == ("full", "window5")
    assert fold(content | {"version": None}).config.patterns == ("full", "window5")


def test_an_attention_type_may_be_a_plain_string(content):
    content["hparams"]["attn_types"] = "axial_col"
    assert fold(content).config.patterns == ("column",)


def test_shared_embeddings_are_slices_of_the_head(content):
    weights = content["weights"]
    table, bias = weights["to_logits.1.weight"], weights["to_logits.1.bias"]
    for part in ("text_emb", "image_emb"):
        del weights[f"{part}.weight"]
        weights |= {f"{part}.linear.weight": table, f"{part}.linear.bias": bias}
    out = fold(content).tensors
    assert torch.equal(torch.cat([out["text_embedding.weight"], out["image_embedding.weight"]]), table)


def test_sandwich_norms_take_the_scale(content):
    weights = content["weights"]
    for depth in range(2):
        for branch in (0, 1):
            prefix = f"transformer.layers.layers.{depth}.{branch}.fn.norm_out."
            weights |= {f"{prefix}weight": torch.full((12,), 2.0), f"{prefix}bias": torch.ones(12)}
    folded = fold(content)
    scale = weights["transformer.layers.layers.1.0.scale"].flatten()
    assert folded.config.sandwich
    torch.testing.assert_close(folded.tensors["layers.1.attention_post_norm.weight"], 2 * scale)
    untouched = weights["transformer.layers.layers.1.0.fn.fn.fn.to_out.0.weight"]
    assert torch.equal(folded.tensors["layers.1.attention.out.weight"], untouched)


def test_the_early_form_of_stored_angles(content):
    weights = content["weights"]
    for name in ("text_pos_emb.weight", "image_pos_emb.weights_0", "image_pos_emb.weights_1"):
        del weights[name]
    newer, older = dict(weights), dict(weights)
    angles = torch.randn(1, 25, 6)
    newer["transformer.pos_emb"] = angles
    older["transformer.pos_emb"] = angles[None, :, :24]
    rotations = [fold(content | {"weights": kind}).tensors["rotation"] for kind in (newer, older)]
    assert torch.equal(rotations[0][:, :24], rotations[1][:, :24])
    assert rotations[0].shape == rotations[1].shape == (2, 25, 6)


@pytest.mark.parametrize("both", [True, False])
def test_axial_positions_under_the_names_of_later_releases(content, both):
    wanted, weights = fold(content), content["weights"]
    for axis in (0, 1):
        name = f"image_pos_emb.weights_{axis}"
        weights[f"image_pos_emb.weights.{axis}"] = weights[name] if both else weights.pop(name)
    assert torch.equal(fold(content).tensors["position"], wanted.tensors["position"])


def test_gated_layers(content):
    content["hparams"]["attn_types"] = ("full", "mlp")
    weights = content["weights"]
    prefix = "transformer.layers.layers.1.0.fn.fn.fn."
    for name in [name for name in weights if name.startswith(prefix)]:
        del weights[name]
    theirs = {"proj_in.0.weight": (48, 12), "proj_in.0.bias": (48,), "sgu.norm.weight": (24,), "sgu.norm.bias": (24,)}
    theirs |= {"proj_out.weight": (12, 24), "proj_out.bias": (12,), "sgu.weight": (1, 24, 24), "sgu.bias": (1, 24)}
    weights |= {prefix + name: torch.randn(shape) for name, shape in theirs.items()}
    folded = fold(content)
    assert folded.config.patterns == ("full", "gate")
    assert torch.equal(folded.tensors["layers.1.attention.mix"][:24, :24], weights[f"{prefix}sgu.weight"][0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["hparams"].update(magic=1), "hyper-parameter that this program does not know: magic"),
        (lambda c: c["hparams"].update(depth=0), "depth should be a positive number"),
        (lambda c: c["hparams"].update(depth=3), r"lacks the tensor transformer\.layers\.layers\.2"),
        (lambda c: c["hparams"].update(attn_types=("wide",)), "attn_types names an attention"),
        (lambda c: c["hparams"].update(heads=4), r"to_qkv\.weight has the shape \(36, 12\) instead of \(72, 12\)"),
        (lambda c: c["weights"].update(extra=torch.ones(1)), "does not know: extra"),
        (lambda c: c["weights"].pop("to_logits.0.bias"), r"lacks the tensor to_logits\.0\.bias"),
        (lambda c: c["weights"].pop("vae.codebook.weight"), "no image tokenizer of a known kind"),
        (lambda c: c["weights"].update({"image_emb.weight": torch.ones(16, 12, dtype=torch.long)}), "wrong type"),
        (lambda c: c.update(weights="see the folder"), "DeepSpeed"),
        (lambda c: c.update(vae_params={"num_layers": 2}), "states num_layers 2, but its image tokenizer has 1"),
        (lambda c: c.update(vae_params={"magic": 1}), "hyper-parameter that this program does not know: magic"),
        (lambda c: c.update(vae_params={"normalization": None}), "normalization other than the usual one"),
        (lambda c: c.update(vae_params=[1]), "should be names with values"),
    ],
)
def test_what_does_not_fit_is_named(content, tmp_path, change, words):
    change(content)
    torch.save(content, tmp_path / "dalle.pt")
    with pytest.raises(CheckpointError, match=words) as raised:
        dalle_pytorch.load(tmp_path, CPU)
    assert "dalle.pt" in str(raised.value)


def test_what_deepspeed_leaves(place, content):
    """dalle.pt, and beside it dalle-ds-cp with a note and a folder for each checkpoint of the run."""
    wanted = DALLE.of(dalle_pytorch.load(place, CPU))
    note, weights = place / "dalle-ds-cp" / "auxiliary.pt", content["weights"]
    note.parent.mkdir()
    torch.save(content | {"weights": "For how to get the weights, see the folders."}, note)
    assert dalle_pytorch.load(place, CPU).files[0].name == "dalle.pt"
    (place / "dalle.pt").unlink()
    with pytest.raises(CheckpointError, match=r"auxiliary\.pt holds no weights.*zero_to_fp32"):
        dalle_pytorch.load(place, CPU)
    shutil.copyfile(place / "tokenizer.json", note.parent / "tokenizer.json")
    for step, scale in ((90, 2.0), (100, 1.0), (20, 3.0)):
        shard = note.parent / f"global_step{step}" / "mp_rank_00_model_states.pt"
        shard.parent.mkdir()
        state = {"module": {name: scale * tensor for name, tensor in weights.items()}, "optimizer": None}
        state |= {"csr_tensor_module_names": set(), "param_shapes": {"a": torch.Size([3])}, "ds_version": "0.4.0"}
        torch.save(state | {"hparams": content["hparams"], "epoch": 3}, shard)
        torch.save({"optimizer_state_dict": datetime.now()}, shard.with_name("zero_pp_rank_0_optim_states.pt"))
    text, codes = wanted.tokenize("a blue bird"), torch.arange(16)[None]
    for path in (place, note.parent, note):  # the newest one
        found = dalle_pytorch.load(path, CPU)
        assert [file.name for file in found.files[:2]] == ["auxiliary.pt", "mp_rank_00_model_states.pt"]
        assert torch.equal(DALLE.of(found)(text, codes), wanted(text, codes))
    (note.parent / "latest").write_text("global_step20")  # or the one that is named
    assert not torch.equal(DALLE.of(dalle_pytorch.load(place, CPU))(text, codes), wanted(text, codes))


def test_a_gumbel_vqgan_inside(content):
    config = VQGANConfig(16, 16, code_dim=8, latent=8, stem=32, widths=(32, 32, 64), blocks=1, attention=(2,))
    net = VQGAN(replace(config, gumbel=True)).eval()
    stored = {f"model.{name}": tensor for name, tensor in net.state_dict().items()}
    stored["model.loss.perceptual.weight"] = torch.ones(1)
    found = images.build(stored, None, 4, "dalle.pt", CPU)
    pictures, tokens = torch.rand(1, 3, 16, 16), torch.arange(16).view(1, 4, 4)
    assert (found.size, found.grid, found.vocab) == (16, (4, 4), 16)
    assert torch.equal(found.encode(pictures), net.encode(pictures))
    assert torch.equal(found.decode(tokens), net.decode(tokens))


def test_a_model_without_its_text_tokenizer_says_so(place):
    (place / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="no text tokenizer"):
        models.load(str(place), CPU)


def test_pictures_and_scores_from_python(place):
    model = DALLE.of(dalle_pytorch.load(place, CPU))
    text = model.tokenize("a blue bird", "two yellow dogs!", "a blue bird")
    settings = {"seed": 5, "filter_thres": 0.2, "temperature": 1.2, "cond_scale": 2.0}
    tokens = model.generate_tokens(text, **settings)
    assert torch.equal(tokens[:2], model.generate_tokens(text[:2], **settings))
    assert not torch.equal(tokens[0], tokens[2])
    pictures = model.generate_images(text, seed=5)
    assert pictures.shape == (3, 3, 8, 8)
    with pytest.raises(InputError):
        model.generate_images(text, img=torch.rand(3, 3, 7, 7))
    with pytest.raises(InputError):
        model.generate_images(text, img=pictures, num_init_img_tokens=16)
    for image in (pictures[:2], tokens[:1], torch.cat([tokens, tokens], 1)):
        with pytest.raises(InputError):
            model(text, image)
    with pytest.raises(InputError, match="with whole pictures"):
        model(text, tokens[:, :5], return_loss=True)
    assert torch.isfinite(model(text, pictures, return_loss=True, null_cond_prob=0.5))
    assert model.decode(model.tokenize("a blue bird")) == ["a blue bird"]


@pytest.mark.parametrize("zipped", [True, False])
def test_half_precision_older_streams_and_what_training_left(place, content, zipped):
    wanted = DALLE.of(dalle_pytorch.load(place, CPU))
    text, codes = wanted.tokenize("a blue bird"), torch.arange(16)[None]
    content["weights"] = {name: tensor.half() for name, tensor in content["weights"].items()}
    content["opt_state"] = {"state": {0: {"step": 3, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    content["scheduler_state"] = {"best": 1.5, "mode_worse": float("inf")}
    torch.save(content, place / "new", _use_new_zipfile_serialization=zipped)
    (place / "new").replace(place / "dalle.pt")  # the first model goes on reading its own file
    for dtype in (torch.float32, torch.bfloat16):
        model = DALLE.of(dalle_pytorch.load(place, CPU, dtype))
        near = 0.02 if dtype == torch.float32 else 0.4
        torch.testing.assert_close(model(text, codes), wanted(text, codes), atol=near, rtol=0.1)


def test_pieces_of_other_files(tmp_path):
    """YouTokenToMe's: three characters, one rule. BERT's: a word and its ending."""
    assert captions.find(tmp_path, 330) is None
    (tmp_path / "bpe.model").write_text("3 1\n9601 4\n97 5\n98 6\n5 6 7\n1 0 2 3\n")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nbird\n##s\n猫\n", encoding="utf-8")
    pieces, files = captions.find(tmp_path, 8)
    assert (pieces.encode("ab b"), [file.name for file in files]) == ([4, 7, 4, 6], ["bpe.model"])
    assert pieces.decode([4, 7, 4, 6, 0, 0]) == "ab b"
    (tmp_path / "bpe.model").rename(tmp_path / "vocab.bpe")
    pieces, files = captions.find(tmp_path, 8)
    assert (pieces.size, [file.name for file in files]) == (8, ["vocab.bpe"])
    pieces, files = captions.find(tmp_path, 5)
    assert (pieces.encode("Birds猫猫"), [file.name for file in files]) == ([2, 3, 4, 4], ["vocab.txt"])
