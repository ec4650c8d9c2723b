"""What a model was measured to draw: figures that lie beside its weights.

`evaluate` asks a judge whether what the caption says is in the picture; `evaluate --by clip` asks whether CLIP finds
the caption again among others, which is easier to please and knows every kind of caption.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

BY_CLIP, BY_JUDGE = "evaluation.json", "judged/judged.json"  # below a model's folder
GALLERY = 16  # candidates of which CLIP's favorite is what the judge's tables show


@dataclass(frozen=True)
class Figure:
    """One kind of caption; shares of pictures that are right."""

    kind: str
    family: str  # of the world
    ranked: float  # the favorites of CLIP
    random: float  # any sample
    real: float  # true pictures

    @property
    def share(self) -> float:
        """Of what real pictures reach, at most all."""
        return min(1.0, self.ranked / max(self.real, 1e-6))


@dataclass(frozen=True)
class Figures:
    """What one of the two found. `among`: of how many captions CLIP had to find the right one; 0 for the judge."""

    rows: tuple[Figure, ...]
    samples: int  # pictures of which the favorite was taken
    among: int = 0


def gallery(samples: int) -> int:
    """How many of so many samples are ranked together for the tables and the sheets."""
    return min(samples, GALLERY)


def by_judge(place: Path | None) -> Figures | None:
    """The first figure of every topic; None where there is no report that can be read."""
    return _read(place, BY_JUDGE, _judged)


def by_clip(place: Path | None) -> Figures | None:
    """None where there is no report that can be read."""
    return _read(place, BY_CLIP, _recalled)


def scores(place: Path | None) -> Mapping[str, float] | None:
    """Of each family of captions, how often a model's pictures are right, as a share of real pictures: by the judge
    where it knows the family, else by CLIP. None where nothing was measured.
    """
    clip, judge = by_clip(place), by_judge(place)
    if clip is None and judge is None:
        return None
    return {**_by_family(clip), **_by_family(judge)}


def _by_family(figures: Figures | None) -> dict[str, float]:
    rows = figures.rows if figures else ()
    return {family: mean(row.share for row in rows if row.family == family) for family in {r.family for r in rows}}


def _judged(told: Mapping[str, Any]) -> Figures:
    first: dict[str, Figure] = {}
    for row in told["rows"]:
        figure = Figure(row["topic"], row["family"], row["ranked"], row["random"], row["real"])
        first.setdefault(figure.kind, figure)
    return Figures(tuple(first.values()), gallery(told["samples"]))


def _recalled(told: Mapping[str, Any]) -> Figures:
    rows = (
        Figure(
            row["family"].replace("_", " "), row["family"], *(row[k]["recall"] for k in ("ranked", "random", "real"))
        )
        for row in told["rows"]
    )
    return Figures(tuple(rows), told["samples"], told["rivals"])


def _read(place: Path | None, name: str, parse: Any) -> Figures | None:
    path = place and place / name
    if not path or not path.is_file():
        return None
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (AttributeError, KeyError, TypeError, ValueError):  # the figures of some other program
        return None
