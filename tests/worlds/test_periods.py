"""Periods: every one can be told from every other, colors come in the fifties, today is as it is."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dalle.worlds import World, WorldConfig
from dalle.worlds.media import VARIANTS
from dalle.worlds.periods import PERIODS, apply_period
from dalle.worlds.vocabulary import words_for


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    image = Image.new("RGB", (128, 128), "#f2f2f2")
    ImageDraw.Draw(image).ellipse((24, 24, 104, 104), fill="#2858d0")
    return image


def aged(picture: Image.Image, period: str, seed: int = 0) -> np.ndarray:
    return np.asarray(apply_period(picture, period, np.random.default_rng(seed)), np.float32)


def test_any_two_periods_differ_clearly(picture: Image.Image) -> None:
    looks = {period: aged(picture, period) for period in PERIODS}
    for one, other in combinations(looks, 2):
        assert np.abs(looks[one] - looks[other]).mean() > 3, (one, other)


@pytest.mark.parametrize("period", PERIODS)
def test_a_period_is_repeatable_and_keeps_any_size(picture: Image.Image, period: str) -> None:
    odd = picture.resize((97, 61))
    assert aged(odd, period).shape == (61, 97, 3)
    assert np.array_equal(aged(odd, period, seed=5), aged(odd, period, seed=5))


def test_blue_is_seen_only_from_the_fifties_on(picture: Image.Image) -> None:
    def blueness(period: str) -> float:
        red, _, blue = aged(picture, period)[64, 64]
        return float(blue - red)

    assert all(blueness(f"19{decade}0s") < 10 for decade in "01234")
    assert all(blueness(period) > 20 for period in ("1950s", "1960s", "1990s", "2000s", "today", "future"))


def test_today_changes_nothing(picture: Image.Image) -> None:
    assert np.array_equal(aged(picture, "today"), np.asarray(picture))


def test_no_two_periods_share_a_wording() -> None:
    wordings = [wording for period in PERIODS.values() for wording in period]
    assert len(set(wordings)) == len(wordings) and len(PERIODS) == 15


def test_half_of_what_is_shown_in_a_period_never_changed() -> None:
    world = World(WorldConfig(vocabulary="small", families={"period": 1.0}))
    plans = [world.plan(index) for index in range(200)]
    unchanged = [plan for plan in plans if plan.facts["subject"] not in VARIANTS]
    assert 50 < len(unchanged) < 120
    for plan in unchanged:
        noun = plan.facts["things"][0]["noun"]
        assert noun == plan.facts["subject"] and any(word in plan.caption for word in words_for(noun))
    assert len({plan.facts["subject"] for plan in unchanged}) > 30
