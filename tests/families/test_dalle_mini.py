"""DALL·E mini: published files, against what the code of their authors makes of them.

`DALLE_GOLDEN=DIR` takes a larger set of the same layout.
"""

import json
import os
import re
import shutil
import zlib
from pathlib import Path

import flaxwriter
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dalle import flaxfile, models, sampling
from dalle.contracts import Borders, Request, SamplingOptions
from dalle.engine import Studio
from dalle.errors import CheckpointError, ModelError
from dalle.families import dalle_mini
from dalle.families.dalle_mini.captions import AsciiTokenizer, CaptionTokenizer, Normalizer, read_bpe
from dalle.nn.vqgan import VQGAN, VQGANConfig

CPU = torch.device("cpu")
OWN = Path(__file__).parents[1] / "golden"
GOLDEN = Path(os.environ.get("DALLE_GOLDEN") or OWN) / "dalle_mini"
SMALL, TEXT = OWN / "dalle_mini/small", OWN / "dalle_mini/text"
MODELS = sorted(path.parent for path in GOLDEN.glob("*/pretrained"))
LAYOUTS = [(folder, "pretrained") for folder in MODELS]
LAYOUTS += [(path.parents[1], path.parent.name) for path in sorted(GOLDEN.glob("*/flax*/flax_model.msgpack"))]
PAINTERS = [folder for folder in MODELS if (folder / "pretrained/vqgan").is_dir()]
VQGANS = sorted(path.parent for path in GOLDEN.glob("*/mapping.json"))
RECIPES = sorted(path.parent for path in GOLDEN.glob("*/recipe.json"))
TEXTS = sorted(path.parent for path in GOLDEN.glob("*/cases.json"))
NEAR = {"atol": 1e-4, "rtol": 0}
BYTES = {"atol": 0.05, "rtol": 0}  # of pictures from 0 to 255


def expected(folder: Path) -> dict[str, Tensor]:
    with np.load(folder / "expected.npz") as held:
        return {name: torch.from_numpy(np.atleast_1d(held[name])) for name in held if held[name].dtype.kind != "U"}


def sentence(folder: Path, name: str = "text") -> str:
    with np.load(folder / "expected.npz") as held:
        return str(held[name])


def place(folder: Path, layout: str, at: Path, **told: int) -> Path:
    """A model as a person would keep it; PyTorch's with a `config.json` that tells the heads."""
    shutil.copytree(folder / layout, at, dirs_exist_ok=True, copy_function=shutil.copyfile)
    if layout == "pretrained":
        about = json.loads((folder / "config.json").read_text())
        start = {"decoder_start_token_id": about["bos"]} if "bos" in about else {}
        (weights,) = at.glob("*/encoder.pt")
        weights.with_name("config.json").write_text(json.dumps(about["model"] | start | told))
    return at


@pytest.fixture(params=LAYOUTS, ids=lambda case: f"{case[0].name}-{case[1]}")
def case(request, tmp_path):
    folder, layout = request.param
    return expected(folder), place(folder, layout, tmp_path / "place"), folder


@pytest.fixture
def small(tmp_path) -> Path:
    """PyTorch's layout of the smallest model, without a VQGAN."""
    return place(SMALL, "pretrained", tmp_path / "model")


@pytest.fixture(params=MODELS, ids=lambda folder: folder.name)
def model(request, tmp_path):
    """Arrays, and PyTorch's layout, which the others equal."""
    return expected(request.param), dalle_mini.load(place(request.param, "pretrained", tmp_path / "place"), CPU).model


def stepwise(model, text: Tensor, image: Tensor) -> Tensor:
    """(B, T) and (B, n) tokens -> (B, n + 1, V) logits, one token at a time."""
    logits, state = model.prefill(text)
    rows = [logits, *(model.step(image[:, index], state) for index in range(image.shape[1]))]
    return torch.stack(rows, dim=1)


def greedy(model, text: Tensor, guidance: float, count: int = 1) -> Tensor:
    """(2, T) empty caption and caption -> (n, I) the likeliest tokens."""
    free = torch.full((model.config.image_len,), -1)
    options = SamplingOptions(guidance=guidance, temperature=0)
    return torch.stack(list(sampling.draw(model, text[1], text[0], 0, range(count), options, free)), dim=1)


