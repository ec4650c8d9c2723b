"""Surfaces: each shows what is put on it, letters stand on the grid."""

import numpy as np
import pytest
from PIL import Image

from dalle.worlds.surfaces import PICTURE, SURFACES, WORD, draw_surface, letter_cells

TAKERS = [(name, kind) for name, surface in SURFACES.items() for kind in surface.contents]
RED, BLUE = Image.new("RGBA", (40, 40), "red"), Image.new("RGBA", (40, 40), "blue")


def drawn(name: str, size: int = 256, seed: int = 0, **content: object) -> np.ndarray:
    picture = draw_surface(name, size, rng=np.random.default_rng(seed), **content)  # type: ignore[arg-type]
    assert picture.mode == "RGB" and picture.size == (size, size)
    return np.asarray(picture, np.int16)


@pytest.mark.parametrize(("name", "kind"), TAKERS)
def test_content_is_shown_and_drawing_is_repeatable(name: str, kind: str) -> None:
    one, other = ({"word": "cat"}, {"word": "dog"}) if kind == WORD else ({"content": RED}, {"content": BLUE})
    assert np.array_equal(drawn(name, 64, **one), drawn(name, 64, **one))
    changed = (drawn(name, 128, **one) != drawn(name, 128, **other)).any(axis=-1).mean()
    assert 0.005 < changed < 0.6


def test_a_letter_looks_the_same_in_every_word() -> None:
    for name in ("road sign", "mug", "t-shirt", "neon sign"):
        one, other = drawn(name, word="openai"), drawn(name, word="oxenar")
        differs = (one != other).any(axis=(0, 2))
        columns = np.flatnonzero(differs)
        assert columns.size and columns.min() > 40  # the first o, left of both changed letters, is the same


def test_letter_cells_stand_on_the_grid_and_inside() -> None:
    box = (16, 72, 240, 136)
    for letters in range(1, 15):
        left, pitch = letter_cells(letters, box)
        assert left % 16 == 0 and pitch % 8 == 0
        assert left >= 8 and left + letters * pitch <= 248
    assert letter_cells(6, box)[1] * 6 >= 0.8 * 224
    left, pitch = letter_cells(40, box)
    assert left >= 16 and left + 40 * pitch <= 240


def test_one_content_at_a_time() -> None:
    rng = np.random.default_rng(0)
    for content in ({}, {"content": RED, "word": "cat"}):
        with pytest.raises(ValueError, match="exactly one"):
            draw_surface("mug", 64, rng=rng, **content)  # type: ignore[arg-type]
    assert PICTURE not in SURFACES["license plate"].contents
    with pytest.raises(ValueError, match="word"):
        draw_surface("license plate", 64, content=RED, rng=rng)
