"""How fast everybody draws, workload by workload, and how fast one could at best."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Self

import torch

from dalle.bench.contender import OURS, Contender, Entry
from dalle.bench.machine import Gauge, Limits
from dalle.bench.peers import PEERS
from dalle.bench.race import Pace, race
from dalle.bench.workload import LARGE, Bound, Storage, Workload
from dalle.errors import SettingError

Say = Callable[[str], object]

NOISE = 0.15  # of the spread of equal measurements, from which on the figures are not to be trusted


@dataclass(frozen=True)
class Plan:
    """What to measure, and how long."""

    grids: tuple[int, ...] = (16, 32)
    candidates: tuple[int, ...] = (1, 8, 16, 32)
    peers: bool = True
    repeats: int = 5
    stretches: int = 4
    steps: int = 8
    stint: int = 1  # steps between two looks at the clock

    def workloads(self, shape: Workload) -> list[Workload]:
        return [replace(shape, grid=grid, candidates=n) for grid, n in product(self.grids, self.candidates)]


def usual(device: str) -> tuple[Plan, Workload]:
    """What is measured unless something else is asked for: on a GPU, a model of a size that is made for one.

    Raises SettingError for other devices.
    """
    kind = torch.device(device).type
    if kind == "cpu":
        return Plan(), Workload()
    if kind != "cuda":
        raise SettingError(f"Speed is not measured on '{device}'. Try 'cpu' or 'cuda'.")
    return Plan(grids=(32,), candidates=(16, 64), steps=64, stint=16), replace(LARGE, device=device)


@dataclass(frozen=True)
class Line:
    """One contender at one workload."""

    name: str
    tokens_per_second: float  # of all candidates together
    seconds: float  # for all image tokens, at this pace
    spread: float  # (slowest - fastest) / median of the repeats
    repeats: int  # fewer than planned for the very slow ones
    of_limit: float  # the least time of a step for what it stores, as a share of the time that it takes

    @classmethod
    def of(cls, name: str, storage: Storage, pace: Pace, work: Workload, limits: Limits) -> Self:
        bound = Bound.of(work, limits, storage)
        return cls(
            name,
            tokens_per_second=work.candidates / pace.median,
            seconds=pace.median * work.steps,
            spread=pace.spread,
            repeats=pace.rounds,
            of_limit=bound.step / pace.median,
        )


@dataclass(frozen=True)
class Heat:
    """One workload, all contenders."""

    workload: Workload
    bound: Bound  # of a step with everything in the workload's type
    limit: float  # tokens per second that it implies
    lines: tuple[Line, ...]
    absent: dict[str, str]  # who is not here, and why

    def table(self) -> str:
        work, bound = self.workload, self.bound
        title = (
            f"{work.grid}×{work.grid} tokens, {work.candidates} candidates:"
            f" at most {self.limit:.0f} tokens/s in {work.dtype}, as"
            f" a step reads for {bound.reading * 1e3:.1f} ms and calculates for {bound.arithmetic * 1e3:.1f} ms"
        )
        rows = [
            f"  {line.name:32}{line.tokens_per_second:9.1f}{line.seconds:10.2f}{line.spread:8.0%}{line.of_limit:10.0%}"
            f"{line.tokens_per_second / self.lines[0].tokens_per_second:9.2f}×"
            for line in self.lines
        ]
        head = f"  {'':32}{'tokens/s':>9}{'seconds':>10}{'spread':>8}{'of limit':>10}{'ratio':>10}"
        gone = [f"  {name:32}absent: {reason}" for name, reason in self.absent.items()]
        return "\n".join([title, head, *rows, *gone])


@dataclass(frozen=True)
class Speed:
    """All workloads."""

    limits: Limits
    noise: float  # the median spread of equal measurements
    noisy: bool  # whether that is too much
    heats: tuple[Heat, ...]

    def table(self) -> str:
        limits = self.limits
        lines = [
            f"limits: {limits.gemm / 1e9:.0f} GFLOP/s in a large product, {limits.bandwidth / 1e9:.1f} GB/s read",
            *(f"\n{heat.table()}" for heat in self.heats),
            f"\nequal measurements lie {self.noise:.0%} apart (median)",
        ]
        if self.noisy:
            lines.append("The machine was too noisy: repeat this when it is idle, and trust no figure above.")
        return "\n".join(lines)


def measure(plan: Plan, shape: Workload | None = None, gauge: Gauge | None = None, say: Say = print) -> Speed:
    """Run the plan; `shape` gives the sizes that the plan leaves open. `say` hears what is being measured."""
    shape = shape or Workload()
    gauge = gauge or Gauge.of(shape.device, shape.numbers)
    entries = [entry for entry in (*OURS, *(PEERS if plan.peers else ())) if entry.runs(shape)]
    gauge.read()  # the first one warms up
    readings, raced = [gauge.read()], []
    for work in plan.workloads(shape):
        say(f"{work.grid}×{work.grid} tokens, {work.candidates} candidates")
        raced.append(_race(entries, work, plan))
        readings.append(gauge.read())
    limits = Limits.best(readings)
    spreads = [pace.spread for race in raced for pace in race.paces.values() if pace.rounds > 1]
    noise = statistics.median(spreads or [0.0])
    return Speed(limits, noise, noise > NOISE, tuple(race.heat(limits) for race in raced))


@dataclass(frozen=True)
class _Race:
    """A workload, run and not yet compared with the limits."""

    work: Workload
    paces: dict[str, Pace]
    storage: dict[str, Storage]
    absent: dict[str, str]

    def heat(self, limits: Limits) -> Heat:
        bound = Bound.of(self.work, limits, self.work.storage)
        lines = [Line.of(name, self.storage[name], pace, self.work, limits) for name, pace in self.paces.items()]
        return Heat(self.work, bound, self.work.candidates / bound.step, tuple(lines), self.absent)


def _race(entries: Sequence[Entry], work: Workload, plan: Plan) -> _Race:
    contenders: dict[str, Contender] = {}
    absent = {}
    for entry in entries:
        try:
            contenders[entry.name] = entry.build(work)
        except ImportError as error:
            absent[entry.name] = str(error)
    paces = race(contenders, work.steps, plan.repeats, plan.stretches, plan.steps, plan.stint)
    return _Race(work, paces, {name: contender.storage for name, contender in contenders.items()}, absent)
