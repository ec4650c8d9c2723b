"""ruDALL-E: files as published, against what the authors' code makes of them.

`DALLE_GOLDEN=DIR` takes a larger set of the same layout; with the one kept here, no image tokenizer is compared.
"""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import filters
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from dalle import models, sampling, torchfile
from dalle.contracts import Borders, Bundle, Request, SamplingOptions
from dalle.engine import Studio
from dalle.errors import CheckpointError, ModelError
from dalle.families import rudalle
from dalle.images import to_tensor
from dalle.nn.patterns import PATTERNS, visible
from dalle.nn.vqgan import VQGAN, VQGANConfig
from dalle.yttm import Yttm, YttmTokenizer

CPU = torch.device("cpu")
OWN = Path(__file__).parents[1] / "golden" / "rudalle"
GOLDEN = Path(os.environ.get("DALLE_GOLDEN") or OWN.parent) / "rudalle"
DECODERS = sorted(path.parent for path in GOLDEN.glob("*/expected_forward.npz"))
TOKENIZERS = sorted(path.parent for path in GOLDEN.glob("*/cases.json") if "yttm_ids" in path.read_text())
VQGANS = sorted(path.parent for path in GOLDEN.glob("*/*.ckpt"))
PLAIN_VQGANS = [folder for folder in VQGANS if not any(folder.glob("*dwt*"))]
PROMPT = "рыжий кот на окне"
NEAR = {"atol": 5e-5, "rtol": 0}


def folders(paths: list[Path]):
    return pytest.mark.parametrize("folder", paths, ids=lambda folder: folder.name)


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as held:
        return {name: torch.from_numpy(np.array(held[name])) for name in held}


def pixels(pictures: Tensor) -> Tensor:
    """(B, H, W, 3) bytes -> (B, 3, H, W) in [0, 1]."""
    return pictures.permute(0, 3, 1, 2) / 255


def split(model, ids: Tensor) -> tuple[Tensor, Tensor]:
    """(B, n) ids as the authors' tokenizer makes them -> text as ours makes it, image tokens."""
    length = model.config.pattern_start
    text, image = ids[:, :length], ids[:, length:]
    paddings = torch.arange(model.config.text_vocab - length, model.config.text_vocab)
    text = torch.where(text == 0, paddings, text)
    return F.pad(text, (model.config.text_len - length, 0), value=2), image


def all_logits(model, ids: Tensor) -> Tensor:
    """(B, n) ids -> (B, S, text_vocab + V), the image logits behind those of text."""
    text, image = split(model, ids)
    cells = model.config.pattern_start + model.config.image_len
    x = model.trunk(model.embed(text, image)[:, :cells])
    return torch.cat([model.text_head(x), model.image_head(x)], dim=-1)


@folders(DECODERS)
def test_logits_are_those_of_the_authors(folder):
    assert rudalle.detect(folder)
    model, wanted = rudalle.load(folder, CPU).model, arrays(folder / "expected_forward.npz")
    ids, length = wanted["input_ids"], model.config.pattern_start
    got = {
        "logits": all_logits(model, ids),
        "logits_text_only": all_logits(model, ids[:, :length]),
        "logits_text_plus5": all_logits(model, ids[:, : length + 5]),
    }
    text, image = split(model, ids)
    logits, state = model.prefill(text)
    steps = [logits] + [model.step(image[:, index], state) for index in range(model.config.image_len - 1)]
    got["step_image_logits"] = torch.stack(steps, 1)
    torch.testing.assert_close(model(text, image), got["step_image_logits"], **NEAR)  # without and with the cache
    assert {"logits_text_only", "step_image_logits"} <= wanted.keys()
    for name in got.keys() & wanted.keys():
        torch.testing.assert_close(got[name], wanted[name], **NEAR)