def test_logits_all_at_once_and_step_by_step(case):
    wanted, at, _ = case
    assert dalle_mini.detect(at)
    model = dalle_mini.load(at, CPU).model
    text = wanted["text_tokens"]
    torch.testing.assert_close(model.encode(text), wanted["encoder_state"], **NEAR)
    history = wanted["forced_tokens"][:, 1:] if "forced_tokens" in wanted else wanted["greedy_tokens_bos16384"][:, :-1]
    image = history.long().expand(2, -1)
    with torch.inference_mode():
        logits = model(text, image)
    steps = stepwise(model, text, image[:, :20])
    torch.testing.assert_close(steps, logits[:, :21], **NEAR)
    if "logits_cond" in wanted:
        torch.testing.assert_close(logits, torch.stack([wanted["logits_uncond"], wanted["logits_cond"]]), **NEAR)


def test_padded_tables_and_another_start_token(tmp_path):
    for folder in PAINTERS:
        wanted = expected(folder)
        model = dalle_mini.load(
            place(folder, "pretrained", tmp_path / folder.name, decoder_start_token_id=16383), CPU
        ).model
        tokens = wanted["greedy_tokens_bos16383"].long()
        assert torch.equal(greedy(model, wanted["text_tokens"], 16.0), tokens)
        logits = stepwise(model, wanted["text_tokens"], tokens[:, :-1].expand(2, -1))
        at_steps = logits[:, wanted["logits_steps"].long()]
        torch.testing.assert_close(at_steps, wanted["logits_uncond_cond"][..., : model.vocab], **NEAR)
        guided = sampling.guide(logits.flip(0), 16.0)[0]  # captioned first
        values, codes = guided.topk(8)
        torch.testing.assert_close(values, wanted["super_top8_values"], atol=5e-3, rtol=0)
        assert torch.equal(codes, wanted["super_top8_ids"].long())
        torch.testing.assert_close(guided.double().logsumexp(1), wanted["super_logsumexp"], atol=5e-3, rtol=0)


def test_greedy_tokens(model):
    wanted, model = model
    text = wanted["text_tokens"]
    if "greedy_tokens_bos16384" in wanted:
        assert torch.equal(greedy(model, text, 16.0), wanted["greedy_tokens_bos16384"].long())
        return
    factor = wanted["sample_settings"][2].item()
    assert torch.equal(greedy(model, text, factor), wanted["greedy_tokens"].long())
    assert torch.equal(greedy(model, text, 1.0), wanted["greedy_plain_tokens"].long())
    assert torch.equal(greedy(model, wanted["text2_tokens"], factor, count=2), wanted["greedy2_tokens"].long())


def test_two_pictures_of_one_sentence(model):
    wanted, model = model
    if "logits_b2" not in wanted:
        pytest.skip("not among these arrays")
    image = wanted["forced_tokens_b2"][:, 1:].long().repeat(2, 1)
    logits, state = model.prefill(wanted["text2_tokens"])
    logits, state = logits.repeat_interleave(2, 0), state.repeat(2)
    rows = [logits, *(model.step(image[:, index], state) for index in range(image.shape[1]))]
    torch.testing.assert_close(torch.stack(rows, 1), wanted["logits_b2"], **NEAR)


def test_weights_of_the_random_choice(model):
    wanted, model = model
    if "sample_weights" not in wanted:
        pytest.skip("not among these arrays")
    temperature, top_k, factor = wanted["sample_settings"].tolist()
    tokens = wanted["sampled_tokens"].long()  # (2, I)
    text = wanted["text_tokens"].flip(0).repeat_interleave(2, 0)  # captioned first
    options = SamplingOptions(guidance=factor, temperature=temperature, top_k=int(top_k))
    with torch.inference_mode():
        logits = model(text, tokens[:, :-1].repeat(2, 1))
    for step, weights in zip(wanted["sample_weight_steps"].tolist(), wanted["sample_weights"], strict=True):
        kept, codes = sampling.filter_logits(sampling.guide(logits[:, step], factor), options)
        found = torch.zeros_like(weights).scatter(1, codes, (kept - kept.amax(1, keepdim=True)).exp())
        torch.testing.assert_close(found, weights, atol=5e-3, rtol=5e-3)


