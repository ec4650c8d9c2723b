"""The measured speeds as one picture: `python -m benchmarks.plot` draws `speed.png` from the two `speed*.json`.

Eight candidates of one prompt, both grids, everybody at the same sizes; bars are tokens per second.
"""

import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from dalle.worlds.fonts import text_font

FOLDER = Path(__file__).resolve().parent
PEERS = ("OpenVINO", "transformers", "DALLE-pytorch")  # how the names of the others begin
_SCALE = 2  # for sharp letters on dense screens
_WIDTH, _NAMES, _FIGURES, _LINE, _HEAD = 840, 230, 70, 24, 44  # pixels
_INK, _PALE, _OURS, _THEIRS = (40, 40, 46), (110, 116, 140), (38, 70, 200), (190, 194, 206)


def main() -> None:
    races = [json.loads((FOLDER / f"speed{grid}.json").read_text()) for grid in (16, 32)]
    plot(races).quantize(64).save(FOLDER / "speed.png", optimize=True)


def plot(races: list[dict[str, Any]]) -> Image.Image:
    """One block of bars for the first heat of each race, the fastest on top."""
    heats = [race["speed"]["heats"][0] for race in races]
    height = sum(_HEAD + _LINE * len(heat["lines"]) for heat in heats) + 12
    sheet = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for heat in heats:
        top = _bars(draw, heat, top)
    return sheet


def _bars(draw: ImageDraw.ImageDraw, heat: dict[str, Any], top: int) -> int:
    """Draws a block below `top`; gives where the next one begins."""
    font, work = text_font("sans", 13 * _SCALE), heat["workload"]
    title = f"{work['grid']}×{work['grid']} tokens, {work['candidates']} candidates: tokens per second"
    draw.text((12 * _SCALE, (top + 16) * _SCALE), title, _INK, font)
    lines = sorted(heat["lines"], key=lambda line: -line["tokens_per_second"])
    best, top = lines[0]["tokens_per_second"], top + _HEAD
    for line in lines:
        speed, ours = line["tokens_per_second"], not line["name"].startswith(PEERS)
        length = max(1, (_WIDTH - _NAMES - _FIGURES) * speed / best)
        left, middle, right = _NAMES * _SCALE, (top + _LINE / 2) * _SCALE, (_NAMES + length) * _SCALE
        draw.text((left - 10 * _SCALE, middle), line["name"], _INK if ours else _PALE, font, anchor="rm")
        draw.rectangle((left, (top + 4) * _SCALE, right, (top + _LINE - 4) * _SCALE), _OURS if ours else _THEIRS)
        figure = f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}"
        draw.text((right + 8 * _SCALE, middle), figure, _INK if ours else _PALE, font, anchor="lm")
        top += _LINE
    return top


if __name__ == "__main__":
    main()
