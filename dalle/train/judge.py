"""The judge's own training: to read off a picture the facts that it was drawn from.

It sees the pictures of the training split and, as an instrument may, others with held-out combinations; a part of them
as the discrete VAE paints them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle import checkpoint, config
from dalle.errors import TrainingError
from dalle.judge import NAME, QUESTIONS, Answers, Judge
from dalle.models import pick_device
from dalle.nn.classifier import Classifier, ClassifierConfig
from dalle.train.augment import moved, softened
from dalle.train.corpus import to_images
from dalle.train.loop import Average, Run, autocast, cosine, load, place, set_lr

_UNASKED = -1  # a label where a question makes no sense


@dataclass(frozen=True)
class JudgeRecipe:
    """What is trained, how long and how fast."""

    size: int = 96  # pixels
    width: int = 24
    hidden: int = 48
    pictures: int = 60_000  # of the corpus, at most
    unseen: int = 4000  # of combinations that models are not shown; a measuring instrument may know them
    exam: int = 512  # held-out pictures that it is measured on, at most
    decoded: int = 4  # each such picture is seen as the VAE paints it
    steps: int = 3000
    batch: int = 48
    lr: float = 3e-3
    warmup: float = 0.05  # share of the steps
    weight_decay: float = 0.05
    shift: float = 0.05  # furthest move of a picture, as a share of its side, and its change of size
    tint: float = 0.04  # furthest change of a color channel
    blurred: float = 0.5  # share of the pictures that are softened
    decay: float = 0.99  # of the moving average
    precision: str = "bf16"
    seed: int = 0


@dataclass(frozen=True)
class Lesson:
    """Small pictures (N, S, S, 3) uint8, and the right answers about each."""

    pictures: np.ndarray
    answers: Sequence[Answers]


def form(answers: Iterable[Answers], recipe: JudgeRecipe) -> ClassifierConfig:
    """The net for those questions and answers that occur."""
    found: dict[str, set[str]] = {}
    asked: set[str] = set()
    for told in answers:
        asked |= told.keys()
        for question, answer in told.items():
            found.setdefault(QUESTIONS[question], set()).add(answer)
    questions = {question: kind for question, kind in QUESTIONS.items() if question in asked}
    kinds = {kind: tuple(sorted(names)) for kind, names in found.items()}
    return ClassifierConfig(questions, kinds, recipe.size, recipe.width, recipe.hidden)


def _shape(sizes: ClassifierConfig) -> tuple[object, ...]:
    """What two nets have to share for one to take the other's weights."""
    answers = {kind: tuple(names) for kind, names in sizes.answers.items()}
    return list(sizes.questions.items()), answers, sizes.size, sizes.width, sizes.hidden


def labels(answers: Sequence[Answers], sizes: ClassifierConfig) -> Tensor:
    """(N, Q) int64, -1 where a question is not asked."""
    places, kinds = sizes.places, sizes.questions
    rows = [[places[kinds[q]][told[q]] if q in told else _UNASKED for q in kinds] for told in answers]
    return torch.tensor(rows)


def loss_of(logits: Mapping[str, Tensor], right: Tensor) -> Tensor:
    """Mean cross entropy over all that was asked: Q times (B, answers), (B, Q) -> ()."""
    parts = [
        F.cross_entropy(answer, column, ignore_index=_UNASKED, reduction="sum")
        for answer, column in zip(logits.values(), right.T, strict=True)
    ]
    return torch.stack(parts).sum() / (right != _UNASKED).sum().clamp_min(1)


def augment(images: Tensor, recipe: JudgeRecipe, rng: np.random.Generator) -> Tensor:
    """Move, zoom and tint each picture a little and soften some. (B, 3, S, S) in [0, 1] -> the same."""
    seen = softened(moved(images, images.shape[-1], recipe.shift, rng), recipe.blurred, rng)
    tint = rng.uniform(-recipe.tint, recipe.tint, (len(images), 3, 1, 1)).astype(np.float32)
    return (seen + torch.from_numpy(tint)).clamp(0, 1)


class Batches:
    """Batch `step`: augmented pictures and labels; the same step always gives the same."""

    def __init__(self, lessons: Sequence[Lesson], sizes: ClassifierConfig, recipe: JudgeRecipe):
        self.recipe = recipe
        self.lessons = lessons
        self.labels = [labels(part.answers, sizes) for part in lessons]
        self.asked = [  # (part, picture) of all pictures about which something is asked
            (p, i) for p, rows in enumerate(self.labels) for i in (rows != _UNASKED).any(1).nonzero().flatten().tolist()
        ]

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] and (B, Q)"""
        rng = np.random.default_rng((self.recipe.seed, step))
        chosen = [self.asked[i] for i in rng.integers(len(self.asked), size=self.recipe.batch)]
        pictures = np.stack([self.lessons[part].pictures[i] for part, i in chosen])
        return augment(to_images(pictures), self.recipe, rng), torch.stack([self.labels[p][i] for p, i in chosen])


def train_judge(
    recipe: JudgeRecipe,
    lessons: Sequence[Lesson],
    exams: Mapping[str, Lesson],
    out: Path,
    minutes: float | None,
    start: Path | None = None,
) -> bool:
    """Train for at most `minutes`, from noise or from the judge in a folder; True once the schedule is complete, the
    weights exported and the exams taken. Raises TrainingError where that judge has other sizes or answers.
    """
    torch.manual_seed(recipe.seed)
    device = pick_device("auto")
    sizes = form((told for part in lessons for told in part.answers), recipe)
    net = place(Classifier(sizes), device)
    if start is not None:
        if _shape(config.load(ClassifierConfig, start / f"{NAME}.json")) != _shape(sizes):
            raise TrainingError("The judge to go on from has other sizes or other answers than these pictures ask for.")
        load(net, checkpoint.read_tensors(start, NAME))
    average = Average(net, recipe.decay)
    optimizer = torch.optim.AdamW(net.parameters(), recipe.lr, (0.9, 0.98), weight_decay=recipe.weight_decay)
    run = Run(NAME, out, recipe.steps, minutes, {"net": net, "average": average.net, "optimizer": optimizer})
    average.updates = run.step
    batches = Batches(lessons, sizes, recipe)
    for step in run:
        set_lr(optimizer, cosine(run.share, recipe.warmup))
        images, right = batches[step]
        with autocast(device, recipe.precision):
            logits = net(place(images, device))
        loss = loss_of({question: answer.float() for question, answer in logits.items()}, right.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update(net)
        if step % 50 == 0:
            run.log(loss=loss)
    if run.finished:
        checkpoint.write_tensors(average.net.state_dict(), out, NAME, torch.float16)
        config.save(sizes, out / f"{NAME}.json")
        judge = Judge.load(out, device)
        run.summary["recipe"] = config.to_json(recipe)
        run.summary["heldout"] = {name: measure(judge, exam) for name, exam in exams.items()}
        run.save()
        print(json.dumps(run.summary["heldout"]))
    return run.finished


def measure(judge: Judge, exam: Lesson, batch: int = 64) -> dict[str, Any]:
    """The share of right answers to each question, and how often it was asked."""
    right: dict[str, list[bool]] = {}
    for start in range(0, len(exam.answers), batch):
        part = slice(start, start + batch)
        for given, told in zip(judge.read(to_images(exam.pictures[part])), exam.answers[part], strict=True):
            for question, answer in told.items():
                right.setdefault(question, []).append(given.get(question) == answer)
    return {
        question: {"right": round(sum(found) / len(found), 4), "asked": len(found)} for question, found in right.items()
    }