def test_the_tokenizer_belongs_to_the_model(case):
    wanted, at, folder = case
    parts = dalle_mini.load(at, CPU)
    if parts.text is None:
        assert "unscanned" in str(folder) or not list(at.rglob("vocab.json"))
        return
    assert torch.equal(parts.text.null, wanted["text_tokens"][0])
    assert torch.equal(parts.text.encode(sentence(folder)), wanted["text_tokens"][1])


@pytest.mark.parametrize("folder", TEXTS, ids=lambda folder: folder.name)
def test_sentences(folder):
    cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    length, normalizer = cases["max_text_length"], Normalizer(folder / "enwiki-words-frequency.txt")

    def bpe():
        return read_bpe(folder / "vocab.json", folder / "merges.txt", 50264)

    trained, raw = CaptionTokenizer(bpe(), length, normalizer), CaptionTokenizer(bpe(), length, None)
    port = AsciiTokenizer(bpe(), length)

    def ids(row: Tensor) -> list[int]:
        return [number for number in row.tolist() if number != 1]

    for case in cases["cases"]:
        text = case["text"]
        assert normalizer(text) == case["normalized"]
        assert ids(trained.encode(text)) == case["hf_ids_normalized"]
        assert ids(raw.encode(text)) == case["hf_ids_raw"]
        assert ids(port.encode(text)) == case["min_dalle_ids"][:length]
        assert port.count(text) == len(case["min_dalle_ids"])
    assert ids(trained.null) == cases["hf_uncond_ids_unpadded"]


def test_sentences_that_no_fixture_has():
    normalizer = Normalizer()
    assert normalizer("<person>, and <PERSON> dance with <person>") == " people dance with a person"
    assert normalizer("#HashTags stay whole") == " hashtags stay whole"
    assert normalizer("\ud83d lone") == normalizer("\ud83d lone")  # half a character, from broken JSON
    tokenizer = CaptionTokenizer(read_bpe(TEXT / "vocab.json", TEXT / "merges.txt", 685), 8, normalizer)
    assert tokenizer.readable("аа") and not tokenizer.readable("?!") and not tokenizer.readable("")
    long = "a cat and a cat and a cat"
    assert tokenizer.count(long) > 8 and tokenizer.encode(long)[-1] == 2
    assert tokenizer.encode("\ud83d").shape == (8,)


@pytest.mark.parametrize("folder", PAINTERS, ids=lambda folder: folder.name)
def test_pictures_of_the_port(folder, tmp_path):
    wanted, at = expected(folder), place(folder, "pretrained", tmp_path / "place")
    images = dalle_mini.load(at, CPU).images

    def paint(tokens: Tensor) -> Tensor:
        return images.decode(tokens)[0].permute(1, 2, 0) * 255

    tokens = wanted["random_tokens"].long().view(-1, 16, 16)
    torch.testing.assert_close(images.paint(tokens[:1]), wanted["decoder_preclip"], **NEAR)
    torch.testing.assert_close(paint(tokens[:1]), wanted["image_single"], **BYTES)
    picture = paint(wanted["greedy_tokens_bos16383"].long().view(1, 16, 16))
    torch.testing.assert_close(picture, wanted["greedy_image"], **BYTES)
    assert (picture.round() - wanted["greedy_image_u8"].float()).abs().max() <= 1
    sheet = torch.cat([torch.cat([tokens[0], tokens[1]]), torch.cat([tokens[2], tokens[3]])], dim=1)  # (32, 32)
    torch.testing.assert_close(paint(sheet[None]), wanted["image_grid2_seamless"], **BYTES)
    with pytest.raises(ModelError, match="no encoder"):
        images.encode(torch.zeros(1, 3, images.size, images.size))


@pytest.mark.parametrize("folder", VQGANS, ids=lambda folder: folder.name)
def test_codes_and_pictures_of_the_whole_vqgan(folder):
    wanted, images = expected(folder), dalle_mini.load(folder, CPU).images

    def channels_last(x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)

    pixels = wanted["image"].permute(0, 3, 1, 2)
    assert images.size == pixels.shape[2] and images.grid == (16, 16)
    torch.testing.assert_close(channels_last(images.features(pixels)), wanted["latent_eps1e6"], **NEAR)
    codes = images.encode(pixels)
    assert torch.equal(codes.flatten(1), wanted["indices_eps1e6"].long())
    torch.testing.assert_close(channels_last(images.paint(codes)), wanted["reconstruction_eps1e6"], **NEAR)
    painted = images.paint(wanted["tokens"].long().view(-1, 16, 16))
    torch.testing.assert_close(channels_last(painted), wanted["decoded_eps1e6"], **NEAR)