@folders(DECODERS)
def test_losses_and_gradients_are_those_of_the_authors(folder):
    model, wanted = rudalle.load(folder, CPU).model.requires_grad_(True), arrays(folder / "expected_forward.npz")
    text, image = split(model, wanted["input_ids"])
    loss = model(text, image, return_loss=True)
    for name, part in zip(("loss", "loss_text", "loss_image"), loss, strict=True):
        assert part.item() == pytest.approx(wanted[name].item(), abs=1e-5), name
    loss.total.backward()
    length, (side, _) = model.config.text_len, model.config.grid
    position = model.position.grad
    got = {
        "text_pos_embeddings.weight": position[:length],
        "image_row_embeddings.weight": position[length:].unflatten(0, (side, side)).sum(1),
        "image_col_embeddings.weight": position[length:].unflatten(0, (side, side)).sum(0),
        "transformer.layers.0.input_layernorm.weight": model.layers[0].attention_norm.weight.grad,
        "transformer.layers.1.attention.dense.bias": model.layers[1].attention.out.bias.grad,
        "transformer.final_layernorm.bias": model.norm.bias.grad,
    }
    stated = {name.removeprefix("grad/"): tensor for name, tensor in wanted.items() if name.startswith("grad/")}
    assert stated.keys() & got.keys()
    for name in stated.keys() & got.keys():
        torch.testing.assert_close(got[name], stated[name][: len(got[name])], atol=1e-5, rtol=1e-4)
    model.config = replace(model.config, image_weight=1000)
    total = model(text, image, return_loss=True).total.item()
    assert total == pytest.approx(wanted["loss_img_weight_1000"].item(), abs=1e-5)


def borders(prompt: dict) -> Borders:
    """Of an image prompt, from the authors' names of the sides."""
    sides = {"up": "top", "down": "bottom", "left": "left", "right": "right"}
    return Borders(**{sides[side]: count for side, count in prompt["borders"].items()})


def greedy(model, text: Tensor, forced: dict[int, int]) -> tuple[list[int], list[Tensor]]:
    """The likeliest tokens where none is forced, and the logits that they come from."""
    tokens: list[int] = []
    rows = []
    logits, state = model.prefill(text[None])
    for index in range(model.config.image_len):
        if index not in forced:
            rows.append(logits[0])
        tokens.append(forced.get(index, int(logits.argmax())))
        logits = model.step(torch.tensor(tokens[-1:]), state) if index + 1 < model.config.image_len else logits
    return tokens, rows


@folders(DECODERS)
def test_greedy_tokens_are_those_of_the_authors(folder):
    model, wanted = rudalle.load(folder, CPU).model, arrays(folder / "expected_generation.npz")
    prompts = json.loads((folder / "prompts.json").read_text())
    length = model.config.pattern_start
    tokenizers = [Yttm.load(folder / "bpe.model") for folder in TOKENIZERS]
    bpe = next(bpe for bpe in tokenizers if bpe.size + length == model.config.text_vocab)
    text = YttmTokenizer(bpe, length, begins=1 + model.config.text_len - length).encode(prompts["text"])
    assert torch.equal(text, split(model, wanted["prompt_text_ids"][None])[0][0])
    side = model.config.grid[0]
    for prompt in ({"name": "noprompt"}, *prompts["prompts"]):
        name = prompt["name"]
        kept = np.full((side, side), -1)
        if "borders" in prompt:
            kept = borders(prompt).of(wanted[f"{name}_tokens"][0].view(side, side).numpy())
            assert np.flatnonzero(kept + 1).tolist() == wanted[f"{name}_idx"].tolist()
        told = torch.from_numpy(kept).flatten()
        forced = {cell: token for cell, token in enumerate(told.tolist()) if token >= 0}
        tokens, rows = greedy(model, text, forced)
        assert tokens == wanted[f"{name}_greedy_tokens"][0].tolist(), name
        if f"{name}_step_logits" in wanted:
            torch.testing.assert_close(torch.stack(rows), wanted[f"{name}_step_logits"], **NEAR)
        drawn = torch.cat([*sampling.draw(model, text, None, 0, [0], SamplingOptions(temperature=0), told)])
        assert drawn.tolist() == tokens[-len(drawn) :]


