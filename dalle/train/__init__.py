"""Training from nothing: `python -m dalle train all --recipe small --out DIR` ends with a folder `--model` takes."""

from pathlib import Path

from dalle.errors import TrainingError

STAGES = ("tokenizer", "polish", "text", "transformer", "clip")
JUDGE = "judge"  # for measuring; no part of a model


def run(
    stage: str, recipe: str = "small", data: str = "world", out: Path = Path("runs"), minutes: float | None = None
) -> None:
    """One stage, or "all" but the judge in order, for at most `minutes`; what is complete is not done again.

    Raises TrainingError, DataError.
    """
    from dalle.train.recipes import RECIPES  # torch and the world: not before they are needed
    from dalle.train.stages import Workshop

    if recipe not in RECIPES:
        raise TrainingError(f"There is no recipe called '{recipe}'. Choose one of {', '.join(RECIPES)}.")
    if stage not in (*STAGES, JUDGE, "all"):
        known = ", ".join((*STAGES, JUDGE))
        raise TrainingError(f"There is no stage called '{stage}'. Choose one of {known} or all.")
    workshop = Workshop(RECIPES[recipe], data, out, minutes)
    for name in STAGES if stage == "all" else (stage,):
        if not workshop.complete(name):
            return
