"""Templates: what they render, and that the shipped ones say what the training world says."""

import re
from dataclasses import replace

import numpy as np
import pytest

from dalle.errors import SettingError
from dalle.prompts import Template, families, skill, templates

WALK = Template(
    "walk",
    "A walk",
    "composition",
    "{a} {color} {animal} walks. the {animal} meets {a} {other}.",
    {"color": ("orange", "red"), "animal": ("owl", "cat"), "other": ("unicorn", "egg")},
)


def test_defaults_are_the_first_options():
    assert WALK.render() == "an orange owl walks. the owl meets a unicorn."


def test_a_slot_that_stands_twice_is_one_slot():
    assert WALK.render({"animal": "fox"}) == "an orange fox walks. the fox meets a unicorn."
    assert [field.name for field in WALK.fields()] == ["color", "animal", "other"]


@pytest.mark.parametrize(
    ("values", "start"),
    [
        ({"color": "red"}, "a red owl walks."),
        ({"color": ""}, "an owl walks."),
        ({"color": "  very   tiny "}, "a very tiny owl walks."),
        ({"color": "an apple-green"}, "an apple-green owl walks."),
        ({"color": "", "animal": "An Emu"}, "an Emu walks. the Emu meets"),
        ({"color": "{animal} 🦆"}, "a {animal} 🦆 owl walks."),
        ({"color": "\0"}, "an owl walks."),
    ],
)
def test_free_text_agrees_with_its_article(values, start):
    assert WALK.render(values).startswith(start)


def test_an_empty_sentence_renders_without_a_stray_article_crash():
    assert Template("t", "T", "f", "{a} {x}", {"x": ("cat",)}).render({"x": ""}) == "a"


def test_an_unknown_slot_is_named():
    with pytest.raises(SettingError, match="no slot named size"):
        WALK.render({"size": "tiny"})


def test_fields_carry_labels_and_options():
    (field,) = Template("t", "T", "f", "{second_color}", {"second_color": ("red", "blue")}).fields()
    assert (field.label, field.options) == ("second color", ("red", "blue"))


@pytest.mark.parametrize("template", templates(), ids=lambda t: t.id)
def test_shipped_templates_are_whole(template):
    assert {field.name for field in template.fields()} == set(template.slots)
    assert all(len(options) == len(set(options)) > 1 for options in template.slots.values())
    for name, options in template.slots.items():
        for option in options:
            sentence = template.render({name: option})
            assert option in sentence and not re.search(r"[{}\0]|  |\ba [aeio]|\ban [^aeiou]", sentence), sentence


def test_ids_differ_and_every_family_has_a_title_and_several_templates():
    members = [template.family for template in templates()]
    assert len({template.id for template in templates()}) == len(members)
    assert list(families()) == list(dict.fromkeys(members))  # also in this order
    assert all(members.count(family) >= 2 for family in families())
    assert {t.family for t in templates() if t.needs_picture} == {"image-to-image"}


def test_a_template_is_as_hard_as_the_hardest_of_its_families():
    told = {"object": 1.0, "wearing": 0.25}
    asked = {family: skill(replace(WALK, measured=(family,)), told) for family in ("object", "wearing", "place")}
    assert asked == {"object": 1, "wearing": 0.25, "place": 0}
    assert skill(replace(WALK, measured=("object", "wearing")), told) == 0.25
    assert skill(WALK, told) is None
    assert all(skill(template, None) is None for template in templates())


def test_templates_are_measured_by_families_of_the_world_or_not_in_it_at_all():
    from dalle.worlds.families import FAMILIES

    assert {name for t in templates() for name in t.measured} - set(FAMILIES) == {"place"}


def test_templates_use_only_words_that_the_training_world_says():
    from dalle.worlds.families import FAMILIES
    from dalle.worlds.scene import Stage
    from dalle.worlds.vocabulary import vocabulary

    said: set[str] = set()
    for family in FAMILIES.values():
        rng = np.random.default_rng(0)  # its own, so that what one family says does not hang on what another draws
        stage = Stage(rng, vocabulary("small"), 1)
        captions = (family.caption(family.plan(stage), rng) for _ in range(200))
        said.update(word for caption in captions for word in re.findall(r"[\w-]+", caption))
    asked = {
        word: template.id
        for template in templates()
        if set(template.measured) <= set(FAMILIES)
        for name, options in template.slots.items()
        for option in options
        for word in re.findall(r"[\w-]+", template.render({name: option}))
    }
    assert {word: where for word, where in asked.items() if word not in said} == {}


@pytest.mark.parametrize("template", templates(), ids=lambda template: template.id)
def test_no_word_stands_twice_in_a_row(template):
    assert not re.search(r"\b(\w+) \1\b", template.render())


def test_a_plural_gets_no_article():
    assert Template("t", "T", "f", "in {a} {x}", {"x": ("glasses",)}).render() == "in glasses"
