"""The examination: captions are held out and say what is asked, figures against slow ones, the whole command."""

import json
import re
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image
from tqdm import tqdm

from dalle import config, train
from dalle.__main__ import main
from dalle.chart import BLUE
from dalle.contracts import Candidate, Request
from dalle.engine import Studio
from dalle.judge import Judge, spelling
from dalle.judging import Trial, _Examiner
from dalle.judging.report import BestOf, Panels, Report, Row, comparison, curve_picture, gallery
from dalle.judging.sheets import Sheet, save
from dalle.judging.topics import TOPICS, Aspect
from dalle.train.recipes import RECIPES
from dalle.worlds.signs import COMMON, FAMOUS
from dalle.worlds.split import is_held_out
from dalle.worlds.vocabulary import words_for

WORLD = RECIPES["small"].world
BY_NAME = {topic.name: topic for topic in TOPICS}


def first(topic: str, count: int = 12):
    return list(islice(BY_NAME[topic].questions(replace(WORLD, size=64)), count))


@pytest.mark.parametrize("topic", BY_NAME)
def test_every_topic_asks_the_same_answerable_questions_each_time(topic: str):
    questions, again = first(topic, 4), first(topic, 4)
    assert [(q.caption, q.wanted) for q in questions] == [(q.caption, q.wanted) for q in again]
    for question in questions:
        assert question.real.size == (64, 64)
        for aspect in BY_NAME[topic].aspects:
            assert aspect.right(question.wanted, question.wanted) == 1.0
            assert set(aspect.questions) & set(question.wanted)


def test_colors_and_pairs_were_held_out():
    for question in first("unseen color × object"):
        assert is_held_out(("color", question.wanted["noun"], question.wanted["color"]))
    for question in first("two objects, unseen pair"):
        a, b, relation = (question.wanted[name] for name in ("noun", "noun2", "relation"))
        turned = {"left of": "right of", "above": "below", "in front of": "behind"}.get(relation, relation)
        assert is_held_out(("relation", a, relation, b)) or is_held_out(("relation", b, turned, a))
    assert all(int(question.wanted["count"]) <= 5 for question in first("counts 1–5"))


def test_words_are_short_and_new_and_in_the_caption():
    for question in first("signs, an unseen word"):
        word = "".join(question.wanted[f"letter{i}"] for i in range(1, 9)).strip()
        assert len(word) <= 6 and word not in (*FAMOUS, *COMMON) and word in question.caption
        assert is_held_out(("spelling", word))


def test_named_objects_are_named_and_nothing_more_is_said():
    for question in first("one named object"):
        assert set(question.wanted) == {"noun"}
        assert any(question.caption.endswith(word) for word in words_for(question.wanted["noun"]))


def test_birds_are_asked_for_the_colors_that_their_captions_name():
    for question in first("birds with two part colors"):
        assert len(question.wanted) >= 2 and len(set(question.wanted.values())) >= 2
        assert all(color in question.caption for color in question.wanted.values())


def test_an_aspect_is_right_where_all_that_is_said_is_right():
    both = Aspect("both", ("noun", "color"))
    assert both.right({"noun": "cat", "color": "red"}, {"noun": "cat", "color": "blue"}) == 0.0
    assert both.right({"noun": "cat"}, {"noun": "cat", "color": "blue"}) == 1.0
    letters = tuple(f"letter{i}" for i in range(1, 9))
    wanted, given = spelling("clip"), spelling("clap ")
    assert Aspect("letters", letters, each=True).right(wanted, given) == 0.75  # of four letters, not of eight
    assert Aspect("word", letters).right(wanted, given) == 0.0
    assert Aspect("word", letters).right(wanted, spelling("clips")) == 0.0


def test_best_of_k_is_a_mean_over_groups_that_were_chosen_from():
    right = (1.0, 0.0, 0.0, 1.0)
    trial = Trial({1: (0, 1, 2, 3), 2: (1, 2), 3: (2,)}, {"a": right}, {"a": 1.0}, {"a": 1.0})
    assert [trial.best_of(k, "a") for k in (1, 2, 3)] == [0.5, 0.0, 0.0]
    assert replace(trial, favorites={2: (0, 3)}).best_of(2, "a") == 1.0


def test_by_clip_alone_the_favorite_of_a_group_is_the_one_of_the_highest_score():
    examiner = _Examiner(None, None, 4, None, tqdm(disable=True))
    drawn = [Candidate(i, None, None, score) for i, score in enumerate((0.1, 0.4, 0.9, 0.2))]
    assert examiner._favorites(None, drawn, 1) == (0, 1, 2, 3)
    assert examiner._favorites(None, drawn, 2) == (1, 2)  # 0.4 of the first two, 0.9 of the last two
    assert examiner._favorites(None, drawn, 4) == (2,)
    assert examiner._favorites(None, drawn, 3) == (2,)
    other = [replace(candidate, score=score) for candidate, score in zip(drawn, (0.5, 0.4, 0.1, 0.2), strict=True)]
    assert examiner._favorites(None, other, 2) == (0, 3)


