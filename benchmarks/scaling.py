"""Loss against image tokens seen, for three sizes of the transformer and some other shapes of the middle one.

`python -m benchmarks.scaling RUN` takes the pictures, the dVAE and the text tokenizer of a training run's folder,
trains each size on the same pictures in the same order, and writes `scaling.json` and `scaling.png` beside this file.
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

from PIL import Image, ImageDraw

from dalle.errors import TrainingError
from dalle.families.native import read_dvae
from dalle.text import BpeTokenizer
from dalle.train.corpus import Corpus
from dalle.train.recipes import SMALL
from dalle.train.transformer import train_transformer
from dalle.worlds.fonts import text_font

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
STEPS = 400
_SCALE, _WIDTH, _HEIGHT, _MARGIN = 2, 640, 400, 56
_INK, _PALE, _INKS = (40, 40, 46), (222, 224, 232), ((150, 160, 200), (90, 110, 200), (38, 70, 200))


def main(source: Path) -> None:
    learnt = {}
    for name, sizes in {**SIZES, **OTHERS}.items():
        learnt[name] = learn(source, sizes)
        record = {"date": time.strftime("%Y-%m-%d"), "batch": SMALL.transformer.batch, "steps": STEPS, "nets": learnt}
        (FOLDER / "scaling.json").write_text(json.dumps(record, indent=2) + "\n")
    plot({name: learnt[name] for name in SIZES}).quantize(64).save(FOLDER / "scaling.png", optimize=True)


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
    points = [point for size in sizes.values() for point in size["curve"]]
    left, right = (math.log(f(tokens for tokens, _ in points)) for f in (min, max))
    low, high = (math.log(f(loss for _, loss in points)) for f in (min, max))
    sheet = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), "white")
    draw, font = ImageDraw.Draw(sheet), text_font("sans", 12 * _SCALE)

    def place(tokens: float, loss: float) -> tuple[float, float]:
        x = (math.log(tokens) - left) / (right - left)
        y = (math.log(loss) - low) / (high - low)
        inner = _WIDTH - 3 * _MARGIN, _HEIGHT - 2 * _MARGIN
        return (_MARGIN + x * inner[0]) * _SCALE, (_HEIGHT - _MARGIN - y * inner[1]) * _SCALE

    for loss in _round_values(math.exp(low), math.exp(high)):
        ends = [place(math.exp(x), loss) for x in (left, right)]
        draw.line(ends, _PALE, _SCALE)
        draw.text((ends[0][0] - 6 * _SCALE, ends[0][1]), f"{loss:g}", _INK, font, anchor="rm")
    for tokens in (digit * 10.0**k for k in range(5, 9) for digit in (1, 2, 5)):
        if left <= math.log(tokens) <= right:
            x, y = place(tokens, math.exp(low))
            draw.text((x, y + 8 * _SCALE), f"{tokens / 1e6:g} M", _INK, font, anchor="mt")
    for ink, (name, size) in zip(_INKS, sizes.items(), strict=True):
        line = [place(*point) for point in size["curve"]]
        draw.line(line, ink, 2 * _SCALE, joint="curve")
        label = f"{name}: {size['parameters'] / 1e6:.1f} M"
        draw.text((line[-1][0] + 8 * _SCALE, line[-1][1]), label, ink, font, anchor="lm")
    title = "nats to an image token, against image tokens seen"
    draw.text((_MARGIN * _SCALE, 16 * _SCALE), title, _INK, font)
    return sheet


def _round_values(low: float, high: float) -> list[float]:
    return [k / 2 for k in range(1, 30) if low <= k / 2 <= high]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
