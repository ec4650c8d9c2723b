"""The figures of an examination, as a table and as a curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from dalle import config
from dalle.judging import sheets
from dalle.worlds.fonts import text_font


@dataclass(frozen=True)
class Row:
    """One aspect of one topic; shares of pictures that are right."""

    topic: str
    aspect: str
    captions: int  # n, behind each of the shares
    aim: float | None  # for the best of 16
    random: float  # any sample: the mean over all
    ranked: float  # the first of the gallery
    real: float  # the world's own picture: how well the judge sees
    decoded: float  # that picture after the image tokenizer: the most that a model can reach


@dataclass(frozen=True)
class BestOf:
    """A point of the curve: CLIP's favorite among k candidates."""

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
        heads = ["held-out captions", "right", "n", "random", f"best of {self.samples}", "aim"]
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
            _percent(report.curve[-1].mean),
            *(_percent(row.ranked) for row in report.figures),
        ]
        for name, report in reports.items()
    ]
    samples = next(iter(reports.values())).samples
    return markdown(["setting", "random", f"best of {samples}", *topics], rows, texts=1)


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


_SIZE, _LEFT, _TOP, _BOTTOM, _RIGHT = (840, 420), 56, 48, 48, 240  # pixels
_INK, _PALE, _LINE = (40, 40, 46), (206, 206, 212), (38, 70, 200)


def curve_picture(report: Report) -> Image.Image:
    """The share of right pictures against how many CLIP chose from: the mean over topics, and each topic (pale)."""
    sheet = Image.new("RGB", _SIZE, "white")
    draw, font = ImageDraw.Draw(sheet), text_font("sans", 13)
    width, height = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM
    across = [_LEFT + width * i / max(1, len(report.curve) - 1) for i in range(len(report.curve))]

    def level(share: float) -> float:
        return _TOP + height * (1 - share)

    draw.text((_LEFT, 14), f"right by the judge, best of N by CLIP ({report.model})", _INK, font)
    for share in (0, 0.25, 0.5, 0.75, 1):
        draw.line((_LEFT, level(share), _LEFT + width, level(share)), _PALE)
        draw.text((_LEFT - 8, level(share)), f"{share:.0%}", _INK, font, anchor="rm")
    names = sorted(report.curve[-1].topics.items(), key=lambda item: -item[1])
    heights = _spread([level(last) for _, last in names], level(0))
    for (topic, _), y in zip(names, heights, strict=True):
        draw.line([(x, level(p.topics[topic])) for x, p in zip(across, report.curve, strict=True)], (150, 160, 200), 1)
        draw.text((_LEFT + width + 10, y), topic, (110, 116, 140), font, anchor="lm")
    draw.line([(x, level(p.mean)) for x, p in zip(across, report.curve, strict=True)], _LINE, 3)
    for x, point in zip(across, report.curve, strict=True):
        draw.text((x, level(point.mean) - 10), _percent(point.mean), _LINE, font, anchor="ms")
        draw.text((x, _SIZE[1] - _BOTTOM + 10), str(point.k), _INK, font, anchor="mt")
    return sheet


def _spread(heights: Sequence[float], bottom: float, gap: float = 15) -> list[float]:
    """Rising heights of names, moved apart and kept above `bottom`."""
    apart: list[float] = []
    for height in heights:
        apart.append(max(height, apart[-1] + gap) if apart else height)
    return [min(height, bottom - gap * left) for height, left in zip(apart, reversed(range(len(apart))), strict=True)]
