"""Styles: recognisable, repeatable, and true to what each one is."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dalle.worlds.styles import STYLES, apply_style


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    image = Image.new("RGB", (128, 128), "#bfe3ff")
    draw = ImageDraw.Draw(image)
    draw.ellipse((24, 20, 104, 100), fill="#d02828")
    draw.rectangle((56, 90, 72, 122), fill="#3c7a2c")
    return image


def styled(picture: Image.Image, name: str, seed: int = 0) -> np.ndarray:
    return np.asarray(apply_style(picture, name, np.random.default_rng(seed)), np.float32)


def test_any_two_styles_differ_clearly(picture: Image.Image) -> None:
    looks = {name: styled(picture, name) for name in STYLES} | {"none": np.asarray(picture, np.float32)}
    for one, other in combinations(looks, 2):
        assert np.abs(looks[one] - looks[other]).mean() > 3, (one, other)


@pytest.mark.parametrize("name", STYLES)
def test_a_style_is_repeatable_and_keeps_any_size(picture: Image.Image, name: str) -> None:
    odd = picture.resize((97, 61))
    assert styled(odd, name).shape == (61, 97, 3)
    assert np.array_equal(styled(odd, name, seed=3), styled(odd, name, seed=3))


@pytest.mark.parametrize("name", STYLES)
def test_wordings_have_one_slot_and_the_second_serves_panels(name: str) -> None:
    assert all(wording.count("{x}") == 1 for wording in STYLES[name])
    assert STYLES[name][1].startswith("{x} as ")
    assert len(set(STYLES[name])) == len(STYLES[name])


def test_a_negative_of_a_negative_is_the_picture(picture: Image.Image) -> None:
    once = apply_style(picture, "photographic negative", np.random.default_rng(0))
    assert np.abs(styled(once, "photographic negative") - np.asarray(picture)).max() <= 1


def test_black_and_white_has_no_color(picture: Image.Image) -> None:
    assert np.ptp(styled(picture, "black-and-white"), axis=-1).max() == 0


def test_pixel_art_is_made_of_squares(picture: Image.Image) -> None:
    squares = styled(picture, "pixel art").reshape(16, 8, 16, 8, 3)
    assert np.ptp(squares, axis=(1, 3)).max() == 0