def by_recipe(recipe: dict) -> dict[str, Tensor]:
    """Weights of the real size, from a seed."""
    tensors = {}
    for name, shape in recipe["keys"].items():
        z = np.random.RandomState((recipe["seed"] + zlib.crc32(name.encode())) % 2**32).standard_normal(shape)
        last = name.startswith("decoder.conv_out.")
        if len(shape) == 4:
            z = z / np.sqrt(np.prod(shape[1:])) * (0.35 if last else 1)
        elif name.endswith(".weight") and name != "embedding.weight":
            z = 1 + 0.1 * z
        elif name.endswith(".bias"):
            z = (0.5 if last else 0) + 0.05 * z
        tensors[name] = torch.from_numpy(z.astype(np.float32))
    return tensors


@pytest.mark.parametrize("folder", RECIPES, ids=lambda folder: folder.name)
def test_a_picture_of_the_real_size(folder, tmp_path):
    wanted = expected(folder)
    torch.save(by_recipe(json.loads((folder / "recipe.json").read_text())), tmp_path / "detoker.pt")
    images = dalle_mini.load(tmp_path, CPU).images
    assert (images.size, images.grid, images.vocab) == (256, (16, 16), 16384)
    painted = images.paint(wanted["tokens"].long().view(1, 16, 16))[0].permute(1, 2, 0)
    torch.testing.assert_close(painted[::4, ::4], wanted["preclip_stride4"], atol=1e-3, rtol=0)
    assert ((painted.clamp(0, 1) * 255).round() - wanted["image_u8"].float()).abs().max() <= 1


def tiny_vqgan(at: Path) -> VQGAN:
    """A random VQGAN for the small model, as a Flax file, as the port's and as it is."""
    torch.manual_seed(0)
    config = VQGANConfig(32, 48, 4, 4, 32, (32, 32), blocks=1, attention=(1,), unit=True)
    net = VQGAN(config).eval().requires_grad_(False)
    flax, port = {}, {}
    for name, tensor in net.state_dict().items():
        kind = "bias" if name.endswith("bias") else "scale" if "norm" in name else "kernel"
        path = re.sub(r"\.(down|up|block|attn)\.(\d)", r".\1_\2", name).rpartition(".")[0].replace(".", "/")
        path += "/embedding" if path == "quantize/embedding" else f"/{kind}"
        flax[path] = tensor.permute(2, 3, 1, 0) if tensor.dim() == 4 else tensor
        if not name.startswith(("encoder.", "quant_conv.")):
            port[name.removeprefix("quantize.")] = tensor
    (at / "flax").mkdir(parents=True)
    flaxwriter.write(at / "flax/flax_model.msgpack", flax)
    torch.save(port, at / "detoker.pt")
    return net


def test_both_files_of_a_vqgan_are_the_same_net(tmp_path):
    net = tiny_vqgan(tmp_path)
    tokens = torch.arange(256).view(1, 16, 16) % 48
    wanted = net.paint(tokens)
    torch.testing.assert_close(dalle_mini.load(tmp_path / "flax", CPU).images.paint(tokens), wanted)
    port = dalle_mini.load(tmp_path / "detoker.pt", CPU).images
    torch.testing.assert_close(port.paint(tokens), wanted, atol=1e-3, rtol=0)  # with another epsilon
    assert not torch.equal(port.paint(tokens), wanted)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    images = dalle_mini.load(tmp_path, CPU).images  # of the two, the one that also reads pictures
    assert torch.equal(images.encode(pixels), net.encode(pixels))


