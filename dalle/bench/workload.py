"""What is measured: drawing the image tokens of n candidates of one sentence, and the least that it can cost.

Letters: n candidates, V image codes, D channels, I = grid² image tokens, T text tokens.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from dalle.bench.machine import Limits
from dalle.contracts import SamplingOptions
from dalle.nn.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class Storage:
    """How many bytes a program keeps of each number."""

    weight: float
    cache: float  # of keys and values


FLOAT32 = Storage(4, 4)


@dataclass(frozen=True)
class Workload:
    """A decoder and how it is asked to draw; its weights are random, as speed asks for no more."""

    grid: int = 16
    candidates: int = 8  # n
    depth: int = 8
    width: int = 512  # D
    heads: int = 8
    codebook: int = 8192  # V
    text_len: int = 64  # T
    text_vocab: int = 1024
    top_k: int = 256
    device: str = "cpu"
    dtype: str = "float32"  # of weights, keys and values

    @property
    def steps(self) -> int:
        """I, as many as there are image tokens."""
        return self.grid**2

    @property
    def storage(self) -> Storage:
        """Of a program that keeps everything as `dtype`."""
        return Storage(self.numbers.itemsize, self.numbers.itemsize)

    @property
    def numbers(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    @property
    def options(self) -> SamplingOptions:
        return SamplingOptions(top_k=self.top_k)

    def config(self) -> TransformerConfig:
        return TransformerConfig(
            text_vocab=self.text_vocab,
            text_len=self.text_len,
            image_vocab=self.codebook,
            grid=(self.grid, self.grid),
            width=self.width,
            depth=self.depth,
            heads=self.heads,
        )

    def transformer(self) -> Transformer:
        """A decoder with random weights, the same at every call."""
        with torch.random.fork_rng(), torch.device(self.device):
            torch.manual_seed(0)
            net = Transformer(self.config())
            for weights in net.parameters():
                nn.init.normal_(weights, std=0.02)
        return net.to(self.numbers).eval()

    @property
    def weights(self) -> int:
        """The numbers that a step multiplies with: the matrices of the layers, and the head."""
        return self.depth * 12 * self.width**2 + self.width * self.codebook

    def bytes_read(self, storage: Storage) -> float:
        """By an average step: every weight once, the prompt's keys and values once, each candidate's own."""
        position = 2 * self.depth * self.width * storage.cache
        own = self.candidates * (self.steps + 1) / 2
        return self.weights * storage.weight + position * (self.text_len + own)

    def operations(self) -> float:
        """Additions and multiplications of an average step."""
        attended = 2 * self.depth * self.width * (self.text_len + (self.steps + 1) / 2)  # scores, weighted values
        return 2 * self.candidates * (self.weights + attended)


LARGE = Workload(grid=32, depth=24, width=2048, heads=16, device="cuda", dtype="bfloat16")  # 1.2 billion weights


@dataclass(frozen=True)
class Bound:
    """The least time of a step: reading and arithmetic can overlap, so it is the longer of the two."""

    reading: float  # seconds
    arithmetic: float  # seconds

    @classmethod
    def of(cls, work: Workload, limits: Limits, storage: Storage) -> Self:
        return cls(work.bytes_read(storage) / limits.bandwidth, work.operations() / limits.gemm)

    @property
    def step(self) -> float:
        """Seconds."""
        return max(self.reading, self.arithmetic)
