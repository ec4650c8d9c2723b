"""How good a model is, on captions that its training never showed.

For each held-out caption the model draws and ranks as for anybody. Our own CLIP then has to find the picture's
caption among others, recall@1, as it has to for a picture chosen without CLIP, which shows what ranking gains, and
for the world's own picture, which is the ceiling. The same CLIP ranks and judges, so compare with the ceiling
and not with another CLIP's figures.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from dalle import config, images, models
from dalle.chart import FAINT, Axis, Curve, chart
from dalle.contracts import Candidate, ImageTokenizer, Request
from dalle.engine import Studio
from dalle.errors import ModelError, WorldError
from dalle.judging.report import doubling, markdown
from dalle.measured import BY_CLIP
from dalle.ranking import ClipRanker
from dalle.train.clip import RIVALS
from dalle.train.loop import psnr
from dalle.train.recipes import SMALL
from dalle.worlds import Example, World, WorldConfig, contact_sheet

SHEET = 32  # pictures on the contact sheet, the first ones in order


@dataclass(frozen=True)
class Judged:
    """What CLIP says of one picture."""

    score: float  # cosine similarity to its own caption
    found: bool  # whether that is higher than to any of the other captions


@dataclass(frozen=True)
class Trial:
    """One caption: what was drawn for it, in the order of drawing, and the world's own picture."""

    family: str
    drawn: tuple[Judged, ...]
    real: Judged

    def best_of(self, k: int) -> Judged:
        """The one that ranking puts first among the first k."""
        return max(self.drawn[:k], key=lambda judged: judged.score)


@dataclass(frozen=True)
class Quality:
    """Means over pictures, one to a caption."""

    recall: float  # recall@1
    score: float  # CLIP score

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> Self:
        n = len(judged)
        return cls(round(sum(j.found for j in judged) / n, 4), round(sum(j.score for j in judged) / n, 4))


@dataclass(frozen=True)
class Row:
    """One family of captions, or all."""

    family: str
    captions: int  # n, behind each of the figures
    random: Quality  # candidate 0, whatever CLIP thinks of it
    ranked: Quality  # the first of the gallery
    real: Quality  # the world's own picture

    @classmethod
    def of(cls, family: str, trials: Sequence[Trial]) -> Self:
        kinds = ([t.best_of(1) for t in trials], [t.best_of(len(t.drawn)) for t in trials], [t.real for t in trials])
        return cls(family, len(trials), *map(Quality.of, kinds))


@dataclass(frozen=True)
class BestOf:
    """A point of the curve: the best by CLIP among the first k candidates."""

    k: int
    captions: int
    best: Quality


@dataclass(frozen=True)
class Reconstruction:
    """How well the image tokenizer alone keeps real held-out pictures."""

    pictures: int
    psnr: float  # decibels, mean over pictures
    codes_used: float  # share of the vocabulary


@dataclass(frozen=True)
class Report:
    """Everything that was measured, and with what."""

    model: str
    fingerprint: str
    settings: dict[str, Any]
    world: WorldConfig
    captions: int
    samples: int
    rivals: int  # captions to choose among, the right one included
    seconds: float
    rows: tuple[Row, ...]  # "all" first
    curve: tuple[BestOf, ...]
    tokenizer: Reconstruction

    def table(self) -> str:
        """Markdown that can be read as it is."""
        title = f"{self.model}: best of {self.samples} for {self.captions} held-out captions, in {self.seconds:.0f} s"
        judge = f"recall@1 among {self.rivals} captions (chance {1 / self.rivals:.1%}) and mean CLIP score, n captions"
        heads = ["family", "n", "recall: random", "ranked", "real", "score: random", "ranked", "real"]
        rows = [[row.family, str(row.captions), *_cells(row.random, row.ranked, row.real)] for row in self.rows]
        points = [[str(p.k), str(p.captions), f"{p.best.recall:.1%}", f"{p.best.score:.3f}"] for p in self.curve]
        codes = self.tokenizer
        return "\n\n".join(
            [
                f"{title}\n{judge}",
                markdown(heads, rows, texts=1),
                markdown(["best of k", "n", "recall", "score"], points, texts=1),
                f"Image tokenizer: PSNR {codes.psnr:.1f} dB, {codes.codes_used:.1%} of its codes in use "
                f"(n = {codes.pictures} pictures)",
            ]
        )


def evaluate(studio: Studio, world: World, captions: int = 200, samples: int = 16, out: Path | None = None) -> Report:
    """Draw the world's first `captions` captions, `samples` pictures each, and measure them; shows a progress bar.

    With `out`, also writes `evaluation.json`, `sheet.png` and `curve.png` there.
    Raises ModelError for a model that has no CLIP of ours, WorldError for a world of fewer than `RIVALS` captions.
    """
    bundle, began = studio.bundle, time.perf_counter()
    if not isinstance(bundle.ranker, ClipRanker):
        raise ModelError(f"'{bundle.name}' cannot be measured: it has no CLIP. Train one with `train clip`.")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written is better known now than in an hour
    jury, codes = Jury(bundle.ranker, world, captions), Codes(bundle.images, studio.device)
    trials: list[Trial] = []
    best: list[Example] = []
    with tqdm(range(captions), "measuring", unit="caption", mininterval=5) as bar:
        for index in bar:
            example = world[index]
            gallery = _gallery(studio, Request(example.caption, samples, seed=index, previews=0))
            codes.see(example.picture)
            trials.append(_trial(jury, example, gallery))
            best += [replace(example, picture=gallery[0].picture)] if index < SHEET else []
            bar.set_postfix({"recall@1": Row.of("all", trials).ranked.recall}, refresh=False)
    report = Report(
        model=bundle.name,
        fingerprint=bundle.fingerprint,
        settings=asdict(bundle.options),
        world=world.config,
        captions=captions,
        samples=samples,
        rivals=RIVALS,
        seconds=round(time.perf_counter() - began, 1),
        rows=_rows(trials),
        curve=tuple(BestOf(k, captions, Quality.of([t.best_of(k) for t in trials])) for k in doubling(samples)),
        tokenizer=codes.summary(),
    )
    if out is not None:
        config.save(report, out / BY_CLIP)
        contact_sheet(best).save(out / "sheet.png")
        curve_picture(report).save(out / "curve.png")
    return report