def test_from_a_prompt_and_a_picture_to_a_gallery(small):
    tiny_vqgan(small)
    found = models.inspect(str(small))
    assert (found.family, found.version, found.missing) == ("dalle_mini", "PyTorch", ("CLIP",))
    assert found.sizes["transformer"]["image_vocab"] == found.sizes["image tokenizer"]["codes"] == 48
    assert sum(file.parameters for file in found.files) > 100_000
    studio = Studio.load(str(small), "cpu")
    prime = Image.effect_mandelbrot((32, 32), (-2, -1, 1, 1), 20).convert("RGB")
    kept = Borders(top=14).of(studio.read(prime))
    *_, last = studio.generate(Request("an avocado armchair", samples=2, kept=kept, previews=0))
    assert last.stage == "done" and [c.picture.size for c in last.candidates] == [(32, 32)] * 2
    first, second = (candidate.tokens for candidate in last.candidates)
    assert (first[:14] == second[:14]).all() and (first[14:] != second[14:]).any()
    assert studio.bundle.options.guidance == 16


def test_one_of_two_models_in_a_folder_is_named_by_a_half(small, tmp_path):
    """As in the repository of the PyTorch port: encoder.pt, encoder_mini.pt, and one detoker.pt for both."""
    place = tmp_path / "both"
    shutil.copytree(small / "dalle_bart_mini", place)
    for path in [path for path in place.iterdir() if path.name != "config.json"]:
        shutil.copyfile(path, path.with_stem(f"{path.stem}_mini"))
    tiny_vqgan(tmp_path / "vqgan")
    shutil.copyfile(tmp_path / "vqgan/detoker.pt", place / "detoker.pt")
    whole = dalle_mini.load(place, CPU)  # the one whose files say no more
    used = {"encoder.pt", "decoder.pt", "vocab.json", "merges.txt", "detoker.pt"}
    assert {file.name for file in whole.files} >= used and not any("_mini" in file.name for file in whole.files)
    (place / "vocab.json").write_text("{}")  # of the other one
    parts = dalle_mini.load(place / "encoder_mini.pt", CPU)
    used = {"encoder_mini.pt", "decoder_mini.pt", "vocab_mini.json", "merges_mini.txt", "detoker.pt"}
    assert {file.name for file in parts.files} >= used
    assert parts.model and parts.images and parts.text
    (place / "decoder_mini.pt").unlink()
    assert models.inspect(str(place / "encoder_mini.pt")).missing == ("decoder",)
    for half in ("encoder", "decoder"):
        (place / f"{half}.pt").rename(place / f"{half}_x.pt")
    with pytest.raises(CheckpointError, match=r"_mini\.pt and .*_x\.pt both hold the encoder\. Name one of them"):
        dalle_mini.load(place, CPU)


def test_the_port_keeps_one_vqgan_for_all_its_models(small, tmp_path):
    """Its cache: dalle_bart_mini, dalle_bart_mega and vqgan, one folder beside the other."""
    tiny_vqgan(tmp_path / "vqgan")
    shutil.rmtree(tmp_path / "vqgan/flax")
    shutil.move(tmp_path / "vqgan", small / "vqgan")
    shutil.copytree(small / "dalle_bart_mini", small / "dalle_bart_mega")
    with pytest.raises(CheckpointError, match=r"both hold the .*coder"):
        dalle_mini.load(small, CPU)
    for named in ("dalle_bart_mini", "dalle_bart_mega/decoder.pt"):
        bundle = models.load(str(small / named), CPU)
        assert bundle.images.vocab == 48 and bundle.model.vocab == 48


@pytest.mark.parametrize("layout", ["flax_scanned_fp32", "flax_unscanned_fp16"])
def test_a_model_in_several_files(layout, tmp_path):
    whole = place(SMALL, layout, tmp_path / "whole")
    tensors, parts = flaxfile.read(whole / "flax_model.msgpack"), shutil.copytree(whole, tmp_path / "parts")
    (parts / "flax_model.msgpack").unlink()
    names = sorted(tensors)
    rows = [parts / f"flax_model-0000{number}-of-00003.msgpack" for number in (1, 2, 3)]
    for number, row in enumerate(rows):
        flaxwriter.write(row, {name: tensors[name] for name in names[number::3]})
    wanted = dalle_mini.load(whole, CPU).model.state_dict()
    for named in (parts, rows[1]):
        loaded = dalle_mini.load(named, CPU)
        assert {file.name for file in loaded.files} >= {row.name for row in rows}
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in loaded.model.state_dict().items())
    rows[2].unlink()
    with pytest.raises(CheckpointError, match=r"flax_model-00003-of-00003\.msgpack is missing"):
        models.inspect(str(parts))


