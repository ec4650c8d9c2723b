"""The figures of an examination, as a table and as a curve."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from dalle import config
from dalle.chart import FAINT, Axis, Curve, chart
from dalle.judging import sheets
from dalle.measured import gallery


@dataclass(frozen=True)
class Row:
    """One aspect of one topic; shares of pictures that are right."""

    topic: str
    family: str  # of the world
    aspect: str
    captions: int  # n, behind each of the shares
    aim: float | None  # for the best of a gallery
    random: float  # any sample: the mean over all
    ranked: float  # the favorite of a gallery: the mean over all galleries
    real: float  # the world's own picture: how well the judge sees
    decoded: float  # that picture after the image tokenizer: the most that a model can reach


@dataclass(frozen=True)
class BestOf:
    """A point of the curve: the favorite among k candidates."""

    k: int
    mean: float  # over topics
    topics: Mapping[str, float]


@dataclass(frozen=True)
class Panels:
    """Image to image: how many decibels the drawn bottom half is behind the image tokenizer's own (medians)."""

    captions: int
    decoded: float  # PSNR of the tokenizer's reconstruction of the true bottom half, dB
    random: float  # dB behind it
    ranked: float
    aim: float = 3.0


@dataclass(frozen=True)
class Report:
    """All that was found, and with which settings."""

    model: str
    fingerprint: str
    settings: dict[str, Any]
    samples: int
    seconds: float
    rows: tuple[Row, ...]
    curve: tuple[BestOf, ...]
    panels: Panels | None

    @property
    def figures(self) -> list[Row]:
        """The first aspect of each topic."""
        first: dict[str, Row] = {}
        for row in self.rows:
            first.setdefault(row.topic, row)
        return list(first.values())

    def table(self) -> str:
        """Markdown that can be read as it is."""
        heads = ["held-out captions", "right", "n", "random", f"best of {gallery(self.samples)}", "aim"]
        heads += ["ceiling: real", "through the VAE"]
        rows = [
            [
                row.topic,
                row.aspect,
                str(row.captions),
                *map(_percent, (row.random, row.ranked, row.aim, row.real, row.decoded)),
            ]
            for row in self.rows
        ]
        points = [[str(point.k), _percent(point.mean)] for point in self.curve]
        parts = [
            f"{self.model}, judged in {self.seconds:.0f} s with {_settings(self.settings)}",
            markdown(heads, rows, texts=2),
            markdown(["best of", "right, mean over topics"], points, texts=0),
        ]
        if self.panels:
            p = self.panels
            parts.append(
                f"Image to image, glyphs never seen (n = {p.captions}): the bottom half is {p.ranked:.1f} dB (median) "
                f"behind the VAE's own {p.decoded:.1f} dB, a random one {p.random:.1f} dB; aim {p.aim:.0f} dB"
            )
        return "\n\n".join(parts)


def comparison(reports: Mapping[str, Report]) -> str:
    """Several reports side by side: a row for each setting, a column for each topic. Markdown."""
    topics = [row.topic for row in next(iter(reports.values())).figures]
    rows = [
        [
            name,
            _percent(report.curve[0].mean),
            *(_percent(point.mean) for point in report.curve if point.k == gallery(report.samples)),
            *(_percent(row.ranked) for row in report.figures),
        ]
        for name, report in reports.items()
    ]
    size = gallery(next(iter(reports.values())).samples)
    return markdown(["setting", "random", f"best of {size}", *topics], rows, texts=1)


def doubling(samples: int) -> list[int]:
    """1, 2, 4 and so on, and all."""
    return [*(2**e for e in range(samples.bit_length()) if 2**e < samples), samples]


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """A table whose columns line up, the first `texts` to the left, figures to the right."""
    widths = [max(2, *map(len, column)) for column in zip(heads, *rows, strict=True)]  # a rule is at least "-:"
    rule = ["-" * width if i < texts else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = [
        [cell.ljust(w) if i < texts else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))]
        for cells in (heads, rule, *rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in settings.items())


def save(report: Report, folder: Path) -> None:
    """`judged.json`, the curve `judged.png`, and a `README.md` that shows both and the contact sheets of the folder."""
    config.save(report, folder / "judged.json")
    curve_picture(report).save(folder / "judged.png")
    (folder / "README.md").write_text(_page(report, folder), encoding="utf-8")


def _page(report: Report, folder: Path) -> str:
    """Markdown: the tables, the curve, and links to the sheets."""
    parts = [
        f"# What {report.model} draws",
        report.table(),
        "*Ceiling* is what the judge reads off the world's own picture of the caption: what is low, it reads badly.",
        f"![The best of 1 to {report.samples}](judged.png)",
        "The first held-out captions of each kind in their order, none picked by hand:",
        sheets.index(folder),
    ]
    return "\n\n".join(parts) + "\n"


def curve_picture(report: Report) -> Image.Image:
    """The share of right pictures against how many were ranked: the mean over topics, and each topic (faint)."""
    topics = [
        Curve(topic, [(point.k, point.topics[topic]) for point in report.curve], FAINT, 1)
        for topic in report.curve[-1].topics
    ]
    mean = Curve("", [(point.k, point.mean) for point in report.curve], say=_percent)
    across = Axis({point.k: str(point.k) for point in report.curve}, math.log)
    up = Axis({share: _percent(share) for share in (0, 0.25, 0.5, 0.75, 1)})
    return chart(f"right by the judge, best of N ({report.model})", [*topics, mean], across, up)
