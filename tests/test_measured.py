"""The figures beside a model's weights, as the page reads them."""

import json
from pathlib import Path

import pytest

from dalle.measured import BY_CLIP, BY_JUDGE, by_clip, by_judge, scores

RECALL = {"random": {"recall": 0.4}, "real": {"recall": 0.8}}
CLIP = {
    "samples": 8,
    "rivals": 64,
    "rows": [
        {"family": "object", "ranked": {"recall": 0.8}, **RECALL},
        {"family": "two_panel", "ranked": {"recall": 0.2}, **RECALL},
    ],
}
SHARES = {"family": "object", "random": 0.1, "real": 0.8}
JUDGE = {
    "samples": 64,
    "rows": [
        {"topic": "one object", "aspect": "object", "ranked": 0.8, **SHARES},
        {"topic": "one object", "aspect": "color", "ranked": 0.0, **SHARES},
        {"topic": "unseen color", "aspect": "both", "ranked": 0.4, **SHARES},
    ],
}


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    for name, report in ((BY_CLIP, CLIP), (BY_JUDGE, JUDGE)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(report))
    return tmp_path


def test_the_judge_is_believed_where_it_knows_the_family_and_clip_elsewhere(measured: Path):
    assert scores(measured) == {"object": pytest.approx(0.75), "two_panel": pytest.approx(0.25)}


def test_one_that_was_only_ranked_is_measured_by_clip(measured: Path):
    (measured / BY_JUDGE).unlink()
    assert scores(measured) == {"object": pytest.approx(1), "two_panel": pytest.approx(0.25)}


def test_a_topic_has_one_figure_and_a_gallery_is_never_more_than_sixteen(measured: Path):
    figures = by_judge(measured)
    assert figures and [row.kind for row in figures.rows] == ["one object", "unseen color"]
    assert figures.samples == 16 and not figures.among
    recalled = by_clip(measured)
    assert recalled and [row.kind for row in recalled.rows] == ["object", "two panel"]
    assert recalled.samples == 8 and recalled.among == 64


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"family": "object"}]}', '{"rows": 3}'])
def test_figures_of_another_program_say_nothing(tmp_path: Path, text: str):
    (tmp_path / BY_CLIP).write_text(text)
    (tmp_path / "judged").mkdir()
    (tmp_path / BY_JUDGE).write_text(text)
    assert scores(tmp_path) is None


def test_a_model_that_was_not_measured_has_no_figures(tmp_path: Path):
    assert scores(tmp_path) is scores(None) is None
