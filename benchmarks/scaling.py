"""Loss against image tokens seen, for three sizes of the transformer, or for other kinds of the middle one.

`python -m benchmarks.scaling RUN` takes the pictures, the dVAE and the text tokenizer of a training run's folder,
trains each size on the same pictures in the same order, and writes `scaling.json` and `scaling.png` beside this file.
`python -m benchmarks.scaling RUN kinds` does so with the middle size and other kinds of it, and writes `kinds.json`.
No picture is shown twice, so the training loss is the loss on pictures never seen.
"""

import json
import math
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from dalle.chart import BLUE, FAINT, Axis, Curve, chart
from dalle.errors import TrainingError
from dalle.families.native import read_dvae
from dalle.text import BpeTokenizer
from dalle.train.corpus import Corpus
from dalle.train.recipes import SMALL
from dalle.train.transformer import train_transformer

FOLDER = Path(__file__).resolve().parent
SIZES: dict[str, dict[str, Any]] = {  # width × depth
    "64 × 3": {"width": 64, "depth": 3, "heads": 1},
    "128 × 4": {"width": 128, "depth": 4, "heads": 2},
    "192 × 6": {"width": 192, "depth": 6, "heads": 3},
}
OTHERS: dict[str, dict[str, Any]] = {  # about as many weights in the layers as the middle one
    "192 × 2": {"width": 192, "depth": 2, "heads": 3},
    "96 × 8": {"width": 96, "depth": 8, "heads": 3},
}
KINDS: dict[str, dict[str, Any]] = {
    "128 × 4": SIZES["128 × 4"],
    "128 × 4, no token shift": {**SIZES["128 × 4"], "shift": False},
    "128 × 4, rows and columns": {**SIZES["128 × 4"], "patterns": ("row", "column", "row", "window11")},
}
STEPS = 400
_INKS = (FAINT, (90, 110, 200), BLUE)


def main(source: Path, kinds: bool = False) -> None:
    if kinds:
        race(source, KINDS, FOLDER / "kinds.json")
    else:
        learnt = race(source, {**SIZES, **OTHERS}, FOLDER / "scaling.json")
        plot({name: learnt[name] for name in SIZES}).quantize(64).save(FOLDER / "scaling.png", optimize=True)


def race(source: Path, nets: dict[str, dict[str, Any]], file: Path) -> dict[str, Any]:
    """What each net learns of the same pictures; written after every net."""
    learnt: dict[str, Any] = {}
    for name, sizes in nets.items():
        learnt[name] = learn(source, sizes)
        record = {"date": time.strftime("%Y-%m-%d"), "batch": SMALL.transformer.batch, "steps": STEPS, "nets": learnt}
        file.write_text(json.dumps(record, indent=2) + "\n")
    return learnt


def learn(source: Path, sizes: dict[str, Any]) -> dict[str, Any]:
    """Parameters, seconds, loss on held-out captions in nats to an image token, and [tokens, loss] along the way."""
    recipe = replace(SMALL.transformer, **sizes, steps=STEPS, sample_every=STEPS + 1)
    corpus, heldout = (Corpus(source / "corpus" / split) for split in ("train", "heldout"))
    if len(corpus) < STEPS * recipe.batch:
        raise TrainingError(f"{STEPS * recipe.batch:,} pictures are needed, so that none is shown twice.")
    text = BpeTokenizer.load(source / "tokenizer.json", SMALL.text_len)
    with tempfile.TemporaryDirectory() as out:
        train_transformer(recipe, corpus, heldout, text, read_dvae(source), Path(out), None)
        metrics = json.loads((Path(out) / "transformer_metrics.json").read_text())
    tokens = recipe.batch * corpus.tokens[0].size
    curve = [[tokens * (point["step"] + 1), point["image"]] for point in metrics["curve"][1:]]
    kept = {name: metrics[name] for name in ("parameters", "seconds", "heldout")}
    return {**kept, "curve": curve}


def plot(sizes: dict[str, Any]) -> Image.Image:
    """Both axes logarithmic."""
    curves = [
        Curve(f"{name}: {size['parameters'] / 1e6:.1f} M", size["curve"], ink)
        for ink, (name, size) in zip(_INKS, sizes.items(), strict=True)
    ]
    losses = [loss for size in sizes.values() for _, loss in size["curve"]]
    counts = [tokens for size in sizes.values() for tokens, _ in size["curve"]]
    across = {n: f"{n / 1e6:g} M" for n in _round(min(counts), max(counts))}
    up = {loss: f"{loss:g}" for loss in (k / 2 for k in range(1, 30)) if min(losses) <= loss <= max(losses)}
    title = "nats to an image token, against image tokens seen (width × depth)"
    return chart(title, curves, Axis(across, math.log), Axis(up, math.log), (640, 400), 130)


def _round(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten."""
    numbers = (digit * 10.0**k for k in range(4, 10) for digit in (1, 2, 5))
    return [number for number in numbers if low <= number <= high]


if __name__ == "__main__":
    main(Path(sys.argv[1]), "kinds" in sys.argv[2:])
