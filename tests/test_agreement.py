"""The picture that comes nearest to all others is the best guess of them."""

import itertools

import pytest
import torch

from dalle.agreement import agreement, jointly


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_it_is_the_order_of_the_mean_squared_distance_to_the_others(pictures):
    pairs = (pictures[:, None] - pictures[None]).square().mean((2, 3, 4))
    assert agreement(pictures).argsort().tolist() == (-pairs.sum(1)).argsort().tolist()
    flat = torch.full((4, 3, 8, 8), 0.5)
    flat[2] = 0.9
    assert agreement(flat).argmin() == 2


def test_clip_and_agreement_have_an_equal_say(pictures):
    cosines = torch.tensor([0.1, 0.3, 0.2, 0.25, 0.15])
    both = jointly(cosines, pictures)
    expected = sum((x - x.mean()) / x.std(correction=0) for x in (cosines, agreement(pictures))) / 2
    torch.testing.assert_close(both, expected, check_dtype=False)
    scaled = jointly(7 * cosines - 3, pictures)  # whatever CLIP counts in
    torch.testing.assert_close(scaled, both, rtol=0, atol=1e-6)


def test_those_that_clip_hardly_tells_apart_stand_the_same_in_any_order(pictures):
    cosines = 0.98 + 6e-8 * torch.tensor([10.0, 160.0, 3.0, 15.0, 44.0])
    both = jointly(cosines, pictures)
    for order in map(list, itertools.permutations(range(5))):
        torch.testing.assert_close(jointly(cosines[order], pictures[order]), both[order], rtol=0, atol=1e-5)


def test_two_pictures_agree_alike_and_one_has_nobody_to_agree_with(pictures):
    assert jointly(torch.tensor([0.1, 0.3]), pictures[:2]).tolist() == pytest.approx([-0.5, 0.5], abs=0.01)
    assert jointly(torch.tensor([0.1]), pictures[:1]).tolist() == [0.0]