def heldout_world(model: str, size: int) -> World:
    """The held-out split of the world that a named model, or the one in a folder, was trained on.

    `size` is the side of its pictures in pixels. A model that does not tell its world is asked for the small one.
    """
    recipe = models.find(model) / "recipe.json"
    told = config.read(recipe).get("world") if recipe.is_file() else None
    trained = SMALL.world if told is None else config.from_json(WorldConfig, told, recipe.name)
    return World(replace(trained, split="heldout", size=size))


class Jury:
    """CLIP before a choice of `RIVALS` captions: a picture's own, and those that follow it in the world."""

    def __init__(self, ranker: ClipRanker, world: World, captions: int):
        count = captions + 4 * RIVALS  # enough for the last one, even where some captions come twice
        different = dict.fromkeys(world.plan(index).caption for index in range(count))
        if len(different) < RIVALS:
            raise WorldError(f"This world has too few captions to choose among: {len(different)}, not {RIVALS}.")
        self._ranker = ranker
        self._place = {caption: place for place, caption in enumerate(different)}
        self._texts = ranker.embed_texts(list(different))  # (P, E)

    def judge(self, caption: str, pictures: Sequence[Image.Image]) -> list[Judged]:
        """A tie is no find: a CLIP that cannot tell captions apart finds none."""
        choice = (self._place[caption] + torch.arange(RIVALS)) % len(self._texts)
        texts = self._texts[choice.to(self._texts.device)]  # (RIVALS, E), its own first
        scores = self._ranker.embed_images(images.to_tensor(pictures)) @ texts.T  # (B, RIVALS)
        own, others = scores[:, 0], scores[:, 1:].amax(1)
        return [Judged(s, f) for s, f in zip(own.tolist(), (own > others).tolist(), strict=True)]


@dataclass
class Codes:
    """Real pictures sent through the image tokenizer, one after the other."""

    net: ImageTokenizer
    device: torch.device
    used: set[int] = field(default_factory=set)
    quality: list[float] = field(default_factory=list)  # PSNR of each picture, dB

    def see(self, picture: Image.Image) -> None:
        real: Tensor = images.to_tensor([picture]).to(self.device)  # (1, 3, S, S)
        tokens = self.net.encode(real)
        self.used.update(tokens.unique().tolist())
        self.quality.append(psnr(self.net.decode(tokens), real).item())

    def summary(self) -> Reconstruction:
        n = len(self.quality)
        return Reconstruction(n, round(sum(self.quality) / n, 2), round(len(self.used) / self.net.vocab, 4))


def _gallery(studio: Studio, request: Request) -> tuple[Candidate, ...]:
    """What a person would get, best first."""
    *_, done = studio.generate(request)
    return done.candidates


def _trial(jury: Jury, example: Example, gallery: Sequence[Candidate]) -> Trial:
    drawn = sorted(gallery, key=lambda candidate: candidate.index)
    *judged, real = jury.judge(example.caption, [*(candidate.picture for candidate in drawn), example.picture])
    return Trial(example.family, tuple(judged), real)


def _rows(trials: Sequence[Trial]) -> tuple[Row, ...]:
    families = sorted({trial.family for trial in trials})
    parts = {family: [trial for trial in trials if trial.family == family] for family in families}
    return (Row.of("all", trials), *(Row.of(family, part) for family, part in parts.items()))


def _cells(*kinds: Quality) -> list[str]:
    return [*(f"{kind.recall:.1%}" for kind in kinds), *(f"{kind.score:.3f}" for kind in kinds)]


_PANEL = (420, 300)  # pixels


def curve_picture(report: Report) -> Image.Image:
    """Recall@1 and CLIP score of the best of the first k candidates, and the real pictures' (faint)."""
    n, real = report.captions, report.rows[0].real
    recalls = [(point.k, point.best.recall) for point in report.curve]
    scores = [(point.k, point.best.score) for point in report.curve]
    panels = (
        _panel(f"recall@1 among {report.rivals}, n = {n}", recalls, real.recall, "{:.0%}".format),
        _panel(f"CLIP score, n = {n}", scores, real.score, "{:.2f}".format),
    )
    sheet = Image.new("RGB", (sum(panel.width for panel in panels), panels[0].height))
    for i, panel in enumerate(panels):
        sheet.paste(panel, (i * panel.width, 0))
    return sheet


def _panel(title: str, best: Sequence[tuple[float, float]], real: float, say: Callable[[float], str]) -> Image.Image:
    """One curve, and a level line for the real pictures."""
    ends = [(k, real) for k, _ in (best[0], best[-1])]
    curves = [Curve(f"real {say(real)}", ends, FAINT, 1), Curve("drawn", best, say=say)]
    across = Axis({k: str(k) for k, _ in best}, math.log)
    levels = [0.0, *(value for _, value in best), real]
    return chart(title, curves, across, Axis({value: say(value) for value in (min(levels), max(levels))}), _PANEL, 90)
