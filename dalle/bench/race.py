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

PATIENCE = 1.0  # seconds that a stretch should take: the slow ones take fewer steps
ENOUGH = 20.0  # seconds in a round, after which the very slow ones sit out the rest


@dataclass(frozen=True)
class Pace:
    """Seconds for an average step, over the rounds that were measured."""

    rounds: int
    median: float
    spread: float  # (slowest - fastest) / median

    @classmethod
    def of(cls, rounds: list[float]) -> Self:
        middle = statistics.median(rounds)
        return cls(len(rounds), middle, (max(rounds) - min(rounds)) / middle)


def race(
    contenders: Mapping[str, Contender], length: int, rounds: int, stretches: int, steps: int, stint: int = 1
) -> dict[str, Pace]:
    """How fast each draws a picture of `length` tokens; every round measures `stretches` times `steps` of them.

    The clock is looked at after every `stint` of them: a GPU would have to be waited for.
    """
    paces: dict[str, list[float]] = defaultdict(list)
    running = dict(contenders)
    for _ in range(rounds):
        spent: dict[str, float] = defaultdict(float)
        means: dict[str, list[float]] = defaultdict(list)
        for known in _starts(length, stretches, steps):
            for name, contender in running.items():
                measured = _stretch(contender, known, steps, stint)
                means[name].append(statistics.median(measured))
                spent[name] += stint * sum(measured)
        for name, values in means.items():
            paces[name].append(statistics.mean(values))
        running = {name: contender for name, contender in running.items() if spent[name] < ENOUGH}
    return {name: Pace.of(measured) for name, measured in paces.items()}


def _starts(length: int, stretches: int, steps: int) -> list[int]:
    """First tokens of stretches that lie in the middles of equal parts of the picture."""
    middles = [length * (2 * part + 1) // (2 * stretches) for part in range(stretches)]
    return [max(0, min(middle - steps // 2, length - steps - 2)) for middle in middles]


def _stretch(contender: Contender, known: int, steps: int, stint: int) -> list[float]:
    """Seconds for a step, from each of the stints that patience allows."""
    drawing = iter(contender.draw(known))
    next(drawing)  # reads what is known
    first = seconds(lambda: next(drawing))  # pays for what is made only once, so it counts only if it has to
    measured: list[float] = [first] if first > PATIENCE else []
    while len(measured) < steps // stint and stint * sum(measured) < PATIENCE:
        measured.append(seconds(lambda: [next(drawing) for _ in range(stint)]) / stint)
    return measured
