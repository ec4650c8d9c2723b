"""Families that show a whole scene in another look: in a style or medium, or as a photo of some time."""

from typing import ClassVar

import numpy as np
from PIL import Image

from dalle.worlds.objects import SingleObject
from dalle.worlds.periods import PERIODS, apply_period
from dalle.worlds.relations import Relation
from dalle.worlds.scene import SIDES, Facts, Family, Stage, resized, thing
from dalle.worlds.split import Combination
from dalle.worlds.styles import STYLES, apply_style
from dalle.worlds.vocabulary import say
from dalle.worlds.wearing import Wearing
from dalle.worlds.words import article

_SUBJECTS = {family.name: family for family in (SingleObject(), Relation(), Wearing())}
_COLORLESS = ("pencil sketch", "black-and-white", "blueprint", "photographic negative")
"""Styles in which a color cannot be seen, or not as itself."""


class Styled(Family):
    """As in "a mosaic of a blue strawberry", "a penguin in a hat as a pencil sketch"."""

    name: ClassVar[str] = "style"
    weight: ClassVar[float] = 3.0

    def plan(self, stage: Stage) -> Facts:
        style = stage.pick(tuple(STYLES))
        subject = "wearing" if stage.chance(0.3) else "relation" if not stage.small and stage.chance(0.2) else "object"
        facts = _SUBJECTS[subject].plan(stage)
        while facts.get("size") or (style in _COLORLESS and any(item["color"] for item in facts["things"])):
            facts = _SUBJECTS[subject].plan(stage)
        things = [resized(facts["things"][0], (128, 128), SIDES["large"])] if subject == "object" else facts["things"]
        background = facts["background"]
        if stage.small or style in _COLORLESS:
            background = stage.plain_background(*things)
        return {
            **facts, "things": things, "background": background,
            "subject": subject, "style": style, "grain": stage.grain(),
        }  # fmt: skip

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        wordings = STYLES[facts["style"]]
        wording = wordings[0] if rng.random() < 0.3 else str(rng.choice(wordings))
        return wording.format(x=_SUBJECTS[facts["subject"]].phrase(facts, rng))

    def draw(self, facts: Facts) -> Image.Image:
        scene = _SUBJECTS[facts["subject"]].draw(facts)
        return apply_style(scene, facts["style"], np.random.default_rng(facts["grain"]))

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        others = [style for style in STYLES if style != facts["style"]]
        return {**facts, "style": str(rng.choice(others))}

    def combinations(self, facts: Facts) -> list[Combination]:
        style: Combination = ("style", facts["things"][0]["noun"], facts["style"])
        return [style, *_SUBJECTS[facts["subject"]].combinations(facts)]


_YEARS = (*(f"{year}s" for year in range(1900, 2020, 10)), "today", "future", "distant future")
VARIANTS: dict[str, dict[str, str]] = {
    "phone": {"1900s": "phone", "1990s": "pager", "2000s": "mobile phone"},
    "television": {"1900s": "television", "2000s": "desktop computer"},
    "camera": {"1900s": "movie camera", "1950s": "camera", "2000s": "camera with flash"},
    "computer": {"1900s": "abacus", "1960s": "desktop computer", "1990s": "computer"},
    "car": {"1900s": "tractor", "1930s": "car", "2000s": "suv", "distant future": "flying saucer"},
    "radio": {"1900s": "radio"},
    "house": {"1900s": "derelict house", "1950s": "house", "2010s": "house with garden", "future": "school"},
    "train": {"1900s": "train", "1960s": "electric train", "1990s": "bullet train"},
    "clock": {"1900s": "mantel clock", "1930s": "clock", "1980s": "watch", "2000s": "timer clock"},
    "lamp": {"1900s": "candle", "1920s": "lamp", "2000s": "flashlight"},
    "plane": {"1900s": "parachute", "1920s": "small airplane", "1960s": "airplane", "future": "rocket"},
    "boat": {"1900s": "boat", "1940s": "motor boat", "1970s": "speedboat", "2000s": "ship"},
    "music player": {"1900s": "saxophone", "1940s": "radio", "1990s": "optical disk", "2000s": "headphones"},
}  # fmt: skip
"""What a thing that changed with time looked like from a period on: subject -> first period -> glyph."""
_SUBJECT_WORDS = {
    "phone": ("phone", "telephone"),
    "television": ("television", "tv"),
    "car": ("car", "automobile"),
    "plane": ("plane", "airplane"),
    "music player": ("music player", "music device"),
}


def variant(subject: str, period: str) -> str:
    """The glyph that a subject had in a period: itself, if time has not changed it."""
    if subject not in VARIANTS:
        return subject
    begun = [glyph for first, glyph in VARIANTS[subject].items() if _YEARS.index(first) <= _YEARS.index(period)]
    return begun[-1]


class Dated(Family):
    """As in "a photo of a phone from the 20s": half of them things that time has changed, half anything."""

    name: ClassVar[str] = "period"
    weight: ClassVar[float] = 2.5
    kinds: ClassVar[tuple[str, ...]] = ("changed with time", "anything")

    def plan(self, stage: Stage) -> Facts:
        subject = stage.pick(tuple(VARIANTS) if stage.chance(0.5) else stage.vocabulary.nouns)
        period = stage.pick(_YEARS)
        center = (stage.vary(128, 12), stage.vary(128, 12))
        item = thing(variant(subject, period), center, stage.vary(160, 20))
        return {
            "things": [item], "background": stage.plain_background(item),
            "subject": subject, "period": period, "grain": stage.grain(),
        }  # fmt: skip

    def caption(self, facts: Facts, rng: np.random.Generator) -> str:
        subject, periods = facts["subject"], PERIODS[facts["period"]]
        words = _SUBJECT_WORDS.get(subject, (subject,))
        noun = str(rng.choice(words)) if subject in VARIANTS else say(subject, rng)
        period = str(rng.choice(periods[:2])) if rng.random() < 0.6 else str(rng.choice(periods))
        start = str(rng.choice(["a photo of ", "a photo of ", "a photograph of ", "a picture of ", ""]))
        return f"{start}{article(noun)} from {period}"

    def draw(self, facts: Facts) -> Image.Image:
        return apply_period(super().draw(facts), facts["period"], np.random.default_rng(facts["grain"]))

    def kind(self, facts: Facts) -> str:
        return "changed with time" if facts["subject"] in VARIANTS else "anything"

    def twist(self, facts: Facts, rng: np.random.Generator) -> Facts:
        others = [period for period in _YEARS if period != facts["period"]]
        return {**facts, "period": str(rng.choice(others))}

    def misname(self, facts: Facts, rng: np.random.Generator) -> Facts:
        drawn = facts["things"][0]["noun"]
        others = [subject for subject in VARIANTS if variant(subject, facts["period"]) != drawn]
        return {**facts, "subject": str(rng.choice(others))}

    def combinations(self, facts: Facts) -> list[Combination]:
        return [("period", facts["subject"], facts["period"])]
