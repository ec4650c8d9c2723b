"""GPT-2 of `transformers` at our shape, with its static and its growing cache.

A tight loop around its forward, which is kinder to it than its `generate`. Its one vocabulary has as many codes as
our image head.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dalle._torchvision import ensure_operators
from dalle.bench.contender import Entry, sample
from dalle.bench.workload import Workload


class Gpt2:
    def __init__(self, static: bool, work: Workload):
        ensure_operators()  # transformers imports torchvision where it is installed
        from transformers import GPT2Config, GPT2LMHeadModel

        self.work, self.static, self.storage = work, static, work.storage
        self.config = GPT2Config(
            vocab_size=work.codebook,
            n_positions=work.text_len + work.steps,
            n_embd=work.width,
            n_layer=work.depth,
            n_head=work.heads,
            bos_token_id=0,
            eos_token_id=0,
        )
        self.model = GPT2LMHeadModel(self.config).to(work.device, work.numbers).eval()

    @torch.inference_mode()
    def draw(self, known: int) -> Iterator[Tensor]:
        n = self.work.candidates
        cache = self._static_cache(n, known) if self.static else self._dynamic_cache(n, known)
        tokens = self._zeros(n, 1)
        while True:
            tokens = sample(self._read(tokens, cache), self.work)[:, None]
            yield tokens[:, 0]

    def _static_cache(self, n: int, known: int) -> Any:
        from transformers import StaticCache

        cache = StaticCache(config=self.config, max_cache_len=self.work.text_len + self.work.steps)
        self._read(self._zeros(n, self.work.text_len), cache)
        for layer in cache.layers:
            layer.cumulative_length.add_(known)  # its steps cost the same whatever the cache holds
        return cache

    def _dynamic_cache(self, n: int, known: int) -> Any:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.config)
        self._read(self._zeros(1, self.work.text_len + known), cache)
        cache.batch_repeat_interleave(n)
        return cache

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.long, device=self.work.device)

    def _read(self, tokens: Tensor, cache: Any) -> Tensor:
        """(B, S) tokens -> (B, V) logits of the next one."""
        return self.model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]


def _entry(name: str, static: bool) -> Entry:
    return Entry(name, partial(Gpt2, static), "transformers", ("cpu", "cuda"))


ENTRIES = (_entry("transformers, static cache", True), _entry("transformers, dynamic cache", False))
