"""What the training stages share: resumable state, schedules, a moving average of the weights, and curves."""

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dalle import config
from dalle.errors import TrainingError

SAVE_EVERY = 120.0  # seconds between two checkpoints


N = TypeVar("N", bound=nn.Module)
P = TypeVar("P", bound=nn.Module | Tensor)


class Average(Generic[N]):
    """An exponential moving average of a net's weights; it forgets faster while it is young.

    What normalisations count is no weight: it is taken over as it stands.
    """

    def __init__(self, net: N, decay: float):
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    def restart(self, net: nn.Module) -> None:
        """Forget the past."""
        self.net.load_state_dict(net.state_dict())
        self.updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        ours, theirs = [p.detach() for p in self.net.parameters()], [p.detach() for p in net.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        for counted, current in zip(self.net.buffers(), net.buffers(), strict=True):
            counted.copy_(current)


@torch.no_grad()
def blend(net: N, other: N, share: float) -> N:
    """A net with the weighted mean of the weights of two, `share` of the first (Wortsman et al. 2022)."""
    mean = copy.deepcopy(net)
    for ours, theirs in zip(mean.parameters(), other.parameters(), strict=True):
        ours.lerp_(theirs, 1 - share)
    return mean


class Means:
    """Means of figures over the steps since they were last asked for; nothing is read from the device before."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
        self._count += 1

    def take(self) -> dict[str, Tensor]:
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return means


class Run:
    """One stage in one folder: where it stands, what it measured, when it has to stop.

    Everything registered in `parts` (anything with `state_dict`) is saved to `NAME.last.pt` and comes back when
    the stage is started again. The curve goes to `NAME_metrics.json` and, where it is installed, to TensorBoard.
    """

    def __init__(self, name: str, out: Path, steps: int, minutes: float | None, parts: dict[str, Any]):
        out.mkdir(parents=True, exist_ok=True)
        self.name, self.out, self.steps, self.parts = name, out, steps, parts
        self.step = 0
        self.seconds = 0.0  # of training, all sittings together
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.curve: list[dict[str, float]] = []
        self.summary: dict[str, Any] = {}
        self._board = _board(out / "curves" / name)
        self._resume()

    @property
    def finished(self) -> bool:
        return self.step >= self.steps

    @property
    def share(self) -> float:
        """How much of the schedule is behind us, in [0, 1]."""
        return min(1.0, self.step / self.steps)

    def __iter__(self) -> Iterator[int]:
        """The steps still to do in this sitting; saves itself now and then, and at the end."""
        last_save = started = time.monotonic()
        before = self.seconds
        bar = tqdm(total=self.steps, initial=self.step, desc=self.name, mininterval=5)
        while not self.finished and (self.deadline is None or time.monotonic() < self.deadline):
            yield self.step
            self.step += 1
            bar.update()
            self.seconds = before + time.monotonic() - started
            if time.monotonic() - last_save > SAVE_EVERY:
                self.save()
                last_save = time.monotonic()
        bar.close()
        self.save()

    def log(self, **values: float | Tensor) -> None:
        """A point of the curve; tensors are read, so call it seldom."""
        point = {name: round(torch.as_tensor(value).item(), 5) for name, value in values.items()}
        self.curve.append({"step": self.step, "seconds": round(self.seconds, 1), **point})
        tqdm.write(f"{self.name} {self.step}: " + ", ".join(f"{k} {v:.4g}" for k, v in point.items()))
        if self._board is not None:
            for name, value in point.items():
                self._board.add_scalar(name, value, self.step)

    def save(self) -> None:
        """Write the state first to a side file, so that an interruption leaves the older one whole."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["run"] = {"step": self.step, "seconds": self.seconds, "curve": self.curve}
        side = self.out / f"{self.name}.part.pt"
        torch.save(state, side)
        side.replace(self.out / f"{self.name}.last.pt")
        record = {"steps": self.step, "seconds": round(self.seconds, 1), **self.summary, "curve": self.curve}
        config.save(record, self.out / f"{self.name}_metrics.json")

    def _resume(self) -> None:
        path = self.out / f"{self.name}.last.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except Exception as error:  # torch raises half a dozen kinds here
            raise TrainingError(f"{path.name} belongs to another recipe; use a fresh --out folder.") from error
        run = state["run"]
        self.step, self.seconds, self.curve = run["step"], run["seconds"], run["curve"]


def load(net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a net the weights of an earlier one. Raises TrainingError where they are not of this kind."""
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise TrainingError("The model to start from has nets of other sizes than this recipe.") from error


def cosine(share: float, warmup: float = 0.02, floor: float = 0.05) -> float:
    """The learning rate's factor: a linear rise over `warmup` of the schedule, then half a cosine to `floor`."""
    if share < warmup:
        return (share + 1e-3) / warmup
    done = (share - warmup) / (1 - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's rate by `factor` of the one that it was made with."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision: "bf16", where the device can, or "fp32"."""
    if not halves(device, precision):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def halves(device: torch.device, precision: str) -> bool:
    """Whether to multiply in half precision: a CPU without instructions for it takes three times as long so."""
    if device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        return False
    return precision == "bf16"


def place(thing: P, device: torch.device) -> P:
    """A net or a batch of pictures on the device, in the memory layout that convolutions are fastest in."""
    return thing.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, return-value]


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of pictures in [0, 1], in decibels: (B, 3, H, W) twice -> (B,)."""
    error = (a.float() - b.float()).square().flatten(1).mean(1).clamp_min(1e-10)
    return -10 * torch.log10(error)


def _board(directory: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # TensorBoard is a convenience; the JSON curve is always written
        return None
    return SummaryWriter(str(directory))
