"""Whoever draws tokens: our own steps and other programs, behind one protocol."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from dalle import sampling
from dalle.bench.workload import Storage, Workload
from dalle.contracts import TokenModel
from dalle.native import NativeDecoder
from dalle.native.library import BuildError
from dalle.nn.graphed import Graphed
from dalle.nn.prepacked import Prepacked, can_prepack


class Contender(Protocol):
    """One program at one workload."""

    storage: Storage

    def draw(self, known: int) -> Iterator[object]:
        """Read the sentence and `known` image tokens, then draw a token of every candidate whenever one is asked for.

        What it remembers of them is gone with the iterator.
        """


@dataclass(frozen=True)
class Entry:
    """One line of the table."""

    name: str
    build: Callable[[Workload], Contender]  # raises ImportError where something that it needs is absent
    package: str = "torch"  # whose version the report names
    devices: tuple[str, ...] = ("cpu",)  # kinds of devices that it runs on

    def runs(self, work: Workload) -> bool:
        """Whether it runs on the device of a workload."""
        return torch.device(work.device).type in self.devices


class Ours:
    """This program's sampler, around any of its steps."""

    def __init__(self, model: TokenModel, work: Workload, storage: Storage | None = None):
        self.model, self.work, self.storage = model, work, storage or work.storage

    def draw(self, known: int) -> Iterator[Tensor]:
        kept = torch.full((self.work.steps,), -1)
        kept[:known] = 0
        text = torch.zeros(self.work.text_len, dtype=torch.long, device=self.work.device)
        candidates = range(self.work.candidates)
        return sampling.draw(self.model, text, None, 0, candidates, self.work.options, kept)


def sample(logits: Tensor, work: Workload) -> Tensor:
    """(n, V) -> (n,) by our own sampler, for programs that leave this to the caller."""
    return sampling.choose(
        *sampling.filter_logits(logits, work.options), torch.full((len(logits),), 0.5, device=logits.device)
    )


def _plain(work: Workload) -> Contender:
    return Ours(work.transformer(), work)


def _graphed(together: bool, work: Workload) -> Contender:
    model = Graphed(work.transformer(), lanes=work.candidates if together else None)
    try:
        model.prepare(model.lanes)
    except RuntimeError as error:
        raise ImportError(f"this device records no step: {error}") from error
    return Ours(model, work)


def _prepacked(work: Workload) -> Contender:
    net = work.transformer()
    if not can_prepack(net):
        raise ImportError("this PyTorch cannot prepack weights")
    return Ours(Prepacked(net), work)


def _native(dtype: torch.dtype, work: Workload) -> Contender:
    try:
        return Ours(NativeDecoder(work.transformer(), dtype), work, Storage(dtype.itemsize, dtype.itemsize))
    except BuildError as error:
        raise ImportError(str(error)) from error


OURS = (
    Entry("PyTorch", _plain, devices=("cpu", "cuda")),
    Entry("PyTorch, recorded", partial(_graphed, False), devices=("cuda",)),
    Entry("PyTorch, recorded, all at once", partial(_graphed, True), devices=("cuda",)),
    Entry("PyTorch, prepacked", _prepacked),
    Entry("compiled, float32", partial(_native, torch.float32)),
    Entry("compiled, float16", partial(_native, torch.float16)),
)
