"""Measuring a model: the figures against slow obvious ones, and the whole command on a tiny model."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from e2e.tiny_model import make
from PIL import Image

from dalle import config
from dalle.__main__ import main
from dalle.contracts import Request
from dalle.engine import Studio
from dalle.errors import ModelError, WorldError
from dalle.evaluate import Codes, Judged, Jury, Quality, Row, Trial, evaluate, heldout_world
from dalle.images import to_tensor
from dalle.train.clip import RIVALS
from dalle.worlds import World, WorldConfig

CAPTIONS, SAMPLES = 3, 3
WORLD = WorldConfig(vocabulary="small", seed=5, split="train", lattice=16, families={"object": 1.0, "bird": 1.0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = make(tmp_path_factory.mktemp("tiny"))
    config.save({"title": "Random", "world": config.to_json(WORLD)}, place / "recipe.json")
    return place


def test_ranking_takes_the_best_of_the_first_ones_and_not_the_right_one():
    drawn = (Judged(0.2, True), Judged(0.4, False), Judged(0.3, False), Judged(0.9, True))
    trial = Trial("bird", drawn, real=Judged(0.8, True))
    assert [trial.best_of(k).score for k in (1, 2, 3, 4)] == [0.2, 0.4, 0.4, 0.9]
    other = Trial("bird", (Judged(0.0, False),) * 4, real=Judged(0.4, False))
    row = Row.of("bird", [trial, other])
    assert (row.captions, row.random, row.ranked) == (2, Quality(0.5, 0.1), Quality(0.5, 0.45))
    assert row.real == Quality(0.5, 0.6)


class Colorblind:
    """Pictures and captions as vectors: a caption is its first word's number, a picture points where it is told."""

    def __init__(self, towards: dict[int, float]):
        self.towards = towards

    def embed_texts(self, sentences):
        return torch.eye(100)[[int(sentence.split()[0]) for sentence in sentences]]

    def embed_images(self, pictures):
        vector = torch.zeros(100)
        for place, value in self.towards.items():
            vector[place] = value
        return vector.expand(len(pictures), 100)


def numbered(count: int) -> World:
    """A world whose captions are numbers; each comes twice."""
    return SimpleNamespace(plan=lambda index: SimpleNamespace(caption=f"{index // 2 % count} things"))  # type: ignore


@pytest.mark.parametrize(
    ("towards", "found"),
    [
        ({80: 0.6}, True),
        ({80: 0.6, 43: 0.7}, False),  # the last rival: places go round, 80 … 99 and 0 … 43
        ({80: 0.6, 44: 0.7}, True),  # no rival of this one
        ({80: 0.6, 81: 0.6}, False),  # a tie
        ({}, False),  # a CLIP that tells nothing apart
    ],
)
def test_a_picture_is_found_among_its_own_and_the_next_different_captions(towards, found):
    assert RIVALS == 64
    jury = Jury(Colorblind(towards), numbered(100), captions=200)  # type: ignore[arg-type]
    picture = Image.new("RGB", (8, 8))
    (judged,) = jury.judge("80 things", [picture])
    assert judged == Judged(pytest.approx(towards.get(80, 0.0)), found)


def test_a_world_of_few_captions_is_refused():
    with pytest.raises(WorldError, match="too few captions"):
        Jury(Colorblind({}), numbered(RIVALS - 1), captions=2)  # type: ignore[arg-type]


class Greys:
    """An image tokenizer of one token: one of four greys."""

    grid, vocab, size = (1, 1), 4, 8

    def encode(self, images):
        return images.mean((1, 2, 3)).mul(3).round().long().view(-1, 1, 1)

    def decode(self, tokens):
        return tokens.div(3)[:, None].expand(-1, 3, 8, 8)