def version(folder: Path) -> str:
    return json.loads((folder / "config.json").read_text())["hf_version"]


@folders([folder for folder in DECODERS if version(folder) == "v3"])  # theirs pairs v2's rows with the wrong tokens
def test_the_perplexity_of_a_picture_is_that_of_the_authors(folder):
    model, wanted = rudalle.load(folder, CPU).model, arrays(folder / "expected_generation.npz")
    text = split(model, wanted["prompt_text_ids"][None])[0][0]
    told, free = torch.zeros(1, model.config.image_len), torch.full((model.config.image_len,), -1)
    drawn = [*sampling.draw(model, text, None, 0, [0], SamplingOptions(temperature=0), free, told)]
    assert torch.cat(drawn).tolist() == wanted["noprompt_greedy_tokens"][0].tolist()
    ours = (-told[0, 1:]).exp().mean().item()  # the first token is none that they count
    assert ours == pytest.approx(wanted["noprompt_ppl"].item(), rel=1e-3)


def test_filters_are_those_of_the_authors():
    filters.compare(GOLDEN / "sampling")


@folders(VQGANS)
def test_codes_and_pixels_are_those_of_the_authors(folder):
    images, wanted = rudalle.load(folder, CPU).images, arrays(folder / "expected.npz")
    pictures = pixels(wanted["image_u8"])
    torch.testing.assert_close(images.features(2 * pictures[:1] - 1), wanted["quant_conv_out"], atol=1e-4, rtol=0)
    seen = F.interpolate(pictures, scale_factor=2) if images.config.wavelet else pictures
    assert torch.equal(images.encode(seen).flatten(1), wanted["indices"])
    side = int(wanted["decode_tokens"].shape[1] ** 0.5)
    tokens = wanted["decode_tokens"].view(-1, side, side)
    torch.testing.assert_close(images.paint(tokens), wanted["decode_raw"], atol=1e-5, rtol=0)
    torch.testing.assert_close(images.decode(tokens), wanted["decode_image"], atol=1e-5, rtol=0)
    assert images.decode(tokens[:, :2]).shape[2] == wanted["decode_raw"].shape[2] * 2 // side


@folders(DECODERS)
def test_the_tokens_of_a_picture_are_those_of_the_authors(folder, tmp_path):
    wanted = arrays(folder / "expected_generation.npz")
    for number, vqgan in enumerate(PLAIN_VQGANS):
        place = shutil.copytree(vqgan, tmp_path / str(number))
        shutil.copyfile(weights(folder), place / "transformer.bin")  # which tells the grid
        shutil.copyfile(folder / "config.json", place / "config.json")
        images = rudalle.load(place, CPU).images
        studio = Studio(Bundle("", "", None, None, images, None, SamplingOptions(), ""), CPU)
        picture = Image.fromarray(wanted["prompt_image_u8"].numpy())
        for prompt in json.loads((folder / "prompts.json").read_text())["prompts"]:
            tokens = wanted[f"{prompt['name']}_tokens"][0].view(images.grid).numpy()
            if prompt["crop_first"]:
                assert (studio.read_strips(picture, borders(prompt)) == borders(prompt).of(tokens)).all()
            else:
                assert (studio.read(picture) == tokens).all()


@folders(TOKENIZERS)
def test_token_ids_are_those_of_the_library(folder):
    held, bpe = json.loads((folder / "cases.json").read_text()), Yttm.load(folder / "bpe.model")
    assert bpe.size == held["vocab_size"]
    text = YttmTokenizer(bpe, 32)
    for case in held["cases"]:
        assert bpe.encode(case["text"]) == case["yttm_ids"], case["text"]
        ids = text.encode(case["text"])
        assert torch.where(ids < bpe.size, ids, 0).tolist() == case["prompt_ids_32"], case["text"]
        assert min(text.count(case["text"]), 32) == (ids < bpe.size).sum()
    assert text.readable("Рыжий кот") and not text.readable("赤い鳥")


