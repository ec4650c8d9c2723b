"""What a model draws of captions that its training never showed, judged by a net that has no part in the drawing.

For each caption the model draws and ranks as for anybody. The judge then says what it sees in every candidate, so that
a random sample, the first of the gallery and the best of any number are compared on the same pictures. What the judge
makes of the world's own picture, and of that picture sent through the image tokenizer, is the ceiling.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from dalle import images, models
from dalle.contracts import Borders, Candidate, Request, SamplingOptions
from dalle.engine import Studio
from dalle.errors import ModelError
from dalle.judge import NAME, Judge
from dalle.judging.report import BestOf, Panels, Report, Row, doubling
from dalle.judging.sheets import Sheet, save
from dalle.judging.topics import TOPICS, Question, Topic
from dalle.measured import gallery
from dalle.train.loop import psnr
from dalle.worlds import World, WorldConfig


@dataclass(frozen=True)
class Trial:
    """One caption: how right each candidate is in every aspect of its topic, and which ones would have been chosen."""

    favorites: Mapping[int, tuple[int, ...]]  # k -> of each group of k that were drawn in a row the first
    right: Mapping[str, tuple[float, ...]]  # aspect -> of each candidate, from 0 to 1
    real: Mapping[str, float]  # of the world's own picture
    decoded: Mapping[str, float]  # and of that after the image tokenizer

    def best_of(self, k: int, aspect: str) -> float:
        """How right the favorite of k candidates is: the mean over all groups of k that were drawn in a row."""
        return sum(self.right[aspect][i] for i in self.favorites[k]) / len(self.favorites[k])


def examine(
    studio: Studio,
    judge: Judge,
    world: WorldConfig,
    captions: int = 24,
    samples: int = 16,
    options: SamplingOptions | None = None,
    topics: Sequence[Topic] = TOPICS,
    panels: bool = True,
    out: Path | None = None,
) -> Report:
    """Draw the first `captions` captions of every topic, `samples` pictures each; shows a progress bar.

    With `out`, also writes two contact sheets for each topic there, of the first gallery. Raises ModelError for a model
    that has no CLIP.
    """
    if studio.bundle.ranker is None:
        raise ModelError(f"'{studio.bundle.name}' cannot be measured: it has no CLIP to rank with.")
    world, began = replace(world, size=studio.bundle.images.size), time.perf_counter()
    options = options or studio.bundle.options
    examiner = _Examiner(studio, judge, samples, options, tqdm(unit="caption", mininterval=5))
    examiner.bar.total = captions * (len(topics) + panels)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    results: dict[Topic, list[Trial]] = {}
    for topic in topics:
        sheet = Sheet(topic.name)
        results[topic] = [
            examiner.trial(index, question, topic, sheet)
            for index, question in enumerate(islice(topic.questions(world), captions))
        ]
        if out is not None:
            save(sheet, out)
    gaps = examiner.panels(world, captions, out) if panels else None
    examiner.bar.close()
    return Report(
        model=studio.bundle.name,
        fingerprint=studio.bundle.fingerprint,
        settings=asdict(options),
        samples=samples,
        seconds=round(time.perf_counter() - began, 1),
        rows=tuple(_rows(results, samples)),
        curve=tuple(_curve(results, samples)),
        panels=gaps,
    )


def judge_of(name: str, device: torch.device) -> Judge:
    """The judge in the model's own folder, or the one that comes with the program."""
    place = models.find(name)
    own = place if (place / f"{NAME}.json").is_file() else models.ASSETS / "emoji"
    return Judge.load(own, device)


