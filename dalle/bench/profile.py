"""Where the time of a step goes: the operators that cost most."""

from dataclasses import dataclass
from operator import attrgetter

import torch
from torch.profiler import ProfilerActivity, profile

from dalle.bench.contender import OURS, Contender
from dalle.bench.machine import seconds
from dalle.bench.workload import Workload

SHOWN = 12
ELSEWHERE = "Python, and code that is not PyTorch's"  # the compiled step is one call of such
IDLE = "nothing: the GPU waits"


@dataclass(frozen=True)
class Operator:
    name: str
    share: float  # of the time of the step
    milliseconds: float  # to a step, without the operators that it calls
    calls: float  # to a step


@dataclass(frozen=True)
class Profile:
    """The costliest operators of each of our own steps."""

    workload: Workload
    operators: dict[str, tuple[Operator, ...]]  # by the step's name, costliest first

    def table(self) -> str:
        blocks = [f"operators of a step, {self.workload.candidates} candidates, middle of the picture"]
        for name, operators in self.operators.items():
            rows = (f"  {o.name:40}{o.share:6.0%}{o.milliseconds:9.2f} ms{o.calls:7.0f} calls" for o in operators)
            blocks.append("\n".join([name, *rows]))
        return "\n\n".join(blocks)


def measure(work: Workload, steps: int = 8) -> Profile:
    """Profile the middle of a picture."""
    return Profile(work, {entry.name: _operators(entry.build(work), work, steps) for entry in OURS if entry.runs(work)})


def _operators(contender: Contender, work: Workload, steps: int) -> tuple[Operator, ...]:
    drawing = iter(contender.draw(work.steps // 2))
    next(drawing)
    next(drawing)
    gpu = torch.device(work.device).type == "cuda"  # there, operators are kernels
    with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as profiler:
        whole = seconds(lambda: [next(drawing) for _ in range(steps)]) / steps
    time_of = attrgetter("self_device_time_total" if gpu else "self_cpu_time_total")
    spent = [(e.key, time_of(e) / 1e6 / steps, e.count / steps) for e in profiler.key_averages()]
    spent.append((IDLE if gpu else ELSEWHERE, whole - sum(time for _, time, _ in spent), 1))
    costliest = sorted(spent, key=lambda one: -one[1])[:SHOWN]
    return tuple(Operator(name, time / whole, 1e3 * time, calls) for name, time, calls in costliest)
