"""Contenders take turns, so that whatever disturbs the machine disturbs all of them.

A picture is not drawn to its end by each: a few stretches of steps, spread over the picture, stand for the rest,
as a step's cost grows evenly with what is already drawn.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from dalle.bench.contender import Contender
from dalle.bench.machine import seconds

PATIENCE = 1.0  # seconds that a stretch may take; the slow ones stop earlier


@dataclass(frozen=True)
class Pace:
    """Seconds for an average step, over the rounds."""

    median: float
    spread: float  # (slowest - fastest) / median

    @classmethod
    def of(cls, rounds: list[float]) -> Self:
        middle = statistics.median(rounds)
        return cls(middle, (max(rounds) - min(rounds)) / middle)


def race(contenders: Mapping[str, Contender], length: int, rounds: int, stretches: int, steps: int) -> dict[str, Pace]:
    """How fast each draws a picture of `length` tokens; every round measures `stretches` times `steps` of them."""
    paces = defaultdict(list)
    for _ in range(rounds):
        totals: dict[str, list[float]] = defaultdict(list)
        for known in _starts(length, stretches, steps):
            for name, contender in contenders.items():
                totals[name].append(_stretch(contender, known, steps))
        for name, means in totals.items():
            paces[name].append(statistics.mean(means))
    return {name: Pace.of(measured) for name, measured in paces.items()}


def _starts(length: int, stretches: int, steps: int) -> list[int]:
    """First tokens of stretches that lie in the middles of equal parts of the picture."""
    middles = [length * (2 * part + 1) // (2 * stretches) for part in range(stretches)]
    return [max(0, min(middle - steps // 2, length - steps - 2)) for middle in middles]


def _stretch(contender: Contender, known: int, steps: int) -> float:
    """Seconds for one step, the mean of those that patience allows."""
    contender.begin(known)
    contender.step()  # the first one pays for what is made only once
    measured: list[float] = []
    while len(measured) < steps and sum(measured) < PATIENCE:
        measured.append(seconds(contender.step))
    return statistics.mean(measured)
