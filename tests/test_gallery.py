"""Cards say whose score they show."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dalle.contracts import Candidate, Request
from dalle.ui import gallery


def shown(scored_by) -> str:
    """A finished gallery of three pictures, one of them not kept."""
    picture, tokens = Image.new("RGB", (8, 8)), np.zeros((2, 2), np.int64)
    drawn = Candidate(0, picture, tokens, score=-4.5, scored_by=scored_by)
    candidates = (drawn, replace(drawn, index=1, score=-4.75), replace(drawn, index=2, score=-5.0))
    cards = [gallery.Card(candidate, "a.png", "a.png") for candidate in candidates]
    return gallery.finished(cards[:2], cards[2:], Request("a bird"), "link", "grid.png", "all.zip")


@pytest.mark.parametrize("score", ["-4.500", "-4.750", "-5.000"])
def test_a_likelihood_is_not_called_clips(score):
    told = shown("likelihood")
    assert "CLIP" not in told and f"{score} nats per token" in told and "The likeliest" in told
    assert "1 more that the model itself ranked lower" in told and 'class="share"' not in told


def test_a_cosine_is_clips():
    told = shown("CLIP")
    assert "cosine similarity of sentence and picture: -4.500" in told and "CLIP’s choice" in told
    assert "1 more that CLIP ranked lower" in told and 'class="share"' in told


def test_a_standing_by_clip_and_agreement_is_told_in_standard_deviations():
    told = shown("CLIP and agreement")
    assert (
        "guesses of one: -4.50 standard deviations" in told and "First choice" in told and "<span>-4.50</span>" in told
    )
    assert "1 more that CLIP and agreement ranked lower" in told and 'class="share"' not in told
