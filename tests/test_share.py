"""Links and notes: what goes in comes out, and nothing else does."""

import string
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import parse_qs, parse_qsl

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dalle import share
from dalle.contracts import Request, SamplingOptions
from dalle.errors import LinkError
from dalle.share import Recipe, Sweep

KEPT = arrays(
    np.int64, st.tuples(st.integers(1, 32), st.integers(1, 32)), elements=st.integers(-1, 2**14), fill=st.just(-1)
)
RECIPES = st.builds(
    Recipe,
    prompt=st.text(st.characters(codec="utf-8"), max_size=60),
    model=st.text(string.ascii_letters + " &=?#%+/é", min_size=1, max_size=12),
    fingerprint=st.text("0123456789abcdef", min_size=16, max_size=16),
    seed=st.integers(0, 2**63 - 1),
    samples=st.integers(8, 256),
    keep=st.integers(1, 8),
    options=st.builds(
        SamplingOptions,
        guidance=st.floats(0, 30),
        temperature=st.floats(0, 10),
        top_k=st.integers(0, 2**14),
        top_p=st.floats(0.01, 1),
    ),
    kept=st.none() | KEPT,
    sweep=st.none() | st.builds(Sweep, st.text(), st.dictionaries(st.text(), st.text(), max_size=3), st.text()),
)
EXAMPLE = Recipe("a red bird", "emoji", "0123456789abcdef", 77, 16, 4, SamplingOptions(2.0, 1.0, 128, 0.9))


def same(one: Recipe, other: Recipe) -> bool:
    return one == other and (
        one.kept is other.kept is None
        or (one.kept is not None and other.kept is not None and np.array_equal(one.kept, other.kept))
    )


@given(RECIPES)
def test_a_link_holds_the_whole_recipe(recipe):
    assert same(share.follow(share.link(recipe)), recipe)


@given(RECIPES)
def test_a_note_holds_all_that_a_picture_depends_on(recipe):
    back = share.recall({**share.note(recipe), "index": 11})
    assert back.samples == back.keep == 12  # enough to meet candidate 11 again
    assert share.note(back) == share.note(recipe)


@given(KEPT)
def test_kept_tokens_survive_packing(kept):
    assert np.array_equal(share.unpack(share.pack(kept)), kept)


def test_half_a_picture_of_the_paper_takes_a_kilobyte():
    kept = np.full((32, 32), -1)
    kept[:16] = np.random.default_rng(0).integers(0, 8192, (16, 32))
    assert len(share.pack(kept)) * 3 / 4 < 1024
    assert len(share.link(EXAMPLE)) < 250


def test_links_mean_what_they_always_meant():
    """Letter by letter: this one is out in the world."""
    kept = np.where(np.arange(16) < 8, np.arange(16), -1).reshape(4, 4)
    known = (
        "prompt=a+red+bird&seed=77&samples=16&keep=4&guidance=2.0&temperature=1.0&top_k=128&top_p=0.9&model=emoji"
        "&fingerprint=0123456789abcdef&kept=BAQD_wAFOXc&check=12d84652"
    )
    recipe = replace(EXAMPLE, kept=kept)
    assert share.link(recipe) == known and same(share.follow(known), recipe)


def test_an_address_may_hold_other_things_too():
    assert share.follow(f"theme=dark&{share.link(EXAMPLE)}&source=mail") == EXAMPLE


def test_a_link_can_be_read_by_people():
    told = parse_qs(share.link(EXAMPLE))
    assert (told["prompt"], told["seed"], told["guidance"]) == (["a red bird"], ["77"], ["2.0"])


def test_what_a_model_is_asked_for_becomes_a_recipe():
    bundle = SimpleNamespace(name="emoji", fingerprint="abc", options=SamplingOptions(guidance=3.0))
    recipe = Recipe.of(Request("a red bird", samples=5, seed=9), bundle)  # type: ignore[arg-type]
    assert recipe == Recipe("a red bird", "emoji", "abc", 9, 5, 5, SamplingOptions(guidance=3.0))


@given(st.data())
def test_a_link_that_lost_or_changed_a_character_is_refused(data):
    whole = share.link(EXAMPLE)
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.sampled_from(string.ascii_lowercase + string.digits).filter(lambda c: c != whole[at]))
    for spoilt in (whole[:at], whole[:at] + other + whole[at + 1 :]):
        with pytest.raises(LinkError):
            share.follow(spoilt)


def signed(**told: object) -> str:
    """A link with these words in place of the example's, and a checksum that fits."""
    body = share._query({**dict(parse_qsl(share.link(EXAMPLE))), **told})
    return f"{body}&check={share._checksum(body)}"


def test_the_example_of_the_next_test_is_a_good_one():
    assert share.follow(signed()) == EXAMPLE


@pytest.mark.parametrize(
    "told",
    [
        {"samples": 0},
        {"samples": 10**9},
        {"keep": 17},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": 1.5},
        {"seed": "9" * 5000},
        {"guidance": "nan"},
        {"top_p": "inf"},
        {"top_k": 0.5},
        {"temperature": "hot"},
        {"prompt": "w" * 2001},
        {"model": "m" * 201},
        {"kept": "AAAA"},
        {"kept": "not base64!"},
        {"kept": share.pack(np.ones((4, 4), np.int64))[:-2]},
        {"kept": share.pack(np.ones((4, 4), np.int64)) + "AAAA"},
        {"sweep": "device"},
        {"sweep": "[" * 5000},
        {"sweep": '{"template": "device", "values": "thing", "axis": "period"}'},
        {"sweep": '{"template": "device", "values": {"thing": 1}, "axis": "period"}'},
        {"sweep": '{"template": "device", "values": {}}'},
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(told):
    with pytest.raises(LinkError, match=r"damaged"):
        share.follow(signed(**told))


def test_a_link_of_any_length_is_refused():
    with pytest.raises(LinkError, match="too long"):
        share.follow(signed(prompt="x" * 40_000))


@pytest.mark.parametrize("query", ["", "check=", "a=b", "%%%&check=00000000", "\ud800&check=0"])
def test_other_queries_are_no_links(query):
    with pytest.raises(LinkError):
        share.follow(query)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"prompt": "a red bird"},
        {"prompt": "a red bird", "settings": [1]},
        {**share.note(EXAMPLE), "index": "x"},
        {**share.note(EXAMPLE), "index": 0, "seed": None},
        {**share.note(EXAMPLE), "index": 0, "settings": {}},
        {**share.note(EXAMPLE), "index": 0, "prompt": ["a"]},
    ],
)
def test_notes_of_others_are_refused(told):
    with pytest.raises(LinkError):
        share.recall(told)