def test_of_a_group_it_is_the_one_that_would_have_been_first_if_no_more_had_been_drawn(tiny_model):
    studio = Studio.load(str(tiny_model), "cpu")
    studio = Studio(replace(studio.bundle, agreement=True), studio.device)
    options = studio.bundle.options
    for prompt in ("a red bird", "a sign with the word 'hi' on it"):
        request = Request(prompt, samples=6, seed=2, options=options, previews=0)
        examiner = _Examiner(studio, None, 6, options, tqdm(disable=True))
        drawn = sorted(examiner._drawn(request), key=lambda candidate: candidate.index)
        assert examiner._favorites(request, drawn, 1) == (0, 1, 2, 3, 4, 5)
        assert examiner._favorites(request, drawn, 4) == (examiner._drawn(replace(request, samples=4))[0].index,)
        assert examiner._favorites(request, drawn, 6) == (examiner._drawn(request)[0].index,)


def report(best: float) -> Report:
    rows = (
        Row("birds", "bird", "all", 24, 0.7, 0.25, best, 0.9, 0.8),
        Row("birds", "bird", "one", 24, None, 0.5, 0.6, 1.0, 1.0),
    )
    points = (BestOf(1, 0.25, {"birds": 0.25}), BestOf(2, best, {"birds": best}))
    return Report("emoji", "0", {"guidance": 2.0, "top_k": 128}, 2, 9.6, rows, points, Panels(24, 21.5, 5.25, 4.0))


def test_tables_show_figures_beside_aims_and_ceilings():
    lines = report(0.5).table().splitlines()
    (row,) = (line for line in lines if "all" in line and "birds" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["birds", "all", "24", "25%", "50%", "70%", "90%", "80%"]
    assert "guidance 2, top-k 128" in lines[0] and "4.0 dB" in lines[-1]
    compared = comparison({"guidance 1": report(0.5), "guidance 2": report(0.75)}).splitlines()
    assert len({len(line) for line in compared}) == 1
    assert [cell.strip() for cell in compared[-1].strip("|").split("|")] == ["guidance 2", "25%", "75%", "75%"]


def test_tables_stay_with_galleries_of_sixteen_where_more_are_drawn():
    points = tuple(BestOf(k, k / 100, {"birds": k / 100}) for k in (1, 16, 64))
    many = replace(report(0.5), samples=64, curve=points)
    assert gallery(8) == 8 and "best of 16" in many.table() and "best of 64" not in many.table()
    heads, _, row = comparison({"top-k 8": many}).splitlines()
    assert "best of 16" in heads and [cell.strip() for cell in row.split("|")][2:4] == ["1%", "16%"]


def test_the_curve_rises_where_the_figures_do():
    def blue(picture: Image.Image) -> list[int]:
        pixels = picture.load()
        end = 2 * (840 - 230)  # of the curve, on a picture of twice the size
        return [y for y in range(104, 752) for x in (end - 2, end - 1) if pixels[x, y] == BLUE]  # type: ignore

    assert max(blue(curve_picture(report(0.9)))) < min(blue(curve_picture(report(0.1))))


def test_sheets_show_the_first_captions_in_order(tmp_path: Path):
    sheet = Sheet("one named object × 2")
    for i in range(30):
        sheet.add(f"caption {i}", [Image.new("RGB", (16, 16), (8 * i, 0, 0)) for _ in range(9)])
    save(sheet, tmp_path)
    assert [len(gallery) for _, gallery in sheet.rows] == [8] * 24
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "one-named-object-2.top1.webp", "one-named-object-2.top8.webp",
    ]  # fmt: skip
    with Image.open(tmp_path / "one-named-object-2.top1.webp") as best:
        assert best.getpixel((12 + 64, 12 + 64))[0] < 30 < best.getpixel((12 + 7 * 140 + 64, 12 + 64))[0]


@pytest.fixture(scope="module")
def judged(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, with a judge that has seen next to nothing."""
    place = tmp_path_factory.mktemp("judged") / "model"
    shutil.copytree(tiny_model, place)
    train.run("judge", recipe="tiny", out=place)
    return place


def test_the_judge_is_a_stage_of_training_and_no_part_of_the_model(judged: Path):
    figures = json.loads((judged / "judge_metrics.json").read_text())["heldout"]
    assert set(figures) == {"real", "reconstructed"}
    assert figures["real"]["noun"]["asked"] > 5
    read = Judge.load(judged, torch.device("cpu")).read(torch.rand(2, 3, 64, 64))
    assert len(read) == 2 and read[0]["period"] in config.read(judged / "judge.json")["answers"]["period"]


def test_the_command_prints_a_table_and_writes_figures_sheets_and_a_curve(judged: Path, tmp_path: Path, capsys):
    command = ["evaluate", "--model", str(judged), "--captions", "1", "--samples", "2"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    told = json.loads((tmp_path / "judged.json").read_text())
    assert [point["k"] for point in told["curve"]] == [1, 2] and told["panels"]["captions"] == 1
    assert {row["topic"] for row in told["rows"]} == set(BY_NAME) and all(name in table for name in BY_NAME)
    assert len(list(tmp_path.glob("*.top1.webp"))) == len(list(tmp_path.glob("*.top8.webp"))) == len(TOPICS) + 1
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)]+)\)", page)
    assert table.strip() in page and len(linked) == 2 * (len(TOPICS) + 1) + 1
    assert all((tmp_path / name).is_file() for name in linked)


def test_a_sweep_asks_the_same_with_one_setting_after_the_other(judged: Path, capsys):
    assert main(["evaluate", "--model", str(judged), "--captions", "1", "--samples", "1", "--sweep", "top-k=1,8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["top_k 1", "top_k 8"]
