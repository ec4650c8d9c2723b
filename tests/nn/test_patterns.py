"""Attention patterns against one obvious question for each pair of positions."""

from collections.abc import Callable

import pytest

from dalle.nn.patterns import PATTERNS, visible, visible_keys


def _near(steps: int, length: int) -> bool:
    return any(abs(steps + lap * length) <= 5 for lap in (-1, 0, 1))


# (query row, query column, key row, key column, height, width), the key not later than the query -> may it be seen?
OBVIOUS: dict[str, Callable[[int, int, int, int, int, int], bool]] = {
    "full": lambda qr, qc, kr, kc, h, w: True,
    "row": lambda qr, qc, kr, kc, h, w: kr == qr,
    "column": lambda qr, qc, kr, kc, h, w: kc == qc,
    "window5": lambda qr, qc, kr, kc, h, w: kr in range(qr - 2, qr + 3) and kc in range(qc - 2, qc + 3),
    "window11": lambda qr, qc, kr, kc, h, w: kr in range(qr - 5, qr + 6) and kc in range(qc - 5, qc + 6),
    "quadrant5": lambda qr, qc, kr, kc, h, w: kr in range(qr - 4, qr + 1) and kc in range(qc - 4, qc + 1),
    "torus11": lambda qr, qc, kr, kc, h, w: _near(qr - kr, h) and _near(qc - kc, w),
    "lap": lambda qr, qc, kr, kc, h, w: (qr * w + qc) - (kr * w + kc) <= w,
}


def test_every_pattern_is_checked():
    assert set(OBVIOUS) == set(PATTERNS)


def _seen(pattern: str, query: int, key: int, text_len: int, grid: tuple[int, int]) -> bool:
    if key > query:
        return False
    if key < text_len:
        return True
    return OBVIOUS[pattern](*divmod(query - text_len, grid[1]), *divmod(key - text_len, grid[1]), *grid)


@pytest.mark.parametrize("pattern", OBVIOUS)
@pytest.mark.parametrize(("text_len", "grid"), [(3, (8, 7)), (1, (2, 13)), (2, (13, 12))])
def test_a_pattern_shows_what_it_says(pattern, text_len, grid):
    size = text_len + grid[0] * grid[1]
    expected = [[_seen(pattern, q, k, text_len, grid) for k in range(size)] for q in range(size)]
    assert visible(pattern, text_len, grid).tolist() == expected


@pytest.mark.parametrize("pattern", OBVIOUS)
def test_the_keys_of_a_step_are_the_visible_positions_itself_last(pattern):
    text_len, grid = 3, (6, 14)
    steps = visible_keys(pattern, text_len, grid)
    assert len(steps) == 84
    for index, keys in enumerate(steps):
        query = text_len + index
        assert keys.tolist() == [k for k in range(query + 1) if _seen(pattern, query, k, text_len, grid)]
