"""Complete recipes: what to learn from, and how each stage learns it."""

from dataclasses import dataclass, field, replace
from typing import Any

from dalle.contracts import SamplingOptions
from dalle.errors import TrainingError
from dalle.nn.dvae import DVAEConfig
from dalle.train.clip import ClipRecipe
from dalle.train.feedback import FeedbackRecipe
from dalle.train.judge import JudgeRecipe
from dalle.train.polish import PolishRecipe
from dalle.train.tokenizer import TokenizerRecipe
from dalle.train.transformer import SettleRecipe, TransformerRecipe
from dalle.worlds import WorldConfig


@dataclass(frozen=True)
class Recipe:
    """From nothing to a model folder."""

    title: str
    world: WorldConfig = field(default_factory=WorldConfig)
    shown: WorldConfig | None = None  # to learn from, where that has other shares than what is measured; None: `world`
    pictures: int = 55_200  # drawn to learn from
    first: int = 0  # the number of the first of them
    heldout: int = 1024  # drawn to measure with
    text_vocab: int = 1024  # pieces, paddings not counted
    text_len: int = 48  # T
    tokenizer: TokenizerRecipe = field(default_factory=TokenizerRecipe)
    polish: PolishRecipe = field(default_factory=PolishRecipe)
    transformer: TransformerRecipe = field(default_factory=TransformerRecipe)
    settle: SettleRecipe = field(default_factory=SettleRecipe)
    critic: JudgeRecipe = field(default_factory=lambda: JudgeRecipe(size=80, unseen=0, decoded=2, steps=5000, seed=7))
    feedback: FeedbackRecipe = field(default_factory=FeedbackRecipe)
    clip: ClipRecipe = field(default_factory=ClipRecipe)
    judge: JudgeRecipe = field(default_factory=JudgeRecipe)
    options: SamplingOptions = field(default_factory=SamplingOptions)  # that the model is shipped with
    agreement: bool = False  # as in `Bundle`


# Drawn and trained within some seven hours on two CPU cores, with ten gigabytes of room for the pictures: few things,
# in few sizes and on a coarse lattice, so that a dog is drawn with the same tokens wherever it stands.
SMALL = Recipe(
    title="Emoji world (small)",
    world=WorldConfig(
        vocabulary="small",
        lattice=16,
        families={
            "object": 8.0,
            "count": 4.0,
            "relation": 5.0,
            "row": 0.5,
            "trio": 0.5,
            "stack": 0.75,
            "wearing": 3.0,
            "outfit": 1.0,
            "made_of": 4.0,
            "in_shape_of": 1.0,
            "surface": 1.5,
            "word": 9.0,
            "style": 3.0,
            "period": 2.0,
            "bird": 3.5,
            "two_panel": 5.0,
        },
    ),
    tokenizer=TokenizerRecipe(
        net=DVAEConfig(width=32, code_dim=64, blocks=2, stem=2, post_gain=0.5),
        steps=4000,
        warm_share=0.6,
        loss="l1",
    ),
    transformer=TransformerRecipe(width=192, depth=12, heads=3, steps=10_000),
    settle=SettleRecipe(steps=700, rate=0.6, share=0.5),
    polish=PolishRecipe(painting=(6, 4, 2, 2), steps=7200, lr=1.2e-3),
    clip=ClipRecipe(batch=64, steps=3000),
    judge=JudgeRecipe(steps=8000),
    options=SamplingOptions(guidance=1.5, temperature=0.35, top_k=128),
    agreement=True,
)

# An hour more for weights that have settled (`train settle --recipe small-later --start emoji --first …`), on new
# pictures of what they still draw badly. This is how the shipped ones went on; the shares differed from time to time.
LATER = replace(
    SMALL,
    pictures=72_000,
    shown=replace(
        SMALL.world,
        families={
            "object": 6.5,
            "count": 4.0,
            "relation": 13.0,
            "row": 0.5,
            "trio": 1.0,
            "stack": 0.5,
            "wearing": 5.0,
            "outfit": 0.3,
            "made_of": 6.0,
            "in_shape_of": 1.0,
            "surface": 1.0,
            "word": 6.0,
            "style": 9.0,
            "period": 9.0,
            "bird": 7.5,
            "two_panel": 28.0,
        },
        kept={
            "relation": {
                **dict.fromkeys(("left of", "right of", "above", "below", "on top of"), 0.16),
                **dict.fromkeys(("in front of", "behind"), 0.5),
            },
            "period": {"anything": 0.4},
            "two_panel": {"style": 0.7, "pattern": 0.6},
        },
    ),
    settle=SettleRecipe(steps=1100, rate=0.45, share=0.5),
)

# A few seconds in all: does every stage run?
TINY = Recipe(
    title="Tiny",
    world=WorldConfig(vocabulary="small", lattice=16, size=64),
    pictures=64,
    heldout=32,
    text_vocab=128,
    text_len=24,
    tokenizer=TokenizerRecipe(
        net=DVAEConfig(size=64, vocab=128, width=8, code_dim=8, groups=3, blocks=1, stem=4, post_gain=0.5),
        steps=20,
        batch=4,
        crop=64,
        loss="l1",
        precision="fp32",
    ),
    polish=PolishRecipe(painting=(2, 1, 1), steps=10, precision="fp32"),
    transformer=TransformerRecipe(
        width=32, depth=2, heads=2, steps=10, batch=4, sample_every=8, precision="fp32", compiled=False
    ),
    settle=SettleRecipe(steps=4, batch=8),
    critic=JudgeRecipe(size=32, width=8, hidden=8, unseen=0, steps=4, batch=8, precision="fp32"),
    feedback=FeedbackRecipe(captions=3, samples=4, learned=2, steps=4, batch=2, real=4),
    clip=ClipRecipe(
        image_size=32,
        width=8,
        text_width=64,
        text_layers=1,
        embed_dim=16,
        context=24,
        steps=4,
        batch=16,
        drawn=8,
        misses=4,
    ),
    judge=JudgeRecipe(size=32, width=8, hidden=8, unseen=32, steps=4, batch=8, precision="fp32"),
)

RECIPES = {"small": SMALL, "small-later": LATER, "tiny": TINY}


def shortened(recipe: Recipe, stage: str, steps: int) -> Recipe:
    """The recipe with another number of steps in one stage. Raises TrainingError for a stage that has none."""
    part: Any = getattr(recipe, stage, None)
    if not hasattr(part, "steps"):
        raise TrainingError(f"The stage '{stage}' has no number of steps of its own.")
    changed: dict[str, Any] = {stage: replace(part, steps=steps)}
    return replace(recipe, **changed)
