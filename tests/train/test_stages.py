"""Training: each stage learns, stops and goes on; the same seed gives the same data, batches and weights."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dalle import checkpoint, train
from dalle.errors import DataError, TrainingError
from dalle.families.native import read_dvae
from dalle.nn.dvae import DVAE, DVAEConfig, map_pixels
from dalle.nn.transformer import SoftTargets, Transformer, TransformerConfig
from dalle.text import BpeTokenizer
from dalle.train import loop
from dalle.train.corpus import Corpus, to_images
from dalle.train.loop import Average, Run, cosine, psnr
from dalle.train.polish import PolishRecipe, grown, measure, polish
from dalle.train.recipes import RECIPES
from dalle.train.stages import Workshop
from dalle.train.tokenizer import (
    Crops,
    TokenizerRecipe,
    kmeans,
    start_codes,
    temperature,
    tokenize,
    train_tokenizer,
)
from dalle.train.transformer import Batches, SettleRecipe, TransformerRecipe, deepened, heldout_loss, train_transformer
from dalle.worlds import World, WorldConfig

COLORS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "white": (250, 250, 250)}
CODES = TokenizerRecipe(
    net=DVAEConfig(size=32, vocab=16, width=8, code_dim=4, groups=2, blocks=1, stem=4, post_gain=0.5),
    steps=40, batch=4, crop=32, lr=1e-2, loss="l1", precision="fp32",
)  # fmt: skip
STREAM = TransformerRecipe(
    width=32, depth=2, heads=2, steps=40, batch=4, bpe_dropout=0.0, sample_every=10, precision="fp32", compiled=False
)


class Killed(Exception):
    pass


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Every ordered pair of colors, side by side."""
    directory = tmp_path / "corpus"
    directory.mkdir()
    pairs = [(a, b) for a in COLORS for b in COLORS if a != b]
    pictures = np.zeros((len(pairs), 32, 32, 3), np.uint8)
    for picture, (left, right) in zip(pictures, pairs, strict=True):
        picture[:, :16], picture[:, 16:] = COLORS[left], COLORS[right]
    np.save(directory / "pictures.npy", pictures)
    records = [{"captions": [f"{a} and {b}"], "negatives": [], "family": "pair"} for a, b in pairs]
    (directory / "records.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    return Corpus(directory)


@pytest.fixture
def text(corpus: Corpus) -> BpeTokenizer:
    return BpeTokenizer.train([texts[0] for texts in corpus.captions * 3], vocab_size=80, length=6)


@pytest.fixture
def numbered(corpus: Corpus) -> Corpus:
    """The corpus with tokens from which each picture is known: picture i is all i."""
    corpus.write_codes([(np.full((1, 4, 4, 1), i), np.zeros((1, 4, 4, 1))) for i in range(len(corpus))])
    return corpus


def steps_in(out: Path, stage: str) -> int:
    return json.loads((out / f"{stage}_metrics.json").read_text())["steps"]


def test_the_tokenizer_learns_and_its_decoder_is_polished(corpus: Corpus, tmp_path: Path):
    torch.manual_seed(0)
    untrained = measure(DVAE(CODES.net), corpus.pictures)["psnr_mean"]
    assert train_tokenizer(CODES, corpus, tmp_path, None)
    net = read_dvae(tmp_path)
    learned = measure(net, corpus.pictures)
    assert learned["psnr_mean"] > untrained + 2
    tokenize(net, corpus, "bf16")
    hurried = corpus.odds[:].copy(), corpus.tokens[:].copy()
    tokenize(net, corpus)
    assert (hurried[1] == corpus.tokens).mean() > 0.9 and hurried[0].shape == corpus.odds.shape
    images = to_images(corpus.pictures)
    assert corpus.tokens.shape == (12, 4, 4) and (corpus.tokens == net.encode(images).numpy()).all()
    odds = net.logits(images).detach().log_softmax(1).permute(0, 2, 3, 1).numpy()  # (N, h, w, V)
    kept = np.take_along_axis(odds, corpus.codes.astype(np.int64), -1)
    assert corpus.codes.shape == (12, 4, 4, 8) and np.allclose(corpus.odds, kept - kept[..., :1], rtol=2e-3, atol=0.02)
    assert polish(PolishRecipe(steps=40, lr=1e-2, precision="fp32"), net, corpus, corpus, tmp_path, None)
    finished = read_dvae(tmp_path)
    assert measure(finished, corpus.pictures)["psnr_mean"] > learned["psnr_mean"] + 0.5
    assert (corpus.tokens == finished.encode(images).numpy()).all(), "the codes stay what they were"


def test_a_decoder_grows_without_changing_its_pictures_and_then_learns(numbered: Corpus, tmp_path: Path):
    torch.manual_seed(0)
    net = DVAE(CODES.net).requires_grad_(False)
    tokens = torch.from_numpy(numbered.tokens[:4].astype(np.int64))
    larger = grown(net, (3, 2))
    torch.testing.assert_close(larger.decode(tokens), net.decode(tokens))
    recipe = PolishRecipe(painting=(3, 2), steps=2, precision="fp32")
    assert polish(recipe, net, numbered, numbered, tmp_path, None)
    finished = read_dvae(tmp_path)
    assert finished.config.painting == (3, 2)
    assert finished.decoder.groups[0][2].convs[-1].weight.any(), "what was added has learned"
    for painting in ((1,), (0, 1), (1, 1, 1)):
        with pytest.raises(TrainingError, match="cannot grow"):
            grown(net, painting)


def test_codes_are_written_as_they_come_and_count_once_all_are_there(corpus: Corpus):
    part, codes = corpus.directory / "codes.part.npy", np.arange(12 * 16).reshape(12, 4, 4, 1)

    def batches(killed: bool):
        yield codes[:8], codes[:8] / 4
        assert (np.load(part, mmap_mode="r")[:8] == codes[:8]).all(), "none of them is kept in memory"
        if killed:
            raise Killed
        yield codes[8:], codes[8:] / 4

    with pytest.raises(Killed):
        corpus.write_codes(batches(killed=True))
    assert not corpus.has_codes
    corpus.write_codes(batches(killed=False))
    assert corpus.has_codes and not part.exists()
    assert (corpus.codes == codes).all() and (corpus.odds == codes / 4).all()


def test_the_transformer_learns_pictures_and_captions(numbered: Corpus, text: BpeTokenizer, tmp_path: Path):
    dvae = DVAE(CODES.net)
    assert train_transformer(STREAM, numbered, numbered, text, dvae, tmp_path, None)
    metrics = json.loads((tmp_path / "transformer_metrics.json").read_text())
    assert metrics["curve"][0]["image"] == pytest.approx(math.log(16), abs=0.1)
    assert metrics["heldout"]["image"] < 0.7 * math.log(16)
    assert metrics["heldout"]["text"] < metrics["curve"][0]["text"] / 2
    assert (tmp_path / "samples" / "000010.png").is_file()
    assert checkpoint.read_tensors(tmp_path, "transformer")["position"].shape == (6 + 16, 32)


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(
    numbered: Corpus, text: BpeTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def run(out: Path) -> bool:
        return train_transformer(replace(STREAM, steps=12), numbered, numbered, text, DVAE(CODES.net), out, None)

    assert run(tmp_path / "whole")
    fetch = Batches.__getitem__

    def fail(batches: Batches, step: int):
        if step == 5:
            raise Killed
        return fetch(batches, step)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "SAVE_EVERY", 0.0)
        patch.setattr(Batches, "__getitem__", fail)
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    assert steps_in(tmp_path / "killed", "transformer") == 5
    assert not (tmp_path / "killed" / "transformer.json").exists()
    assert run(tmp_path / "killed")
    whole = checkpoint.read_tensors(tmp_path / "whole", "transformer")
    resumed = checkpoint.read_tensors(tmp_path / "killed", "transformer")
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_sitting_ends_in_time_and_the_next_goes_on(corpus: Corpus, tmp_path: Path):
    assert not train_tokenizer(CODES, corpus, tmp_path, minutes=0)
    assert steps_in(tmp_path, "tokenizer") == 0 and not (tmp_path / "dvae.json").exists()
    assert train_tokenizer(CODES, corpus, tmp_path, None)
    assert steps_in(tmp_path, "tokenizer") == 40 and (tmp_path / "dvae.json").exists()


def test_another_recipe_does_not_go_on_with_this_run(corpus: Corpus, tmp_path: Path):
    train_tokenizer(CODES, corpus, tmp_path, minutes=0)
    wider = replace(CODES, net=replace(CODES.net, width=16))
    with pytest.raises(TrainingError, match=r"tokenizer\.last\.pt belongs to another recipe"):
        train_tokenizer(wider, corpus, tmp_path, None)


def test_every_picture_is_seen_once_before_any_is_seen_twice(numbered: Corpus, text: BpeTokenizer):
    batches = Batches(numbered, text, replace(STREAM, batch=5, drop_caption=0.0))
    seen, captions = [], []
    for step in range(12):  # 60 places, 5 rounds of 12 pictures
        rows, image, targets = batches[step]
        assert (targets.codes[..., 0] == image).all() and (targets.weights == 1).all(), "one code, no choice"
        assert rows.shape == (5, 6) and image.shape == (5, 16) and image.dtype == torch.int64
        seen += image[:, 0].tolist()
        captions += rows.tolist()
    rounds = [seen[i : i + 12] for i in range(0, 60, 12)]
    assert all(sorted(drawn) == list(range(12)) for drawn in rounds) and rounds[0] != rounds[1]
    assert captions == [text.encode(numbered.captions[i][0]).tolist() for i in seen]


def test_a_batch_belongs_to_its_step(numbered: Corpus, text: BpeTokenizer):
    one, other = (Batches(numbered, text, replace(STREAM, drop_caption=0.5)) for _ in range(2))
    for step in (7, 3):
        (*mine, targets), (*theirs, others) = one[step], other[step]
        assert all(torch.equal(a, b) for a, b in zip((*mine, *targets), (*theirs, *others), strict=True))


def test_image_tokens_are_drawn_by_the_odds_of_their_codes(corpus: Corpus, text: BpeTokenizer):
    """Codes 3, 1 and 2 at odds of 4 : 2 : 1, which a sharpness of 2 makes 16 : 4 : 1."""
    codes, odds = (np.broadcast_to(x, (12, 4, 4, 3)) for x in ([3, 1, 2], np.log([1, 1 / 2, 1 / 4])))
    corpus.write_codes([(codes, odds)])
    batches = Batches(corpus, text, replace(STREAM, batch=120, sharpness=2.0))
    (_, first, targets), (_, second, _) = batches[0], batches[1]
    assert targets.codes.shape == (120, 16, 3) and torch.allclose(
        targets.weights, torch.tensor([16, 4, 1]) / 21, atol=1e-3
    )
    shares = torch.bincount(torch.cat([first, second]).flatten(), minlength=4) / 3840
    assert torch.allclose(shares, torch.tensor([0, 4, 1, 16]) / 21, atol=0.025)
    assert not torch.equal(first, second), "drawn anew each time"


def test_the_loss_against_soft_targets_is_the_mean_of_the_hard_ones():
    torch.manual_seed(0)
    net = Transformer(TransformerConfig(10, 3, 16, (2, 2), 32, 1, 2))
    text, image = torch.randint(10, (2, 3)), torch.randint(16, (2, 4))
    other = (image + 5) % 16
    targets = SoftTargets(torch.stack([image, other], -1), torch.tensor([0.7, 0.3]).expand(2, 4, 2))
    logits = net(text, image[:, :3])  # (2, 4, 16)
    hard = [F.cross_entropy(logits.flatten(0, 1), codes.flatten()) for codes in (image, other)]
    loss = net(text, image, return_loss=True, targets=targets)
    assert loss.image.item() == pytest.approx((0.7 * hard[0] + 0.3 * hard[1]).item(), abs=1e-5)
    assert loss.total.item() == pytest.approx((loss.text / 8 + loss.image * 7 / 8).item(), abs=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_captions_are_dropped_as_often_as_asked(numbered: Corpus, text: BpeTokenizer, share: float):
    batches = Batches(numbered, text, replace(STREAM, batch=100, drop_caption=share))
    empty = torch.cat([(batches[step][0] == text.null).all(1) for step in range(4)])
    assert empty.float().mean().item() == pytest.approx(share, abs=0.08)


def test_held_out_losses_are_means_over_tokens(numbered: Corpus, text: BpeTokenizer, tmp_path: Path):
    net = Transformer(TransformerConfig(text.vocab, 6, 16, (4, 4), 32, 1, 2))
    captions = torch.stack([text.encode(texts[0]) for texts in numbered.captions])
    expected = net(captions, torch.from_numpy(numbered.tokens.astype(np.int64)), return_loss=True)
    for batch in (4, 12, 50):
        found = heldout_loss(net, text, numbered, replace(STREAM, batch=batch))
        told = {k: v.item() for k, v in expected._asdict().items()}
        assert found == pytest.approx({**told, "entropy": 0.0}, abs=1e-3)


def test_crops_are_aligned_to_the_grid_and_belong_to_their_step():
    ramp = np.arange(64, dtype=np.uint8)
    pictures = np.stack([np.broadcast_to(ramp[:, None], (64, 64)), np.broadcast_to(ramp, (64, 64))], axis=-1)
    pictures = np.concatenate([pictures, pictures[..., :1]], axis=-1)[None]  # (1, 64, 64, 3): row, column, row
    crops = Crops(pictures, replace(CODES, crop=24, batch=50))
    corners = (crops[0][:, :2, 0, 0] * 255).round().int()
    assert crops[0].shape == (50, 3, 24, 24) and (corners % CODES.net.stride == 0).all()
    assert set(corners.flatten().tolist()) == {0, 8, 16, 24, 32, 40}
    assert torch.equal(crops[3], crops[3]) and not torch.equal(crops[3], crops[4])


def test_a_corpus_is_what_its_world_draws(tiny_model: Path):
    """Drawn by worker processes, in chunks, and yet the same as one by one here."""
    corpus = Corpus(tiny_model / "corpus" / "train")
    world = World(replace(RECIPES["tiny"].world, split="train"))
    assert len(corpus) == 64 and corpus.pictures.shape == (64, 64, 64, 3)
    for index in (0, 31, 32, 63):
        example = world[index]
        assert (corpus.pictures[index] == np.asarray(example.picture)).all()
        assert (corpus.captions[index][0], corpus.families[index]) == (example.caption, example.family)
        assert len(set(corpus.captions[index])) == len(corpus.captions[index]) <= 3
    assert corpus.tokens.shape == (64, 4, 4)


def test_a_corpus_that_is_there_is_not_drawn_again(corpus: Corpus):
    class Never:
        def __getitem__(self, index: int):
            raise AssertionError

    assert len(Corpus.draw(Never(), 99, corpus.directory)) == 12


def test_a_corpus_says_what_it_lacks(corpus: Corpus, tmp_path: Path):
    with pytest.raises(DataError, match="has no tokens yet"):
        _ = corpus.tokens
    (corpus.directory / "pictures.npy").unlink()
    with pytest.raises(DataError, match="is not complete"):
        Corpus(corpus.directory)


def test_kmeans_finds_the_middles_of_clusters():
    generator = torch.Generator().manual_seed(0)
    middles = 10 * torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    points = (middles[:, None] + torch.randn(4, 50, 2, generator=generator)).flatten(0, 1)
    found = kmeans(points, 4, rounds=10, seed=1)
    expected = points.view(4, 50, 2).mean(1)
    assert torch.cdist(expected, found).min(1).values.max() < 0.05  # points are rounded to 1/64
    assert torch.equal(kmeans(points, 4, rounds=10, seed=1), found)


def test_kmeans_leaves_no_center_idle_and_survives_few_points():
    generator = torch.Generator().manual_seed(0)
    points = torch.cat([torch.zeros(500, 3), torch.randn(60, 3, generator=generator)])
    centers = kmeans(points, 32, rounds=8, seed=0)
    assert len(torch.cdist(points, centers).argmin(1).unique()) >= 30
    assert kmeans(points[-5:], 64, rounds=3, seed=0).isfinite().all()


def test_the_first_codes_are_the_nearest_centers(corpus: Corpus):
    torch.manual_seed(0)
    net, bottleneck = DVAE(CODES.net), nn.Conv2d(16, 4, 1)
    images = to_images(corpus.pictures) + 0.05 * torch.randn(12, 3, 32, 32)
    start_codes(net, bottleneck, [images], CODES)
    vectors = bottleneck(net.encoder.features(map_pixels(images))).permute(0, 2, 3, 1)  # (B, h, w, D)
    gaps = (vectors[..., None, :] - net.decoder.codebook.weight).square().sum(-1)  # (B, h, w, V)
    logits = net.logits(images).permute(0, 2, 3, 1)
    least = gaps.min(-1, keepdim=True)
    best = logits.gather(-1, least.indices)
    scale = (
        CODES.sharpness
        / torch.cdist(*[net.decoder.codebook.weight] * 2).square().topk(2, largest=False).values[:, 1].mean()
    )
    torch.testing.assert_close(best - logits, scale * (gaps - least.values), atol=1e-2, rtol=1e-3)


def test_the_relaxation_cools_down():
    recipe = replace(CODES, steps=100, warm_share=0.2)
    values = [temperature(recipe, step) for step in range(20, 100)]
    assert values[0] == 1 and values == sorted(values, reverse=True)
    assert values[60:] == [pytest.approx(1 / 16)] * 20
    assert values[30] == pytest.approx(1 / 4)  # half of the way, on a logarithmic scale


def test_learning_rates_rise_and_fall():
    factors = [cosine(step / 100, warmup=0.1, floor=0.05) for step in range(101)]
    assert factors[:10] == sorted(factors[:10]) and factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[0] < 0.02 and factors[10] == 1 and factors[100] == pytest.approx(0.05)
    assert factors[55] == pytest.approx((1 + 0.05) / 2)


def test_the_average_forgets_slowly_once_it_is_old():
    net = nn.Linear(1, 1)
    average = Average(net, decay=0.9)
    expected = net.weight.item()
    for step in range(1, 200):
        nn.init.constant_(net.weight, step)
        average.update(net)
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * step
    assert average.net.weight.item() == pytest.approx(expected, rel=1e-5)
    average.restart(net)
    assert average.net.weight.item() == 199 and average.updates == 0


def test_half_precision_is_for_those_who_can(monkeypatch: pytest.MonkeyPatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for able in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda able=able: able)
        assert [loop.halves(cpu, precision) for precision in ("bf16", "fp32")] == [able, False]
        assert [loop.halves(gpu, precision) for precision in ("bf16", "fp32")] == [True, False]


def test_psnr_is_that_of_the_textbook():
    a, b = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.1)
    torch.testing.assert_close(psnr(a, b), torch.full((2,), -10 * math.log10(F.mse_loss(a, b).item())))


def test_what_a_normalisation_counts_is_not_averaged():
    net = nn.BatchNorm1d(2)
    average = Average(net, decay=0.9)
    for _ in range(3):
        net(torch.randn(8, 2) + 5)
        average.update(net)
    assert torch.equal(average.net.running_mean, net.running_mean) and net.running_mean.min() > 1
    assert average.net.num_batches_tracked == 3


def test_the_curve_is_kept_over_sittings(tmp_path: Path):
    for steps in (3, 5):
        run = Run("count", tmp_path, steps, None, {})
        for step in run:
            run.log(loss=1 / (1 + step))
    record = json.loads((tmp_path / "count_metrics.json").read_text())
    assert [point["step"] for point in record["curve"]] == [0, 1, 2, 3, 4] and record["steps"] == 5


@pytest.mark.parametrize(
    ("stage", "recipe", "sentence"),
    [
        ("painting", "tiny", "no stage called 'painting'"),
        ("all", "huge", "no recipe called 'huge'"),
        ("polish", "tiny", r"needs dvae\.json: run `python -m dalle train tokenizer`"),
        ("transformer", "tiny", r"needs dvae\.json: run `python -m dalle train tokenizer`"),
        ("judge", "tiny", r"needs dvae\.json: run `python -m dalle train tokenizer`"),
    ],
)
def test_runs_that_cannot_start_say_what_is_missing(stage: str, recipe: str, sentence: str, tmp_path: Path):
    with pytest.raises(TrainingError, match=sentence):
        train.run(stage, recipe, out=tmp_path)


@pytest.mark.parametrize(
    ("stage", "there", "missing", "maker"),
    [
        ("settle", [], "dvae.json", "tokenizer"),
        ("settle", ["dvae.json"], "tokenizer.json", "text"),
        ("settle", ["dvae.json", "tokenizer.json"], "transformer.json", "transformer"),
        ("clip", ["dvae.json", "tokenizer.json"], "transformer.json", "transformer"),
        ("feedback", ["dvae.json", "tokenizer.json", "transformer.json"], "critic/judge.json", "critic"),
    ],
)
def test_a_stage_says_what_it_needs_before_any_picture_is_drawn(
    stage: str, there: list[str], missing: str, maker: str, tmp_path: Path
):
    for file in there:
        (tmp_path / file).touch()
    with pytest.raises(TrainingError, match=f"needs {missing}: run `python -m dalle train {maker}`"):
        train.run(stage, "tiny", out=tmp_path)
    assert not (tmp_path / "corpus").exists()


def test_what_is_complete_is_not_done_again(tiny_model: Path):
    before = {path: path.stat().st_mtime_ns for path in tiny_model.glob("*.safetensors")}
    train.run("all", "tiny", out=tiny_model)
    assert before == {path: path.stat().st_mtime_ns for path in tiny_model.glob("*.safetensors")}


def test_nets_go_on_from_a_model_with_pictures_that_are_new_to_them(tiny_model: Path, tmp_path: Path):
    start, out = tmp_path / "start", tmp_path / "out"
    shutil.copytree(tiny_model, start, ignore=shutil.ignore_patterns("corpus"))
    checkpoint.write_tensors(checkpoint.read_tensors(start, "dvae"), start, "dvae", torch.float16, limit=10_000)
    codes = [path.name for path in checkpoint.shards(start, "dvae")]
    assert len(codes) > 1, "weights in several files, as those of large nets are"
    train.run("transformer", "tiny", out=out, start=str(start), first=1000, steps=1)
    train.run("clip", "tiny", out=out, start=str(start), first=1000, steps=1)
    world = World(RECIPES["tiny"].world)
    assert Corpus(out / "corpus" / "train").captions[0][0] == world.plan(1000).caption
    for name in (*codes, "tokenizer.json"):
        assert (out / name).read_bytes() == (start / name).read_bytes()
    for name in ("transformer", "clip"):
        before, after = checkpoint.read_tensors(start, name), checkpoint.read_tensors(out, name)
        assert before.keys() == after.keys()
        for key in before:  # one step, of a schedule that begins with small ones; normalisations count faster
            if "running" not in key and "tracked" not in key:
                torch.testing.assert_close(after[key], before[key], atol=5e-3, rtol=0)


def test_a_net_settles_in_small_steps_of_large_batches(numbered: Corpus, text: BpeTokenizer, tmp_path: Path):
    settled = SettleRecipe(steps=30, batch=12, rate=0.5).of(STREAM)
    assert settled == replace(STREAM, steps=30, batch=12, warmup=0.05, decay=0.98, lr=1.5e-3, matrix_lr=1e-2)
    before, after, dvae = tmp_path / "before", tmp_path / "after", DVAE(CODES.net)
    assert train_transformer(replace(STREAM, steps=20), numbered, numbered, text, dvae, before, None)
    assert train_transformer(settled, numbered, numbered, text, dvae, after, None, before, "settle")
    first, last = (json.loads((folder / f"{stage}_metrics.json").read_text())["heldout"]["image"]
                   for folder, stage in ((before, "transformer"), (after, "settle")))  # fmt: skip
    assert last < first and not (after / "transformer_metrics.json").exists()


def test_what_is_exported_lies_between_before_and_after(numbered: Corpus, text: BpeTokenizer, tmp_path: Path):
    dvae = DVAE(CODES.net)
    whole = SettleRecipe(steps=6, batch=12, rate=0.5)
    before, after, half = (tmp_path / name for name in ("before", "after", "half"))
    assert train_transformer(replace(STREAM, steps=6), numbered, numbered, text, dvae, before, None)
    assert train_transformer(whole.of(STREAM), numbered, numbered, text, dvae, after, None, before, "settle")
    shared = replace(whole, share=0.25).of(STREAM)
    assert train_transformer(shared, numbered, numbered, text, dvae, half, None, before, "settle")
    kept = checkpoint.read_tensors(half, "transformer")
    one, other = (checkpoint.read_tensors(folder, "transformer") for folder in (after, before))
    assert any(not torch.equal(one[key], other[key]) for key in kept)
    for key, mixed in kept.items():
        torch.testing.assert_close(mixed, 0.25 * one[key] + 0.75 * other[key], atol=2e-3, rtol=2e-3)
    # killed before its mark: it starts from what it left itself, and leaves the same
    assert train_transformer(shared, numbered, numbered, text, dvae, half, None, half, "settle")
    again = checkpoint.read_tensors(half, "transformer")
    assert all(torch.equal(again[key], mixed) for key, mixed in kept.items())


def test_a_transformer_grows_by_layers_that_add_nothing_at_first(text: BpeTokenizer):
    net = Transformer(TransformerConfig(text.vocab, text.length, 128, (8, 8), width=32, depth=2, heads=2, shift=True))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    captions, tokens = text.encode("a red dog")[None], torch.arange(64)[None]
    before = net(captions, tokens)
    deeper = deepened(net, 5)
    assert [layer in list(net.layers) for layer in deeper.layers] == [True, False, True, False, False]
    torch.testing.assert_close(deeper(captions, tokens), before)
    with pytest.raises(TrainingError, match="has 5 layers, and cannot grow to 4"):
        deepened(deeper, 4)


def test_a_run_starts_from_a_net_of_fewer_layers(numbered: Corpus, text: BpeTokenizer, tmp_path: Path):
    before, after, dvae = tmp_path / "before", tmp_path / "after", DVAE(CODES.net)
    assert train_transformer(replace(STREAM, steps=2), numbered, numbered, text, dvae, before, None)
    deeper = replace(STREAM, steps=2, depth=STREAM.depth + 1)
    assert train_transformer(deeper, numbered, numbered, text, dvae, after, None, before)
    assert json.loads((after / "transformer.json").read_text())["depth"] == STREAM.depth + 1


def test_settling_goes_on_from_what_is_there_and_is_done_once(tiny_model: Path, tmp_path: Path):
    train.run("settle", "tiny", out=tmp_path, start=str(tiny_model), first=1000, steps=1)
    written = checkpoint.read_tensors(tmp_path, "transformer")
    for key, value in checkpoint.read_tensors(tiny_model, "transformer").items():
        torch.testing.assert_close(written[key], value, atol=5e-3, rtol=0)
    time = (tmp_path / "transformer.json").stat().st_mtime_ns
    train.run("settle", "tiny", out=tmp_path, start=str(tiny_model), first=1000, steps=1)
    assert (tmp_path / "transformer.json").stat().st_mtime_ns == time and steps_in(tmp_path, "settle") == 1


def test_what_is_shown_can_have_other_shares_than_what_is_measured(tmp_path: Path):
    tiny = replace(RECIPES["tiny"], heldout=24, pictures=24)
    birds = replace(tiny, shown=replace(tiny.world, families={"bird": 1.0}))
    workshop = Workshop(birds, "world", tmp_path / "birds", None)
    assert set(workshop.corpus.families) == {"bird"}
    usual = Workshop(tiny, "world", tmp_path / "usual", None)
    assert workshop.heldout.captions == usual.heldout.captions and len(set(usual.corpus.families)) > 4


def test_later_lessons_are_rich_in_what_is_hard():
    later, small = RECIPES["small-later"], RECIPES["small"]
    assert later.world == small.world and later.shown is not None

    def pairs(world: WorldConfig) -> list[str]:
        plans = [World(world).plan(index) for index in range(400)]
        return [plan.facts["relation"] for plan in plans if plan.family == "relation"]

    def hard(relations: list[str]) -> int:
        return sum(relation in ("inside", "in front of", "behind") for relation in relations)

    shown = pairs(later.shown)
    assert hard(shown) > 2 * hard(pairs(small.world)) > 0 and hard(shown) > len(shown) / 2


def test_nets_of_other_sizes_do_not_go_on(tiny_model: Path, tmp_path: Path):
    shutil.copytree(tiny_model, tmp_path / "model")
    tensors = checkpoint.read_tensors(tiny_model, "transformer")
    checkpoint.write_tensors(
        {**tensors, "position": tensors["position"][:-1]}, tmp_path / "model", "transformer", torch.float16
    )
    with pytest.raises(TrainingError, match="other sizes"):
        train.run("transformer", "tiny", out=tmp_path / "out", start=str(tmp_path / "model"))
    with pytest.raises(TrainingError, match="'text' has no number of steps"):
        train.run("text", "tiny", out=tmp_path / "out", steps=3)