@dataclass(frozen=True)
class _Examiner:
    """The one who has pictures drawn and hands them to the judge."""

    studio: Studio
    judge: Judge
    samples: int
    options: SamplingOptions
    bar: tqdm

    def trial(self, index: int, question: Question, topic: Topic, sheet: Sheet) -> Trial:
        request = Request(question.caption, self.samples, seed=index, options=self.options, previews=0)
        ranked = self._drawn(request)
        drawn = sorted(ranked, key=lambda candidate: candidate.index)
        sheet.add(question.caption, self._first(ranked))
        net, real = self.studio.bundle.images, images.to_tensor([question.real])
        decoded = net.decode(net.encode(real.to(self.studio.device))).cpu()
        pixels = torch.cat([images.to_tensor([candidate.picture for candidate in drawn]), real, decoded])
        read = self.judge.read(pixels)
        right = {aspect.name: tuple(aspect.right(question.wanted, given) for given in read) for aspect in topic.aspects}
        self.bar.update()
        return Trial(
            {k: self._favorites(request, drawn, k) for k in {*doubling(self.samples), gallery(self.samples)}},
            {name: found[:-2] for name, found in right.items()},
            {name: found[-2] for name, found in right.items()},
            {name: found[-1] for name, found in right.items()},
        )

    def panels(self, world: WorldConfig, captions: int, out: Path | None) -> Panels:
        """Two-panel pictures of glyphs that no training showed: the top is given, the bottom is drawn."""
        source = World(replace(world, vocabulary="unseen", split="heldout", families={"two_panel": 1.0}))
        net, sheet = self.studio.bundle.images, Sheet("image to image, unseen glyphs")
        ceilings: list[float] = []
        random: list[float] = []  # of all candidates
        ranked: list[float] = []
        for index in range(captions):
            example = source[index]
            tokens = self.studio.read(example.picture)
            kept = Borders(top=net.grid[0] // 2).of(tokens)
            count = gallery(self.samples)
            request = Request(example.caption, count, seed=index, options=self.options, kept=kept, previews=0)
            drawn = self._drawn(request)
            sheet.add(example.caption, self._first(drawn))
            ceiling = _bottom_psnr(self.studio.show(tokens), example.picture)
            gaps = {c.index: ceiling - _bottom_psnr(c.picture, example.picture) for c in drawn}
            ceilings.append(ceiling)
            random += gaps.values()
            ranked.append(gaps[drawn[0].index])
            self.bar.update()
        if out is not None:
            save(sheet, out)
        return Panels(captions, *(round(median(values), 2) for values in (ceilings, random, ranked)))

    def _favorites(self, request: Request, drawn: Sequence[Candidate], k: int) -> tuple[int, ...]:
        """The places, in the order of drawing, of those that would be first if only k in a row had been drawn."""
        return tuple(
            start + self._favorite(request, drawn[start : start + k]) for start in range(0, len(drawn) - k + 1, k)
        )

    def _favorite(self, request: Request, group: Sequence[Candidate]) -> int:
        """Scores by CLIP alone do not depend on what else was drawn; those by agreement do."""
        scores = [candidate.score or 0.0 for candidate in group]
        if 1 < len(group) < self.samples and group[0].scored_by == "CLIP and agreement":
            scores, _ = self.studio.scores(request, [candidate.picture for candidate in group])
        return scores.index(max(scores))

    def _first(self, ranked: Sequence[Candidate]) -> list[Image.Image]:
        """Those that would have been ranked together, best first, had no more been drawn than go into a gallery."""
        return [candidate.picture for candidate in ranked if candidate.index < gallery(self.samples)]

    def _drawn(self, request: Request) -> tuple[Candidate, ...]:
        """What a person would get, best first."""
        *_, done = self.studio.generate(request)
        return done.candidates


def _bottom_psnr(picture: Image.Image, truth: Image.Image) -> float:
    one, other = (images.to_tensor([p])[:, :, truth.height // 2 :] for p in (picture, truth))
    return psnr(one, other).item()


def _rows(results: Mapping[Topic, Sequence[Trial]], samples: int) -> Iterable[Row]:
    for topic, trials in results.items():
        for aspect in topic.aspects:
            name = aspect.name
            means = (
                _mean(trial.best_of(1, name) for trial in trials),
                _mean(trial.best_of(gallery(samples), name) for trial in trials),
                _mean(trial.real[name] for trial in trials),
                _mean(trial.decoded[name] for trial in trials),
            )
            yield Row(topic.name, topic.family, name, len(trials), aspect.aim, *means)


def _curve(results: Mapping[Topic, Sequence[Trial]], samples: int) -> Iterable[BestOf]:
    """Of every topic its figure, and the mean of these."""
    for k in doubling(samples):
        topics = {
            topic.name: _mean(trial.best_of(k, topic.aspects[0].name) for trial in trials)
            for topic, trials in results.items()
        }
        yield BestOf(k, _mean(topics.values()), topics)


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 4)
