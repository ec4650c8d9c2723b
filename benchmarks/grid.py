"""16×16 or 32×32 tokens for one picture of 256×256 pixels? What each costs here, with the embedded model's widths.

Run it as `python -m benchmarks.grid`; it prints JSON. The weights are random, as speed asks for no more. Both grids
are timed in turn, in one process, several times over: compare the ratios, and not the seconds with another machine's.
"""

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from dalle import config, sampling
from dalle.contracts import SamplingOptions
from dalle.nn.dvae import DVAE, DVAEConfig
from dalle.nn.transformer import Transformer, TransformerConfig

MODEL = Path(__file__).resolve().parents[1] / "assets" / "emoji"
CANDIDATES, ROUNDS, BATCH = 8, 3, 4


def main() -> None:
    sizes = config.load(TransformerConfig, MODEL / "transformer.json")
    codes = config.load(DVAEConfig, MODEL / "dvae.json")
    grids = {
        "16x16": (replace(sizes, grid=(16, 16)), replace(codes, stem=2)),
        "32x32": (replace(sizes, grid=(32, 32)), replace(codes, stem=1)),
    }
    nets = {name: (Transformer(a).eval(), DVAE(b).eval()) for name, (a, b) in grids.items()}
    figures: dict[str, dict[str, list[float]]] = {name: {"draw": [], "decode": [], "learn": []} for name in nets}
    for _ in range(ROUNDS):
        for name, (transformer, dvae) in nets.items():
            figures[name]["draw"].append(_timed(lambda net=transformer: _draw(net)))
            figures[name]["decode"].append(_timed(lambda net=dvae: _decode(net)))
            figures[name]["learn"].append(_timed(lambda net=transformer: _learn(net)) / BATCH)
    medians = {n: {part: round(statistics.median(s), 3) for part, s in f.items()} for n, f in figures.items()}
    ratios = {part: round(medians["32x32"][part] / medians["16x16"][part], 2) for part in medians["16x16"]}
    print(json.dumps({"threads": torch.get_num_threads(), "seconds": medians, "32x32 / 16x16": ratios}, indent=2))


def _timed(work) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _draw(net: Transformer) -> None:
    """All tokens of `CANDIDATES` pictures of one sentence, with guidance."""
    size = net.config.image_len
    text = torch.zeros(net.config.text_len, dtype=torch.long)
    options, free = SamplingOptions(guidance=2.0, top_k=128), torch.full((size,), -1)
    for _ in sampling.draw(net, text, text, 0, range(CANDIDATES), options, free):
        pass


def _decode(net: DVAE) -> None:
    net.decode(torch.zeros(CANDIDATES, *net.grid, dtype=torch.long))


def _learn(net: Transformer) -> None:
    """The gradient of one small batch."""
    text = torch.zeros(BATCH, net.config.text_len, dtype=torch.long)
    image = torch.zeros(BATCH, net.config.image_len, dtype=torch.long)
    net(text, image, return_loss=True).total.backward()  # type: ignore[union-attr]
    net.zero_grad(set_to_none=True)


if __name__ == "__main__":
    main()