def rewrite(path: Path, change) -> None:
    """Change the tensors of a Flax file by their names."""
    tensors = flaxfile.read(path)
    change(tensors)
    flaxwriter.write(path, tensors)


@pytest.mark.parametrize("layout", ["flax_scanned_fp32", "flax_unscanned_fp16"])
def test_a_wrong_tensor_of_a_flax_file_is_named(layout, tmp_path):
    path = place(SMALL, layout, tmp_path / "place") / "flax_model.msgpack"
    whole = path.read_bytes()
    names = sorted(flaxfile.read(path))
    assert len(names) > 30
    for name in names[:: len(names) // 6]:
        for change in (
            lambda tensors, name=name: tensors.pop(name),
            lambda tensors, name=name: tensors.update({name: tensors[name][:-1]}),
            lambda tensors, name=name: tensors.update({name: tensors[name].int()}),
            lambda tensors, name=name: tensors.update({f"{name}x": tensors[name]}),
        ):
            path.write_bytes(whole)
            rewrite(path, change)
            with pytest.raises(CheckpointError, match=r"(flax_model\.msgpack|config\.json).*[/_]"):
                dalle_mini.load(path.parent, CPU)


def test_what_is_wrong_is_said(small, tmp_path):
    weights = small / "dalle_bart_mini"
    settings = json.loads((weights / "config.json").read_text())

    def refused(message: str, **told) -> None:
        (weights / "config.json").write_text(json.dumps(settings | told))
        with pytest.raises(CheckpointError, match=message):
            dalle_mini.load(small, CPU)
        (weights / "config.json").write_text(json.dumps(settings))

    refused("config.json: encoder_layers is 4, but this model needs 3", encoder_layers=4)
    refused("ln_positions is 'swinv2'", ln_positions="swinv2")
    refused("use_bias is True", use_bias=True)
    refused("a setting that is not known: use_magic", use_magic=1)
    refused("5 heads cannot share 32 channels", decoder_attention_heads=5)
    refused("0 heads", encoder_attention_heads=0)
    refused("decoder_start_token_id should be a whole number", decoder_start_token_id=49)
    (weights / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"number of heads\. Put the model's config\.json"):
        dalle_mini.load(small, CPU)
    (weights / "config.json").write_text(json.dumps(settings))
    shutil.copyfile(weights / "encoder.pt", weights / "another.pt")
    with pytest.raises(CheckpointError, match=r"another\.pt and encoder\.pt both hold the encoder"):
        dalle_mini.load(small, CPU)
    (weights / "another.pt").unlink()
    torch.save({"a": torch.ones(1)}, weights / "another.pt")
    with pytest.raises(CheckpointError, match=r"another\.pt is no part of this model"):
        dalle_mini.load(small, CPU)
    (weights / "another.pt").unlink()
    (weights / "merges.txt").rename(tmp_path / "merges.txt")
    with pytest.raises(CheckpointError, match=r"one merges\.txt"):
        dalle_mini.load(small, CPU)
    (weights / "merges.txt").write_text("#version\na b\nnot there\n")
    with pytest.raises(CheckpointError, match=r"merges\.txt is damaged"):
        dalle_mini.load(small, CPU)
    (weights / "decoder.pt").unlink()
    with pytest.raises(CheckpointError, match="holds the encoder alone"):
        dalle_mini.load(small, CPU)


def test_half_precision_and_no_weights_at_all(small):
    parts = dalle_mini.load(small, CPU, torch.bfloat16)
    assert {tensor.dtype for tensor in parts.model.state_dict().values()} == {torch.bfloat16}
    parts = dalle_mini.load(small, torch.device("meta"))
    assert {tensor.device.type for tensor in parts.model.state_dict().values()} == {"meta"}


def test_other_files_are_not_taken_for_it(tmp_path):
    torch.save(
        {"decoder.mid.attn_1.q.weight": torch.ones(1), "quantize.embedding.weight": torch.ones(1)}, tmp_path / "a.pt"
    )
    (tmp_path / "b.msgpack").write_bytes(b"\x80\x01")
    assert not dalle_mini.detect(tmp_path) and not dalle_mini.detect(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"b\.msgpack is damaged"):
        models.inspect(str(tmp_path / "b.msgpack"))
