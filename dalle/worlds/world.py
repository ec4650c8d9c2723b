"""The world: an endless list of captioned pictures, the same for every reader of the same configuration."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dalle.errors import WorldError
from dalle.worlds.backgrounds import SIDE
from dalle.worlds.families import FAMILIES
from dalle.worlds.scene import Example, Facts, Family, Plan, Stage
from dalle.worlds.split import is_held_out
from dalle.worlds.vocabulary import vocabulary

_TRIES = 2000


@dataclass(frozen=True)
class WorldConfig:
    """Which world.

    Attributes:
        seed: with an index, decides everything in a picture.
        vocabulary: 'full', 'small' (what a CPU can learn) or 'unseen' (a hundred glyphs kept from training).
        split: 'train' never shows a held-out combination; every picture of 'heldout' shows one.
        size: side of the pictures, pixels.
        lattice: pixels that sizes and positions snap to.
        families: name -> weight of the families to show; None for all, with their own weights.
        kept: family -> kind -> how many of its plans of that kind are drawn, from 0 to 1; all where nothing is said.
            The families keep their shares.
    """

    seed: int = 0
    vocabulary: str = "full"
    split: str = "train"
    size: int = SIDE
    lattice: int = 1
    families: Mapping[str, float] | None = None
    kept: Mapping[str, Mapping[str, float]] | None = None


class World:
    """`world[index]` is an `Example`, for any index from 0 on, in any order.

    Raises `WorldError` for a configuration that names what does not exist.
    """

    def __init__(self, config: WorldConfig = WorldConfig()) -> None:
        _check(config)
        weights = config.families or {name: family.weight for name, family in FAMILIES.items()}
        self.config = config
        self.vocabulary = vocabulary(config.vocabulary)
        self._families = [FAMILIES[name] for name, weight in weights.items() if weight > 0]
        shares = np.array([weight for weight in weights.values() if weight > 0], np.float64)
        if not self._families:
            raise WorldError("Give at least one family a weight above zero.")
        self._shares = shares / shares.sum()

    @property
    def nouns(self) -> tuple[str, ...]:
        return self.vocabulary.nouns

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(family.name for family in self._families)

    def plan(self, index: int) -> Plan:
        """All of `world[index]` but its picture: much faster, where only captions are wanted."""
        if index < 0:
            raise IndexError("a world is counted from 0")
        rng = np.random.default_rng((self.config.seed, index))
        family = self._families[int(rng.choice(len(self._families), p=self._shares))]
        facts = self._facts(family, Stage(rng, self.vocabulary, self.config.lattice))
        return Plan(family.caption(facts, rng), family.name, facts)

    def __getitem__(self, index: int) -> Example:
        plan = self.plan(index)
        picture = FAMILIES[plan.family].draw(plan.facts)
        if self.config.size != SIDE:
            picture = picture.resize((self.config.size, self.config.size), Image.Resampling.LANCZOS)
        return Example(picture, plan.caption, plan.family, plan.facts)

    def __iter__(self) -> Iterator[Example]:
        index = 0
        while True:
            yield self[index]
            index += 1

    def _facts(self, family: Family, stage: Stage) -> Facts:
        for _ in range(_TRIES):
            facts = family.plan(stage)
            if self._belongs(family, facts) and self._keeps(family, facts, stage):
                return facts
        raise WorldError(f"The family {family.name} has no pictures in the {self.config.split} split.")

    def _keeps(self, family: Family, facts: Facts, stage: Stage) -> bool:
        """Without a share, no dice are thrown: the pictures of a world that keeps everything stay as they are."""
        share = (self.config.kept or {}).get(family.name, {}).get(family.kind(facts))
        return share is None or stage.chance(share)

    def _belongs(self, family: Family, facts: Facts) -> bool:
        if self.config.vocabulary == "unseen":
            return True
        held_out = any(map(is_held_out, family.combinations(facts)))
        return held_out == (self.config.split == "heldout")


def _check(config: WorldConfig) -> None:
    """Raises WorldError for what does not exist."""
    if config.split not in ("train", "heldout"):
        raise WorldError(f"There is no split named {config.split!r}. Choose train or heldout.")
    if config.vocabulary == "unseen" and config.split == "train":
        raise WorldError("The unseen glyphs are kept from training: use them with the heldout split.")
    kept = config.kept or {}
    if unknown := sorted({*(config.families or ()), *kept} - set(FAMILIES)):
        raise WorldError(f"There is no family named {unknown[0]!r}. Choose among {', '.join(FAMILIES)}.")
    for name, shares in kept.items():
        kinds = FAMILIES[name].kinds
        if unknown := sorted(set(shares) - set(kinds)):
            raise WorldError(f"The family {name} has no kind {unknown[0]!r}. It has {', '.join(kinds) or 'none'}.")


def reword(example: Example | Plan, rng: np.random.Generator) -> str:
    """Another true caption of the same picture (perhaps, by chance, the same)."""
    if family := FAMILIES.get(example.family):
        return family.caption(example.facts, rng)
    return str(rng.choice(example.facts["captions"]))  # a picture from disk


def negative_captions(example: Example | Plan, rng: np.random.Generator) -> list[str]:
    """Captions that are false of this picture, and nearly true; perhaps none."""
    family = FAMILIES.get(example.family)
    return family.negatives(example.facts, rng) if family else []
