"""The judge: forms are filled in from facts, a blank asks nothing, and a short run learns to read pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dalle.errors import TrainingError
from dalle.judge import QUESTIONS, Judge, answers, spelling
from dalle.nn.classifier import Classifier
from dalle.train.judge import Batches, JudgeRecipe, Lesson, augment, form, labels, loss_of, measure, train_judge
from dalle.worlds import World, WorldConfig

COLORS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}
RECIPE = JudgeRecipe(size=32, width=8, hidden=16, steps=60, batch=12, precision="fp32")
TOLD = [{"color": a, "color2": b} if b else {"color": a} for a in COLORS for b in (*COLORS, None) if a != b]


@pytest.fixture(scope="module")
def pairs() -> Lesson:
    """Two colors side by side, or one alone on white, of which the second question is not asked."""
    pictures = np.full((len(TOLD), 32, 32, 3), 255, np.uint8)
    for picture, told in zip(pictures, TOLD, strict=True):
        picture[:, :16] = COLORS[told["color"]]
        if "color2" in told:
            picture[:, 16:] = COLORS[told["color2"]]
    return Lesson(pictures, TOLD)


def test_every_answer_belongs_to_a_question_and_every_question_is_asked():
    world = World(WorldConfig(vocabulary="small", lattice=16))
    told = [answers(plan.family, plan.facts) for plan in map(world.plan, range(600))]
    assert {question for form in told for question in form} == set(QUESTIONS)
    assert all(isinstance(answer, str) and answer for form in told for answer in form.values())


def test_the_same_picture_has_one_form_whichever_thing_is_named_first():
    dog, cat = {"noun": "dog", "color": None}, {"noun": "cat", "color": "red"}
    one = answers("relation", {"relation": "left of", "things": [dog, cat]})
    assert one == answers("relation", {"relation": "right of", "things": [cat, dog]})
    assert one == {"noun": "dog", "noun2": "cat", "color2": "red", "relation": "left of"}
    assert one != answers("relation", {"relation": "left of", "things": [cat, dog]})


def test_words_are_spelled_with_blanks_after_them():
    assert "".join(spelling("clip").values()) == "clip    "
    assert list(spelling("abcdefgh")) == [f"letter{i}" for i in range(1, 9)]
    assert spelling("abcdefghi") == {}


def test_the_loss_is_the_mean_over_what_was_asked(pairs: Lesson):
    sizes = form(pairs.answers, RECIPE)
    assert sizes.answers == {"color": ("blue", "green", "red")} and list(sizes.questions) == ["color", "color2"]
    right = labels(pairs.answers, sizes)
    generator = torch.Generator().manual_seed(0)
    logits = {question: torch.randn(len(TOLD), 3, generator=generator) for question in sizes.questions}
    each = [
        -logits[question][i].log_softmax(0)[sizes.answers["color"].index(answer)]
        for i, told in enumerate(TOLD)
        for question, answer in told.items()
    ]
    torch.testing.assert_close(loss_of(logits, right), torch.stack(each).mean())


def test_a_batch_belongs_to_its_step_and_asks_something(pairs: Lesson):
    silent = Lesson(pairs.pictures[:2], [{}, {}])
    batches = Batches([pairs, silent], form(pairs.answers, RECIPE), RECIPE)
    (images, right), (again, _), (other, _) = batches[3], batches[3], batches[4]
    assert images.shape == (12, 3, 32, 32) and right.shape == (12, 2)
    assert torch.equal(images, again) and not torch.equal(images, other)
    assert (right != -1).any(1).all()


def test_augmented_pictures_keep_their_sides_and_nearly_their_colors(pairs: Lesson):
    images = torch.from_numpy(pairs.pictures.transpose(0, 3, 1, 2) / np.float32(255))
    for seed in range(5):
        seen = augment(images, RECIPE, np.random.default_rng(seed))
        assert seen.min() >= 0 and seen.max() <= 1
        for side in (slice(0, 8), slice(24, 32)):
            torch.testing.assert_close(seen[..., side].mean((2, 3)), images[..., side].mean((2, 3)), atol=0.06, rtol=0)


def test_a_judge_learns_to_read_and_goes_on_where_it_was_stopped(pairs: Lesson, tmp_path: Path):
    assert not train_judge(RECIPE, [pairs], {"same": pairs}, tmp_path, minutes=0)
    assert not (tmp_path / "judge.json").exists()
    assert train_judge(RECIPE, [pairs], {"same": pairs}, tmp_path, None)
    judge = Judge.load(tmp_path, torch.device("cpu"))
    found = measure(judge, pairs)
    assert found["color"]["asked"] == 9 and found["color2"]["asked"] == 6
    assert found["color"]["right"] > 0.8 and found["color2"]["right"] > 0.8
    assert json.loads((tmp_path / "judge_metrics.json").read_text())["heldout"] == {"same": found}
    large = torch.from_numpy(pairs.pictures.transpose(0, 3, 1, 2) / np.float32(255)).repeat_interleave(2, 3)
    assert [given["color"] for given in judge.read(large.repeat_interleave(2, 2))] == [
        given["color"] for given in judge.read(large[:, :, :, ::2])
    ]


def test_belief_is_the_geometric_mean_of_what_is_wanted(pairs: Lesson):
    torch.manual_seed(0)
    judge = Judge(Classifier(form(pairs.answers, RECIPE)).eval())
    images = torch.from_numpy(pairs.pictures[:4].transpose(0, 3, 1, 2) / np.float32(255))
    with torch.no_grad():
        odds = {question: logits.softmax(1) for question, logits in judge.net(images).items()}
    names = judge.net.config.answers["color"]
    wanted = [{"color": "red", "color2": "blue"}, {"color": "green"}, {}, {"color": "mauve", "noun": "dog"}]
    first = odds["color"][0, names.index("red")] * odds["color2"][0, names.index("blue")]
    expected = [first.sqrt().item(), odds["color"][1, names.index("green")].item(), 1.0, 0.02]
    assert judge.belief(images, wanted).tolist() == pytest.approx(expected, abs=1e-5)


def test_a_judge_goes_on_from_another_that_answers_the_same(pairs: Lesson, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert train_judge(RECIPE, [pairs], {}, first, None)
    assert train_judge(replace(RECIPE, steps=1), [pairs], {}, second, None, start=first)
    assert measure(Judge.load(second, torch.device("cpu")), pairs)["color"]["right"] > 0.7
    one_question = Lesson(pairs.pictures, [{"color": told["color"]} for told in pairs.answers])
    with pytest.raises(TrainingError, match="other answers"):
        train_judge(RECIPE, [one_question], {}, tmp_path / "third", None, start=first)


@pytest.mark.parametrize("stage", ["judge", "critic", "feedback"])
def test_a_folder_of_pictures_teaches_no_judge(stage: str, tmp_path: Path):
    from dalle import train

    with pytest.raises(TrainingError, match="facts"):
        train.run(stage, "tiny", data=str(tmp_path), out=tmp_path / "out")
