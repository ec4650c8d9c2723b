"""Honest words: what a prompt says that training never did."""

import os
from pathlib import Path

import pytest

from dalle import config, lexicon
from dalle.lexicon import confession, count_words, unknown_words
from dalle.models import ASSETS

CAPTIONS = [
    "a red cherry next to two dogs",
    "a wolf and a cherry in the snow",
    "a red dog that has 'hello' written on it",
    "a wolf as a cross-stitch. a red dog, a cherry, a wolf",
    "a dog in the shape of a cherry, cross-stitch",
    "a cross-stitch of a café",
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    config.save(count_words(CAPTIONS), tmp_path / lexicon.FILE)
    return tmp_path


def test_words_are_counted_once_a_caption_and_those_in_quotes_not_at_all():
    counts = count_words(CAPTIONS)
    assert (counts["wolf"], counts["cherry"], counts["cross-stitch"], counts["cafe"]) == (2, 4, 3, 1)
    assert "hello" not in counts
    assert list(counts.values()) == sorted(counts.values(), reverse=True)


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a red cherry", []),
        ("The RED Cherries, with the dog's cross-stitch!", []),  # plurals, capitals, possessives
        ("a xylophone on a tuba and a Xylophone", ["xylophone", "tuba"]),  # once, as first typed
        ("a wolf in a café", ["wolf", "café"]),  # met too seldom
        ("a sign that says 'xylophone' in red", ["sign", "says"]),  # in quotes it is spelled
        ("a tuba, «kazoo», ＂don’t＂ and 'rock'n'roll' on a harp", ["tuba", "harp"]),  # as `text.quoted` reads quotes
        ("a cherry-red dog, a cherry-like lamp", ["lamp"]),
        ("7 dogs from the 1930s", []),
        ("", []),
        ("the dog isn’t a zebra’s", ["isn’t", "zebra’s"]),
    ],
)
def test_only_words_that_were_never_learned_are_named(place: Path, prompt: str, unknown: list[str]):
    assert unknown_words(prompt, place) == unknown


def test_of_a_model_that_tells_no_words_nothing_is_said(tmp_path: Path):
    assert unknown_words("a xylophone", tmp_path) == [] == unknown_words("a xylophone", None)


def test_a_newer_list_is_read(place: Path):
    assert unknown_words("a lamp", place) == ["lamp"]
    path = place / lexicon.FILE
    before = path.stat().st_mtime_ns
    config.save({"lamp": 3}, path)
    os.utime(path, ns=(before + 10**9, before + 10**9))
    assert unknown_words("a lamp", place) == []


def test_the_note_is_a_sentence():
    assert confession([]) == ""
    assert confession(["xylophone"]).startswith("This small model has not learned the word ‘xylophone’;")
    assert "the words ‘xylophone’, ‘tuba’;" in confession(["xylophone", "tuba"])


def test_the_embedded_model_knows_its_ideas_and_no_xylophone():
    from dalle.ui.create import IDEAS

    place = ASSETS / "emoji"
    assert {idea: found for idea in IDEAS if (found := unknown_words(idea, place))} == {}
    assert unknown_words("a xylophone made of strawberries", place) == ["xylophone"]
