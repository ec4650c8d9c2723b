"""Training from nothing: `python -m dalle train all --recipe small --out DIR` ends with a folder `--model` takes.

And going on: `python -m dalle train settle --recipe small-later --start emoji --first 1200000 --out DIR` begins with
the nets of a model and learns from pictures that it has not seen.
"""

from dataclasses import replace
from pathlib import Path

from dalle.errors import TrainingError

STAGES = ("tokenizer", "polish", "text", "transformer", "settle", "critic", "feedback", "clip")
JUDGE = "judge"  # for measuring; no part of a model


def run(
    stage: str,
    recipe: str = "small",
    data: str = "world",
    out: Path = Path("runs"),
    minutes: float | None = None,
    start: str | None = None,
    first: int = 0,
    steps: int | None = None,
) -> None:
    """One stage, or "all" but the judge in order, for at most `minutes`; what is complete is not done again. From a
    folder of pictures, "all" are those that need no facts.

    Args:
        start: a model of the same recipe, of which the transformer, CLIP and the judge go on, and the dVAE and the text
            tokenizer stay as they are.
        first: the number of the world's first picture to learn from.
        steps: those of the stage, in place of the recipe's.

    Raises TrainingError, DataError, ModelError.
    """
    from dalle import models
    from dalle.train.recipes import RECIPES, shortened  # torch and the world: not before they are needed
    from dalle.train.stages import FACTUAL, Workshop

    if recipe not in RECIPES:
        raise TrainingError(f"There is no recipe called '{recipe}'. Choose one of {', '.join(RECIPES)}.")
    if stage not in (*STAGES, JUDGE, "all"):
        known = ", ".join((*STAGES, JUDGE))
        raise TrainingError(f"There is no stage called '{stage}'. Choose one of {known} or all.")
    chosen = replace(RECIPES[recipe], first=first)
    chosen = chosen if steps is None else shortened(chosen, stage, steps)
    workshop = Workshop(chosen, data, out, minutes, models.find(start) if start else None)
    possible = [name for name in STAGES if data == "world" or name not in FACTUAL]
    for name in possible if stage == "all" else (stage,):
        if not workshop.complete(name):
            return