def test_patterns_are_those_of_the_authors():
    ours = {"row": "lap", "col": "column", "conv_v3": "window", "conv_v2": "torus"}
    checked = 0
    for name, mask in arrays(GOLDEN / "masks" / "masks.npz").items():
        kind, sizes = name.split("_t")
        text_len, side, *kernel = (int(part.lstrip("dk")) for part in sizes.split("_"))
        pattern = ours[kind] + "".join(map(str, kernel))
        if pattern in PATTERNS:
            assert torch.equal(visible(pattern, text_len, (side, side)), mask), name
            checked += 1
    assert checked


def test_every_layer_has_the_pattern_that_the_authors_give_it():
    ours = {"row": "lap", "col": "column", "conv": rudalle.CONV["v2"]}
    for depth, kinds in json.loads((GOLDEN / "masks" / "layer_kinds.json").read_text()).items():
        assert rudalle._patterns(int(depth), "v2") == tuple(ours[kind] for kind in kinds.split())


CLIPS = sorted(path.parent for path in GOLDEN.glob("*/config.json") if "vision_width" in path.read_text())


@folders(CLIPS)
def test_scores_are_those_of_the_authors(folder):
    ranker, wanted = rudalle.load(folder, CPU).ranker, arrays(folder / "expected.npz")
    text = json.loads((folder / "cases.json").read_text())["text"]
    images = ranker.model.encode_image(wanted["pixel_values"])
    torch.testing.assert_close(images, wanted["image_latents_raw"], atol=1e-5, rtol=1e-5)
    sentences = ranker.model.encode_text(wanted["template_input_ids"])
    torch.testing.assert_close(sentences, wanted["template_text_latents_raw"], atol=1e-5, rtol=1e-5)
    size, squares = wanted["pixel_values"].shape[-1], 0
    for index in range(len(wanted["all_scores"])):
        picture = wanted[f"image{index}_u8"]
        if picture.shape[0] == picture.shape[1]:
            near = 1e-5 if len(picture) == size else 2e-3  # where it is resized, Pillow rounds to 8 bits on the way
            score = ranker.score(text, pixels(picture[None]))
            torch.testing.assert_close(score[0], wanted["all_scores"][index], atol=near, rtol=0)
            squares += 1
    assert squares


TINY = VQGANConfig(16, 64, code_dim=6, latent=8, stem=32, widths=(32, 64), blocks=1, attention=(1,), gumbel=True)


def tiny_vqgan(wavelet: bool) -> VQGAN:
    torch.manual_seed(0)
    return VQGAN(replace(TINY, wavelet=wavelet)).eval()


def as_published(net: VQGAN) -> dict[str, Tensor]:
    """The state dict with the authors' names, and what they leave in it."""
    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    if not net.config.wavelet:
        return tensors | {"loss.logvar": torch.zeros(())}
    inside = ("decoder.", "post_quant_conv.")
    named = {f"model.{'decoder.' if n.startswith(inside) else ''}{n}": tensor for n, tensor in tensors.items()}
    unused = {f"model.{n}": torch.randn_like(t) for n, t in tensors.items() if n.startswith("post_quant_conv.")}
    filters = {f"model.decoder.idwt.g{i}_{axis}": torch.ones(1, 1, 2, 1) for i in (0, 1) for axis in ("col", "row")}
    return named | unused | filters


@pytest.fixture(params=[False, True], ids=["plain", "wavelet"])
def place(request, tmp_path) -> Path:
    """A whole model: a published transformer, its tokenizer and CLIP, and a random VQGAN for it."""
    return whole(tmp_path, wavelet=request.param)


