"""DALLE-pytorch at our shape: as it comes, where every step reads the whole picture again, and with its cache.

It passes its cache on only under guidance; here it gets one without. Reading and writing pixels is not measured, and
the packages that it imports for that no longer install beside a current PyTorch: empty ones stand for them.
"""

import sys
from collections.abc import Iterator
from functools import partial
from unittest.mock import MagicMock, patch

import torch
from torch import Tensor

from dalle._torchvision import ensure_operators
from dalle.bench.contender import Entry, sample
from dalle.bench.workload import FLOAT32, Workload

UNUSED = ("taming", "taming.models", "taming.models.vqgan", "youtokentome", "omegaconf", "requests")


class DallePytorch:
    storage = FLOAT32

    def __init__(self, cached: bool, work: Workload):
        self.cached, self.work = cached, work
        ensure_operators()
        with patch.dict(sys.modules, {name: MagicMock() for name in UNUSED}):
            from dalle_pytorch import DALLE, DiscreteVAE
        vae = DiscreteVAE(image_size=2 * work.grid, num_layers=1, num_tokens=work.codebook, hidden_dim=1)
        self.model = DALLE(
            dim=work.width,
            vae=vae,
            num_text_tokens=work.text_vocab,
            text_seq_len=work.text_len,
            depth=work.depth,
            heads=work.heads,
            dim_head=work.width // work.heads,
            shift_tokens=False,  # left out, as our own step has none here: fewer operators
            rotary_emb=False,
        ).eval()

    @torch.inference_mode()
    def draw(self, known: int) -> Iterator[Tensor]:
        n = self.work.candidates
        text = torch.ones(n, self.work.text_len, dtype=torch.long)
        image = torch.zeros(n, known + 1, dtype=torch.long)
        cache: dict | None = None
        if self.cached:
            cache = {}
            self.model(text[:1], image[:1, :known], cache=cache)
            cache = {key: _repeat(value, n) for key, value in cache.items()}
        while True:
            logits = self.model(text, image, cache=cache)[:, -1]  # (n, text and image codes)
            tokens = sample(logits, self.work) - self.model.num_text_tokens
            image = torch.cat([image, tokens[:, None]], dim=1)
            yield tokens


def _repeat(value, n: int):
    """Keys and values of one sequence -> those of n; the position stays."""
    return tuple(part.repeat_interleave(n, 0) for part in value) if isinstance(value, tuple) else value


def _entry(name: str, cached: bool) -> Entry:
    return Entry(name, partial(DallePytorch, cached), "dalle-pytorch")


ENTRIES = (_entry("DALLE-pytorch, cache repaired", True), _entry("DALLE-pytorch, as it comes", False))
