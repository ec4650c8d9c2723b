"""The command line, with a studio that paints one color for each candidate."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from e2e.tiny_model import make
from PIL import Image

from dalle.__main__ import main
from dalle.contracts import Borders, Candidate, Request, SamplingOptions, Update
from dalle.errors import PromptError, UnknownModelError
from dalle.images import read_meta, read_picture

ROOT = Path(__file__).resolve().parents[1]
GRID = 4


class Blocks:
    """An image tokenizer of 4 x 4 tokens: the brightness of each block."""

    grid, vocab, size = (GRID, GRID), 256, 32

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images.mean(1), 8).mul(255).round().long()

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        bright = tokens.repeat_interleave(8, 1).repeat_interleave(8, 2).div(255)
        return bright[:, None].expand(-1, 3, -1, -1)


class PaintedStudio:
    only: "PaintedStudio"

    def __init__(self) -> None:
        own = SamplingOptions(guidance=2.0, top_k=50)
        self.bundle = SimpleNamespace(name="painted", options=own, fingerprint="f00d", images=Blocks(), languages=())
        self.requests: list[Request] = []

    @classmethod
    def load(cls, model: str, device: str, dtype: str = "float32", lookahead: int = 1) -> "PaintedStudio":
        if model != "painted":
            raise UnknownModelError(f"There is no model named '{model}'.")
        cls.only.lookahead = lookahead
        return cls.only

    def read(self, picture: Image.Image) -> np.ndarray:
        return np.full((GRID, GRID), picture.getpixel((0, 0))[0])

    def read_strips(self, picture: Image.Image, borders: Borders) -> np.ndarray:
        return borders.of(self.read(picture) // 5)

    def generate(self, request: Request) -> Iterator[Update]:
        if not request.prompt.strip():
            raise PromptError("Please type a sentence.")
        self.requests.append(request)
        for row in range(1, GRID + 1):
            yield Update("sampling", row, GRID, 0.1 * row, None)
        ranked = [_painted(index, score=0.5 - 0.1 * index) for index in range(request.samples)]
        yield Update("done", GRID, GRID, 1.0, 0.0, tuple(ranked[: request.keep]), timings={"sampling": 0.9})


def _painted(index: int, score: float) -> Candidate:
    picture = Image.new("RGB", (32, 32), (10 * index, 0, 200))
    return Candidate(index, picture, np.zeros((GRID, GRID), np.int64), score)


@pytest.fixture
def studio(monkeypatch) -> PaintedStudio:
    PaintedStudio.only = PaintedStudio()
    monkeypatch.setitem(sys.modules, "dalle.engine", SimpleNamespace(Studio=PaintedStudio))
    return PaintedStudio.only


def generate(*more: str) -> int:
    return main(["generate", "a red bird", "--model", "painted", *more])


def test_generate_writes_ranked_pictures_that_know_their_origin(studio, tmp_path, capsys):
    assert generate("--samples", "5", "--keep", "3", "--seed", "9", "--out", str(tmp_path / "new" / "out")) == 0
    out = tmp_path / "new" / "out"
    names = ["001_seed9_i0.png", "002_seed9_i1.png", "003_seed9_i2.png"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "grid.png"]
    meta = read_meta(out / names[1])
    assert (meta["prompt"], meta["model"], meta["seed"], meta["index"]) == ("a red bird", "painted", 9, 1)
    assert meta["score"] == pytest.approx(0.4) and meta["settings"]["guidance"] == 2.0
    assert read_picture(out / names[1]).getpixel((5, 5)) == (10, 0, 200)
    printed = capsys.readouterr().out
    assert "0.4000" in printed and names[1] in printed


def test_generate_prints_json_for_machines(studio, tmp_path, capsys):
    assert generate("--samples", "2", "--out", str(tmp_path), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [picture["rank"] for picture in told["pictures"]] == [1, 2]
    assert all(Path(picture["file"]).is_file() for picture in told["pictures"]) and Path(told["grid"]).is_file()
    assert (told["seed"], told["seconds"], told["timings"]) == (1, 1.0, {"sampling": 0.9})


def test_settings_that_are_not_named_are_the_models_own(studio, tmp_path):
    assert generate("--top-p", "0.9", "--temperature", "0", "--out", str(tmp_path)) == 0
    (request,) = studio.requests
    assert request.options == SamplingOptions(guidance=2.0, temperature=0.0, top_k=50, top_p=0.9)
    assert (request.samples, request.keep, request.kept, studio.lookahead) == (16, 8, None, 1)
    assert generate("--samples", "1", "--lookahead", "8", "--out", str(tmp_path)) == 0 and studio.lookahead == 8


def test_a_picture_is_kept_by_just_under_half_unless_told_otherwise(studio, tmp_path):
    picture = tmp_path / "prime.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    assert generate("--prime", str(picture), "--out", str(tmp_path)) == 0
    assert generate("--prime", str(picture), "--top", "3", "--right", "1", "--out", str(tmp_path)) == 0
    assert generate("--prime", str(picture), "--strips", "--left", "2", "--out", str(tmp_path)) == 0
    first, second, third = studio.requests
    assert third.kept.tolist() == [[51, 51, -1, -1]] * GRID
    assert (first.kept >= 0).sum(1).tolist() == [GRID, 0, 0, 0] and first.kept[0, 0] == 255
    assert (second.kept >= 0).sum(1).tolist() == [GRID, GRID, GRID, 1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generate", " ", "--model", "painted"], "Please type a sentence"),
        (["generate", "x", "--model", "nobody"], "no model named 'nobody'"),
        (["generate", "x", "--model", "painted", "--left", "3"], "name it with --prime"),
        (["generate", "x", "--model", "painted", "--prime", "nowhere.png"], "no picture file"),
        (["generate", "x", "--model", "painted", "--prime", __file__], "not a picture"),
        (["generate", "x", "--model", "painted", "--out", f"{__file__}/out"], "cannot be read or written"),
        (["reconstruct", "nowhere.png", "--model", "painted"], "no picture file"),
        (["world", "x.png", "--vocabulary", "klingon"], "no vocabulary named 'klingon'"),
    ],
)
def test_errors_are_one_sentence_without_a_traceback(studio, arguments, sentence, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and sentence in printed.err
    assert printed.err.count("\n") == 1 and printed.err.endswith(".\n")


@pytest.mark.parametrize("mistake", [["--samples", "0"], ["--samples", "many"], ["--seed", "-1"], ["--keep", "1.5"]])
def test_impossible_numbers_are_refused_before_anything_loads(mistake, capsys):
    with pytest.raises(SystemExit, match="2"):
        generate(*mistake)
    assert mistake[0] in capsys.readouterr().err


def test_ctrl_c_ends_quietly(studio, monkeypatch, capsys):
    def interrupted(request: Request) -> Iterator[Update]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(studio, "generate", interrupted)
    assert generate() == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_reconstruct_shows_a_picture_through_the_tokenizer(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("dalle.models.load_images", lambda name, device: Blocks())
    picture, out = tmp_path / "picture.png", tmp_path / "seen.png"
    image = Image.new("RGB", (64, 32), "white")
    image.paste("black", (0, 0, 32, 32))
    image.save(picture)
    assert main(["reconstruct", str(picture), "--model", "painted", "--out", str(out)]) == 0
    seen = read_picture(out)
    assert seen.size == (32, 32) and seen.getpixel((4, 4)) == (0, 0, 0) and seen.getpixel((28, 4)) == (255,) * 3
    assert "16 tokens, 2 different" in capsys.readouterr().out


def test_inspect_tells_what_a_folder_holds(tmp_path, capsys):
    make(tmp_path)
    assert main(["inspect", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "transformer.safetensors" in told and "depth" in told and "float" in told
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["family"] == "native" and "image tokenizer" in found["sizes"]
    assert main(["inspect", str(ROOT / "dalle")]) == 2
    assert "holds no model" in capsys.readouterr().err


def test_a_sheet_shows_the_best_picture_of_every_prompt(studio, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    command = ["sheet", "a red bird", "two dogs", "a hat", "--model", "painted", "--samples", "5", "--seed", "3"]
    assert main([*command, "--columns", "2", "--out", str(out)]) == 0
    assert studio.requests == [Request(p, 5, keep=1, seed=3, previews=0) for p in ("a red bird", "two dogs", "a hat")]
    drawn = np.asarray(read_picture(out))
    assert (drawn == (0, 0, 200)).all(-1).sum() == 3 * 32 * 32 and 2 * 32 < drawn.shape[1] < 4 * 32
    assert str(out) in capsys.readouterr().out


def test_world_draws_a_sheet(tmp_path, capsys):
    out = tmp_path / "sheet"
    assert main(["world", "--show", "3", str(out), "--vocabulary", "small", "--seed", "4"]) == 0
    with Image.open(out) as sheet:
        assert sheet.format == "PNG" and sheet.width > 3 * 256
    assert str(out) in capsys.readouterr().out


def test_evaluate_passes_its_settings_on_and_prints_what_comes_back(studio, monkeypatch, tmp_path, capsys):
    @dataclass
    class Report:
        recall: float

        def table(self) -> str:
            return f"recall@1 {self.recall}"

    calls = []

    def evaluate(*arguments):
        calls.append(arguments)
        return Report(0.75)

    module = SimpleNamespace(evaluate=evaluate, heldout_world=lambda *named: named)
    monkeypatch.setitem(sys.modules, "dalle.evaluate", module)
    command = ["evaluate", "--model", "painted", "--captions", "5", "--samples", "2", "--out", str(tmp_path)]
    command += ["--by", "clip"]
    assert main(command) == main([*command, "--json"]) == 0
    assert calls == [(studio, ("painted", 32), 5, 2, tmp_path)] * 2
    assert capsys.readouterr().out == 'recall@1 0.75\n{\n  "recall": 0.75\n}\n'


def test_train_passes_its_settings_on(monkeypatch, tmp_path):
    calls = []
    trained = SimpleNamespace(run=lambda *told: calls.append(told), heap=SimpleNamespace(hold=lambda: None))
    monkeypatch.setitem(sys.modules, "dalle.train", trained)
    command = ["train", "clip", "--out", str(tmp_path), "--minutes", "0.5", "--recipe", "tiny"]
    assert main(command) == main([*command, "--start", "emoji", "--first", "9", "--steps", "7"]) == 0
    settings = "clip", "tiny", "world", tmp_path, 0.5
    assert calls == [(*settings, None, 0, None), (*settings, "emoji", 9, 7)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(make(tmp_path_factory.mktemp("tiny")))


def test_a_real_model_draws_the_same_pictures_at_any_number_of_samples(folder, tmp_path):
    command = ["generate", "a red bird", "--model", folder, "--seed", "3"]
    assert main([*command, "--samples", "3", "--keep", "3", "--out", str(tmp_path / "three")]) == 0
    assert main([*command, "--samples", "2", "--keep", "1", "--out", str(tmp_path / "two")]) == 0
    three = {path.name[4:]: path for path in (tmp_path / "three").glob("*_seed3_i*.png")}
    (best,) = (tmp_path / "two").glob("*_seed3_i*.png")
    assert len(three) == 3 and read_picture(best).tobytes() == read_picture(three[best.name[4:]]).tobytes()
    one, other = read_meta(best), read_meta(three[best.name[4:]])
    assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-5) and one == other
    scores = [read_meta(path)["score"] for path in sorted((tmp_path / "three").glob("0*.png"))]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("prompt", ["", "x" * 10_000, "🍓", "красная птица"])
def test_prompts_that_a_real_model_cannot_use_end_in_a_sentence(folder, prompt, tmp_path, capsys):
    assert main(["generate", prompt, "--model", folder, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count(".") >= 1 and not (tmp_path / "out").exists()


def test_models_lists_what_can_be_named(capsys):
    assert main(["models"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["name", "title", "grid"] and any("16×16" in row for row in rows)
    assert main(["models", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert "emoji" in {card["name"] for card in cards} and all("licence" in card for card in cards)


def test_the_module_runs_and_explains_itself():
    command = [sys.executable, "-m", "dalle", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(name in told for name in ("generate", "models", "world", "train", "evaluate", "reconstruct", "inspect"))
