"""How much faster the transformer learns on a CPU with attention as plain products, compiled, than with the kernel.

Run it as `python -m benchmarks.learning`; it prints JSON. Loss and gradient of one batch of the embedded model's sizes,
in bfloat16, both ways in turn in one process.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from dalle import config
from dalle.nn import attention
from dalle.nn.transformer import Transformer, TransformerConfig

MODEL = Path(__file__).resolve().parents[1] / "assets" / "emoji"
BATCH, ROUNDS = 16, 12


def main() -> None:
    sizes = config.load(TransformerConfig, MODEL / "transformer.json")
    net = Transformer(sizes)
    text = torch.randint(sizes.text_vocab, (BATCH, sizes.text_len))
    image = torch.randint(sizes.image_vocab, (BATCH, sizes.image_len))
    compiled = torch.compile(net.forward)
    ways = {"plain products": attention._attend, "kernel": _by_kernel}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + ROUNDS):  # the first round compiles
        for name, attend in ways.items():
            with mock.patch.object(attention, "_attend", attend):
                seconds[name].append(_timed(net, compiled, text, image))
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    ratio = round(medians["kernel"] / medians["plain products"], 2)
    print(json.dumps({"threads": torch.get_num_threads(), "times as fast": ratio}))


def _timed(net: Transformer, forward: Callable[..., Any], text: Tensor, image: Tensor) -> float:
    """Seconds for one gradient."""
    net.zero_grad(set_to_none=True)
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        loss = forward(text, image, return_loss=True).total
    loss.backward()
    return time.perf_counter() - start


def _by_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)


if __name__ == "__main__":
    main()
