"""GPT-2 of `transformers` at our shape, with its static and its growing cache.

A tight loop around its forward, which is kinder to it than its `generate`. Its one vocabulary has as many codes as
our image head.
"""

from functools import partial

import torch
from torch import Tensor

from dalle._torchvision import ensure_operators
from dalle.bench.contender import Entry, sample
from dalle.bench.workload import FLOAT32, Workload


class Gpt2:
    storage = FLOAT32

    def __init__(self, static: bool, work: Workload):
        ensure_operators()  # transformers imports torchvision where it is installed
        from transformers import GPT2Config, GPT2LMHeadModel

        self.work, self.static = work, static
        self.config = GPT2Config(
            vocab_size=work.codebook,
            n_positions=work.text_len + work.steps,
            n_embd=work.width,
            n_layer=work.depth,
            n_head=work.heads,
            bos_token_id=0,
            eos_token_id=0,
        )
        self.model = GPT2LMHeadModel(self.config).eval()

    @torch.inference_mode()
    def begin(self, known: int) -> None:
        from transformers import DynamicCache, StaticCache

        n, text = self.work.candidates, self.work.text_len
        if self.static:
            self.cache = StaticCache(config=self.config, max_cache_len=text + self.work.steps)
            self._read(torch.zeros(n, text, dtype=torch.long))
            for layer in self.cache.layers:
                layer.cumulative_length.add_(known)  # its steps cost the same whatever the cache holds
        else:
            self.cache = DynamicCache(config=self.config)
            self._read(torch.zeros(1, text + known, dtype=torch.long))
            self.cache.batch_repeat_interleave(n)
        self.tokens = torch.zeros(n, dtype=torch.long)

    @torch.inference_mode()
    def step(self) -> None:
        self.tokens = sample(self._read(self.tokens[:, None]), self.work)

    def _read(self, tokens: Tensor) -> Tensor:
        """(B, S) tokens -> (B, V) logits of the next one."""
        return self.model(tokens, past_key_values=self.cache, use_cache=True, logits_to_keep=1).logits[:, -1]


def _entry(name: str, static: bool) -> Entry:
    return Entry(name, partial(Gpt2, static), "transformers")


ENTRIES = (_entry("transformers, static cache", True), _entry("transformers, dynamic cache", False))