def test_codes_are_counted_once_and_quality_is_a_mean_of_decibels():
    codes = Codes(Greys(), torch.device("cpu"))
    for grey in (26, 229, 229):  # an error of 0.102 each: 20 log10(0.102) = -19.83 dB
        codes.see(Image.new("RGB", (8, 8), (grey,) * 3))
    figures = codes.summary()
    assert (figures.pictures, figures.codes_used) == (3, 0.5)
    assert figures.psnr == pytest.approx(19.83, abs=0.02)


def test_the_world_is_the_models_own_but_held_out(folder):
    world = heldout_world(str(folder), size=64)
    assert world.config.split == "heldout" and (world.config.seed, world.config.lattice, world.config.size) == (
        5,
        16,
        64,
    )
    assert set(world.families) == {"object", "bird"} and world[0].picture.size == (64, 64)


def test_a_model_that_does_not_tell_its_world_gets_the_small_one(tmp_path):
    world = heldout_world(str(tmp_path), size=32)
    assert (world.config.vocabulary, world.config.split, world.config.size) == ("small", "heldout", 32)


def test_figures_are_those_of_the_gallery_that_a_person_gets(folder, tmp_path):
    """Slow and obvious: every picture drawn, embedded and compared again, one by one."""
    studio, world = Studio.load(str(folder), "cpu"), heldout_world(str(folder), 64)
    report = evaluate(studio, world, CAPTIONS, SAMPLES, tmp_path)
    clip = studio.bundle.ranker
    captions = list(dict.fromkeys(world.plan(index).caption for index in range(2 * RIVALS)))
    scores: dict[str, list[float]] = {"random": [], "ranked": [], "real": []}
    hits: dict[str, int] = dict.fromkeys(scores, 0)
    for index in range(CAPTIONS):
        example = world[index]
        place = captions.index(example.caption)
        *_, done = studio.generate(Request(example.caption, SAMPLES, seed=index))
        (first,) = (candidate.picture for candidate in done.candidates if candidate.index == 0)
        shown = {"random": first, "ranked": done.candidates[0].picture, "real": example.picture}
        for kind, picture in shown.items():
            pixels = to_tensor([picture])
            all_scores = [clip.score(caption, pixels).item() for caption in captions[place : place + RIVALS]]
            scores[kind].append(all_scores[0])
            hits[kind] += all_scores[0] > max(all_scores[1:])
    every = report.rows[0]
    for kind in scores:
        quality = getattr(every, kind)
        assert quality.score == pytest.approx(sum(scores[kind]) / CAPTIONS, abs=1e-4)
        assert quality.recall == pytest.approx(hits[kind] / CAPTIONS, abs=1e-4)
    assert [point.k for point in report.curve] == [1, 2, 3]
    assert (report.curve[0].best, report.curve[-1].best) == (every.random, every.ranked)
    assert sum(row.captions for row in report.rows[1:]) == every.captions == CAPTIONS
    with Image.open(tmp_path / "sheet.png") as sheet, Image.open(tmp_path / "curve.png") as curve:
        assert sheet.width > CAPTIONS * 64 and len(curve.getcolors(1 << 20)) > 2


def test_the_command_measures_what_training_left_and_prints_a_table_or_json(tiny_model, tmp_path, capsys):
    command = ["evaluate", "--by", "clip", "--model", str(tiny_model), "--captions", "2", "--samples", "2"]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "| all " in table and "2 held-out captions" in table and "PSNR" in table
    assert main([*command, "--json", "--out", str(tmp_path / "new" / "out")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "new" / "out" / "evaluation.json").read_text())
    assert (told["captions"], told["samples"], told["rivals"], told["world"]["split"]) == (2, 2, 64, "heldout")
    assert f"{told['rows'][0]['ranked']['score']:.3f}" in table


def test_a_model_without_clip_cannot_be_measured(folder):
    studio = Studio.load(str(folder), "cpu")
    blind = Studio(type(studio.bundle)(**{**vars(studio.bundle), "ranker": None}), studio.device)
    with pytest.raises(ModelError, match="no CLIP"):
        evaluate(blind, World(WORLD), 1, 1)
