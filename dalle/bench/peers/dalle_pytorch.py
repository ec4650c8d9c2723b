"""DALLE-pytorch at our shape: as it comes, where every step reads the whole picture again, and with its cache.

It passes its cache on only under guidance; here it gets one without. Reading and writing pixels is not measured, and
the packages that it imports for that no longer install beside a current PyTorch: empty ones stand for them.
"""

import sys
from functools import partial
from unittest.mock import MagicMock, patch

import torch

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
    def begin(self, known: int) -> None:
        n = self.work.candidates
        self.text = torch.ones(n, self.work.text_len, dtype=torch.long)
        self.image = torch.zeros(n, known, dtype=torch.long)
        self.cache: dict | None = None
        if self.cached:
            self.cache = {}
            self.model(self.text[:1], self.image[:1], cache=self.cache)
            self.cache = {key: _repeat(value, n) for key, value in self.cache.items()}
            self.image = torch.cat([self.image, torch.zeros(n, 1, dtype=torch.long)], dim=1)

    @torch.inference_mode()
    def step(self) -> None:
        logits = self.model(self.text, self.image, cache=self.cache)[:, -1]  # (n, text and image codes)
        tokens = sample(logits, self.work) - self.model.num_text_tokens
        self.image = torch.cat([self.image, tokens[:, None]], dim=1)


def _repeat(value, n: int):
    """Keys and values of one sequence -> those of n; the position stays."""
    return tuple(part.repeat_interleave(n, 0) for part in value) if isinstance(value, tuple) else value


def _entry(name: str, cached: bool) -> Entry:
    return Entry(name, partial(DallePytorch, cached), "dalle-pytorch")


ENTRIES = (_entry("DALLE-pytorch, cache repaired", True), _entry("DALLE-pytorch, as it comes", False))