def whole(place: Path, wavelet: bool) -> Path:
    shutil.copytree(OWN / "dalle_v3", place, dirs_exist_ok=True)
    shutil.copyfile(OWN / "tokenizer" / "bpe.model", place / "bpe.model")
    shutil.copytree(OWN / "ruclip", place / "ruclip")
    torch.save({"state_dict": as_published(tiny_vqgan(wavelet))}, place / "vqgan.ckpt")
    return place


def edit_config(place: Path, **changes: object) -> None:
    held = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({k: v for k, v in (held | changes).items() if v is not None}))


def edit_weights(path: Path, without: str = "", **changes: Tensor) -> None:
    tensors = {n: t.clone() for n, t in torchfile.read(path).items() if n != without} | changes
    torch.save(tensors, path.with_name("new"))
    path.with_name("new").replace(path)


def weights(place: Path, suffix: str = ".bin") -> Path:
    return next(place.glob(f"pytorch_model*{suffix}"))


def test_a_vqgan_is_folded(place):
    images = rudalle.load(place, CPU).images
    same = tiny_vqgan(images.config.wavelet)
    tokens = torch.randint(0, 64, (2, 8, 8))
    assert torch.equal(images.decode(tokens), same.decode(tokens))
    pictures = torch.rand(1, 3, images.size, images.size)
    assert torch.equal(images.encode(pictures), same.encode(pictures))
    assert images.size == (32 if images.config.wavelet else 16)


def test_the_road_from_a_prompt_to_a_ranked_gallery(place):
    studio = Studio.load(str(place), "cpu")
    assert studio.bundle.options.top_k == 2048 and studio.bundle.languages == ("Russian",)
    wanted = arrays(OWN / "dalle_v3" / "expected_generation.npz")
    text = json.loads((OWN / "dalle_v3" / "prompts.json").read_text())["text"]
    request = Request(text, samples=1, previews=0, options=SamplingOptions(temperature=0))
    *_, likeliest = studio.generate(request)
    assert likeliest.candidates[0].tokens.flatten().tolist() == wanted["noprompt_greedy_tokens"][0].tolist()
    prime = Image.effect_mandelbrot((16, 16), (-2, -1.5, 1, 1.5), 10).convert("RGB")
    *_, primed = studio.generate(Request(PROMPT, samples=3, previews=1, kept=Borders(top=2).of(studio.read(prime))))
    size = studio.bundle.images.size
    assert [candidate.picture.size for candidate in primed.candidates] == [(size, size)] * 3
    kept = studio.bundle.images.encode(to_tensor([prime.resize((size, size), Image.Resampling.LANCZOS)]))[0, :2]
    assert all((candidate.tokens[:2] == kept.numpy()).all() for candidate in primed.candidates)
    scores = [candidate.score for candidate in primed.candidates]
    assert scores == sorted(scores, reverse=True) and None not in scores


def test_inspection(place):
    found = models.inspect(str(place))
    assert (found.family, found.title, found.missing) == ("rudalle", "ruDALL-E", ())
    assert found.version in ("v2", "v3")
    assert found.sizes["transformer"]["depth"] == 4 and found.sizes["image tokenizer"]["grid"] == (8, 8)


def test_missing_parts_are_named(tmp_path):
    shutil.copytree(OWN / "dalle_v2", tmp_path, dirs_exist_ok=True)
    with pytest.raises(ModelError, match="no text tokenizer and no image tokenizer"):
        models.load(str(tmp_path), CPU)


