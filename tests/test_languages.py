"""Hints for sentences in a language that a model never learned."""

import pytest

from dalle.languages import hint

ENGLISH, RUSSIAN = ("English",), ("Russian",)


@pytest.mark.parametrize(
    ("prompt", "languages", "hinted"),
    [
        ("a red cat", ENGLISH, False),
        ("a red cat", RUSSIAN, True),
        ("рыжий кот", RUSSIAN, False),
        ("РЫЖИЙ КОТ", ENGLISH, True),
        ("плакат с надписью OPEN", RUSSIAN, False),
        ("a poster that reads ДА", ENGLISH, False),
        ("a poster that reads ДА", RUSSIAN, True),
        ("une île où il naît", ENGLISH, False),
        ("赤い鳥", ENGLISH, True),
        ("赤い鳥", RUSSIAN, True),
        ("рыжий кот", ("English", "Russian"), False),
        ("рыжий кот", (), False),
        ("рыжий кот", ("Klingon",), False),
        ("", RUSSIAN, False),
        ("12 + 7 🍓", RUSSIAN, False),
    ],
)
def test_hints_are_for_foreign_letters(prompt, languages, hinted):
    assert (hint(prompt, languages) is not None) == hinted


def test_a_hint_names_the_languages():
    assert hint("a red cat", RUSSIAN) == "This model learned from Russian sentences, and hardly understands others."
