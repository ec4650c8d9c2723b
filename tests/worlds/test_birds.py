"""Birds: drawn as specified, captioned truthfully, and lied about on purpose only."""

import re

import numpy as np
import pytest

from dalle.worlds.birds import (
    COLORED_PARTS,
    BirdSpec,
    bird_caption,
    bird_facts,
    bird_negative,
    choose_facts,
    draw_bird,
    random_bird,
    twist_facts,
    word_caption,
)
from dalle.worlds.colors import COLORS

PLAIN = BirdSpec(body="red", belly="red", wing="red", head="red", beak="black", legs="gray")
MOTLEY = BirdSpec(
    body="red", belly="yellow", wing="white", head="blue", beak="orange", legs="brown", size="large",
    eyering="pink", crown="green",
)  # fmt: skip


def spoken_colors(caption: str) -> set[str]:
    return set(re.findall(r"\w+", caption)) & set(COLORS)


def rendered(spec: BirdSpec) -> np.ndarray:
    return np.asarray(draw_bird(spec, 128), np.int16)


def covered(picture: np.ndarray, color: str) -> int:
    """How many opaque pixels have about this color."""
    near = np.abs(picture[..., :3] - COLORS[color]).max(axis=-1) <= 8
    return int((near & (picture[..., 3] == 255)).sum())


def test_every_part_is_drawn_in_its_color() -> None:
    picture = rendered(MOTLEY)
    for part in COLORED_PARTS:
        assert covered(picture, getattr(MOTLEY, part)) >= 15, part


def test_shine_length_and_size_are_visible() -> None:
    def width(spec: BirdSpec) -> int:
        return int(rendered(spec)[:90, :, 3].any(axis=0).sum())

    def light(spec: BirdSpec) -> int:
        return int((rendered(spec)[..., :3].min(axis=-1) > 235).sum())

    fields = vars(PLAIN)
    assert light(BirdSpec(**fields | {"shiny": True})) > light(PLAIN) + 50
    assert width(BirdSpec(**fields | {"beak_length": "long"})) > width(PLAIN) + 5
    assert width(BirdSpec(**fields | {"size": "large"})) > width(BirdSpec(**fields | {"size": "small"})) + 20


@pytest.mark.parametrize("seed", range(40))
def test_captions_tell_the_truth_and_negatives_do_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_bird(rng)
    truth = set(bird_facts(spec))
    facts = choose_facts(spec, rng)
    assert set(facts) <= truth
    caption = word_caption(facts, rng)
    assert spoken_colors(caption) == {fact.value for fact in facts if fact.part in COLORED_PARTS}
    assert ("shin" in caption or "gloss" in caption) == any(fact.part == "shiny" for fact in facts)
    assert ("striped" in caption) == any(fact.part == "striped_wings" for fact in facts)
    assert not set(twist_facts(spec, facts, rng)) <= truth


def test_famous_kinds_of_captions_occur() -> None:
    spec = BirdSpec(**vars(PLAIN) | {"belly": "yellow", "shiny": True, "size": "small"})
    said = {bird_caption(spec, np.random.default_rng(seed)) for seed in range(3000)}
    assert "red bird" in said
    assert "this bird is very shiny and red in color" in said
    assert "a red colored bird" in said
    assert any("red with a yellow belly and a short beak" in caption for caption in said)


def test_a_one_colored_bird_is_never_called_otherwise() -> None:
    body, rest = {"red"}, {"red", "black", "gray"}
    for seed in range(200):
        assert spoken_colors(bird_caption(PLAIN, np.random.default_rng(seed))) <= rest
        wrong = bird_negative(PLAIN, np.random.default_rng(seed))
        assert spoken_colors(wrong) - body, wrong