@folders([OWN / "dalle_v2", OWN / "dalle_v3"])
def test_the_version_is_told_by_the_stored_mask(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    edit_config(tmp_path, hf_version=None)
    assert rudalle.load(tmp_path, CPU).version == version(folder)
    edit_weights(weights(tmp_path), without="transformer.conv_mask")
    assert rudalle.load(tmp_path, CPU).version == "v3"


@pytest.mark.parametrize("place", [False], indirect=True, ids=["plain"])
def test_safetensors_are_the_same_weights(place):
    wanted = rudalle.load(place, CPU)
    for path in (weights(place), place / "ruclip" / "pytorch_model.bin", place / "vqgan.ckpt"):
        held = torchfile.read(path)
        flat = {name: tensor.clone() for name, tensor in held.get("state_dict", held).items()}
        save_file(flat, path.with_suffix(".safetensors"))
        path.unlink()
    assert models.inspect(str(place)).missing == ()
    found = rudalle.load(place, CPU)
    assert {file.suffix for file in found.files} == {".safetensors", ".json", ".model"}
    for ours, theirs in ((found.model, wanted.model), (found.images, wanted.images)):
        assert all(torch.equal(t, theirs.state_dict()[name]) for name, t in ours.state_dict().items())
    pictures = torch.rand(2, 3, 32, 32)
    assert torch.equal(found.ranker.score(PROMPT, pictures), wanted.ranker.score(PROMPT, pictures))
    path = weights(place, ".safetensors")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"v3\.safetensors is damaged"):
        models.load(str(place), CPU)


def spoil_unknown_parameter(place: Path) -> str:
    edit_config(place, attention="sparse")
    return "attention"


def spoil_version(place: Path) -> str:
    edit_config(place, hf_version="v4")
    return "v3 and v2"


def spoil_layers(place: Path) -> str:
    edit_config(place, num_layers=3)
    return "num_layers 3"


def spoil_heads(place: Path) -> str:
    (place / "config.json").unlink()
    return "num_attention_heads"


def spoil_name(place: Path) -> str:
    edit_weights(weights(place), without="to_logits.0.bias")
    return r"\.bin lacks the tensor to_logits\.0\.bias"


def spoil_shape(place: Path) -> str:
    edit_weights(weights(place), **{"image_col_embeddings.weight": torch.zeros(2, 2)})
    return r"\.bin: image_col_embeddings\.weight has the shape \(2, 2\)"


def spoil_surplus(place: Path) -> str:
    edit_weights(weights(place), **{"transformer.layers.4.extra": torch.zeros(2)})
    return r"transformer\.layers\.4\.extra"


def spoil_tokenizer(place: Path) -> str:
    lines = (place / "bpe.model").read_text().splitlines()
    count, rules = map(int, lines[0].split())
    (place / "bpe.model").write_text("\n".join([f"{count} {rules - 1}", *lines[1:-2], lines[-1]]))
    return "not what the transformer was trained with"


def spoil_tokenizer_file(place: Path) -> str:
    (place / "bpe.model").write_text((place / "bpe.model").read_text()[:-20])
    return r"bpe\.model"


def spoil_vqgan(place: Path) -> str:
    torch.save({"state_dict": as_published(VQGAN(replace(TINY, vocab=60)))}, place / "vqgan.ckpt")
    return r"vqgan\.ckpt is not the one"


def spoil_clip(place: Path) -> str:
    edit_weights(place / "ruclip" / "pytorch_model.bin", without="ln_final.bias")
    return r"pytorch_model\.bin lacks the tensor ln_final\.bias"


def spoil_clip_sizes(place: Path) -> str:
    edit_config(place / "ruclip", vision_width=10**9)
    return r"visual\.conv1\.weight has the shape"


def spoil_by_a_second_transformer(place: Path) -> str:
    shutil.copyfile(weights(place), place / "another.bin")
    return "both a transformer"


SPOILT = [value for name, value in list(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("place", [False], indirect=True, ids=["plain"])
@pytest.mark.parametrize("spoil", SPOILT)
def test_what_does_not_fit_is_named(place, spoil):
    sentence = spoil(place)
    with pytest.raises(CheckpointError, match=sentence):
        models.load(str(place), CPU)
