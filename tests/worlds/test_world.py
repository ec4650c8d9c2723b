"""The world: the same for everyone, true to its captions, and silent about what is held out."""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from dalle.errors import WorldError
from dalle.worlds import World, WorldConfig, contact_sheet, negative_captions, reword
from dalle.worlds.colors import PALE, SYNONYMS
from dalle.worlds.families import FAMILIES
from dalle.worlds.scene import COMPANY_SIDE, CROWD_SIDE, NAMED, SIDES, center_of, is_inside
from dalle.worlds.signs import misspelled
from dalle.worlds.split import is_held_out
from dalle.worlds.vocabulary import SMALL as SMALL_NOUNS
from dalle.worlds.vocabulary import vocabulary, words_for
from dalle.worlds.wearing import HEADS
from dalle.worlds.words import NUMBERS, plural

SMALL = WorldConfig(vocabulary="small", lattice=16)
HELD_OUT_BLUE = {"avocado", "ball", "butterfly", "elephant", "heart", "ice cream", "rocket"}
FULL = WorldConfig(vocabulary="full")


@pytest.fixture(scope="module", params=[SMALL, FULL], ids=["small", "full"])
def examples(request):
    """Plans of many pictures: nearly all tests need no drawing."""
    world = World(request.param)
    return [world.plan(index) for index in range(300)]


def only(family, config=SMALL, count=60):
    world = World(replace(config, families={family: 1.0}))
    return [world.plan(index) for index in range(count)]


def nouns_in(facts):
    content = [facts["content"]] if "content" in facts else []
    return [item["noun"] for item in [*facts["things"], *content]]


def test_a_picture_depends_on_seed_and_index_alone():
    forward, backward = World(SMALL), World(SMALL)
    indices = list(range(12))
    there = [forward[index] for index in indices]
    back = [backward[index] for index in reversed(indices)][::-1]
    for one, other in zip(there, back, strict=True):
        assert (one.caption, one.facts) == (other.caption, other.facts)
        assert one.picture.tobytes() == other.picture.tobytes()
    assert World(WorldConfig(seed=1, vocabulary="small"))[0].caption != there[0].caption


def test_a_world_is_iterable_from_its_start():
    world = World(SMALL)
    assert [example.caption for example, _ in zip(world, range(3), strict=False)] == [
        world[i].caption for i in range(3)
    ]


def test_pictures_have_the_wanted_size():
    picture = World(WorldConfig(vocabulary="small", size=64))[3].picture
    assert picture.size == (64, 64) and picture.mode == "RGB"


def test_every_family_appears(examples):
    assert {example.family for example in examples} == set(FAMILIES)


def test_captions_are_plain_lower_case_sentences(examples):
    for example in examples:
        assert example.caption == example.caption.lower().strip()
        assert "  " not in example.caption and "{" not in example.caption
        assert not re.search(r"\ba [aeio]\w*[^aeiou\W]", example.caption.replace("a one", "")), example.caption


@pytest.mark.parametrize("family", FAMILIES)
def test_facts_are_json_and_decide_the_picture(family):
    example = World(replace(FULL, families={family: 1.0}))[0]
    facts = json.loads(json.dumps(example.facts))
    assert FAMILIES[family].draw(facts).tobytes() == example.picture.tobytes()


def test_a_plan_is_the_example_without_its_picture():
    world = World(SMALL)
    plan, example = world.plan(7), world[7]
    assert (plan.caption, plan.family, plan.facts) == (example.caption, example.family, example.facts)


def test_things_are_not_cut_off(examples):
    for example in examples:
        assert all(is_inside(item["box"], margin=-4) for item in example.facts["things"]), example.caption


def test_training_never_shows_what_is_held_out(examples):
    unseen = set(vocabulary("unseen").nouns)
    for example in examples:
        assert not any(map(is_held_out, FAMILIES[example.family].combinations(example.facts)))
        assert not unseen & set(nouns_in(example.facts))


def test_held_out_pictures_show_something_held_out():
    world = World(WorldConfig(vocabulary="small", split="heldout", lattice=16))
    for index in range(60):
        example = world.plan(index)
        assert any(map(is_held_out, FAMILIES[example.family].combinations(example.facts))), example.caption


def test_the_split_is_the_one_that_was_published():
    assert not is_held_out(("color", "strawberry", "blue"))
    assert not is_held_out(("relation", "dog", "left of", "cat"))
    assert {noun for noun in SMALL_NOUNS if is_held_out(("color", noun, "blue"))} == HELD_OUT_BLUE
    share = np.mean([is_held_out(("color", noun, "red")) for noun in vocabulary("full").nouns])
    assert 0.06 < share < 0.14


def test_a_hundred_glyphs_are_unseen_and_never_small():
    small, full, unseen = (set(vocabulary(name).nouns) for name in ("small", "full", "unseen"))
    assert len(unseen) == 100 and not unseen & full
    assert small <= full and len(small) < 80 and len(full) > 1000
    picture = World(WorldConfig(vocabulary="unseen", split="heldout", families={"two_panel": 1.0})).plan(0)
    assert nouns_in(picture.facts)[0] in unseen


def said_colors(color):
    return (color, *SYNONYMS.get(color, ()))


def test_every_drawn_noun_and_color_is_said():
    for example in only("relation"):
        for item in example.facts["things"]:
            assert any(word in example.caption for word in words_for(item["noun"])), example.caption
            assert item["color"] is None or any(word in example.caption for word in said_colors(item["color"]))


def test_what_covers_part_of_another_thing_has_a_rim():
    covering = {"inside": 0, "in front of": 0, "behind": 1}
    for example in only("relation"):
        place = covering.get(example.facts["relation"])
        rimmed = [index for index, item in enumerate(example.facts["things"]) if item.get("rim")]
        assert rimmed == ([] if place is None else [place]), example.caption


def test_counts_are_the_number_of_drawn_things():
    for example in only("count"):
        number = example.facts["count"]
        assert len(example.facts["things"]) == number
        assert {NUMBERS[number], str(number)} & set(example.caption.split())
        boxes = [item["box"] for item in example.facts["things"]]
        assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def center(item):
    x0, y0, x1, y1 = item["box"]
    return (x0 + x1) / 2, (y0 + y1) / 2


def test_relations_hold_between_the_boxes():
    for example in [*only("relation"), *only("relation", FULL)]:
        first, second = example.facts["things"]
        (ax, ay), (_, by) = center(first), center(second)
        a, b = first["box"], second["box"]
        holds = {
            "left of": a[2] <= b[0],
            "right of": b[2] <= a[0],
            "above": a[3] <= b[1] and ay < by,
            "below": b[3] <= a[1] and by < ay,
            "on top of": abs(a[3] - b[1] - 4) <= 8 and b[0] <= ax <= b[2],
            "inside": b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3],
            "in front of": overlap(a, b) and ay > by,
            "behind": overlap(a, b) and ay < by,
        }
        assert holds[example.facts["relation"]], (example.caption, a, b)


def test_negative_captions_are_not_true_ones():
    rng = np.random.default_rng(0)
    found = 0
    for example in [World(SMALL).plan(index) for index in range(300)]:
        true = {example.caption, *(reword(example, rng) for _ in range(20))}
        wrong = negative_captions(example, rng)
        found += len(wrong)
        assert not true.intersection(wrong), example.caption
    assert found > 450


def test_negatives_of_a_colored_thing_have_another_color_or_another_thing():
    rng = np.random.default_rng(0)
    for example in only("object"):
        (item,) = example.facts["things"]
        if item["color"] and item["noun"] in NAMED:
            recolored, misnamed = negative_captions(example, rng)
            assert item["color"] not in recolored.split()
            assert not any(re.search(rf"\b{word}\b", misnamed) for word in words_for(item["noun"])), misnamed


def test_a_word_is_misspelled_and_stays_as_long():
    rng = np.random.default_rng(0)
    for word in ("openai", "no", "dall-e"):
        wrong = {misspelled(word, rng) for _ in range(50)}
        assert word not in wrong and {len(other) for other in wrong} == {len(word)} and len(wrong) > 20


def test_the_small_world_copies_things_that_it_does_not_draw():
    known = vocabulary("small")
    copied = {example.facts["things"][0]["noun"]: example.facts["copied"] for example in only("two_panel", count=60)}
    assert {noun for noun, only_copied in copied.items() if only_copied} == set(copied) - set(known.nouns)
    assert 20 < sum(copied.values()) < len(copied)
    assert not set(copied) & set(vocabulary("unseen").nouns)


def test_what_is_copied_can_be_of_any_color_and_stand_on_any_tint_either_way_in_the_small_world_too():
    copies = [example.facts for example in only("two_panel", count=150)]
    tops = [facts["things"][0] for facts in copies]
    assert {facts["background"]["color"] for facts in copies} == set(PALE)
    assert {top["color"] for top in tops} - {None, *vocabulary("small").colors}
    assert 0.15 < np.mean([top.get("mirrored", False) for top in tops]) < 0.45
    wearing = [top["noun"] for top, facts in zip(tops, copies, strict=True) if facts["change"]["kind"] == "wearing"]
    assert set(wearing) & set(HEADS) and set(wearing) - set(HEADS)


def test_rewording_keeps_the_nouns():
    rng = np.random.default_rng(0)
    for example in only("object", count=20):
        noun, caption = example.facts["things"][0]["noun"], reword(example, rng)
        assert any(word in caption for word in words_for(noun)), (noun, caption)


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("pizza", "pizzas"),
        ("cherry", "cherries"),
        ("fox", "foxes"),
        ("fish", "fish"),
        ("glasses", "glasses"),
        ("bowl of ramen", "bowls of ramen"),
        ("house with garden", "houses with garden"),
        ("woman running", "women running"),
    ],
)
def test_plurals(noun, many):
    assert plural(noun) == many


@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name].kinds])
def test_kinds_that_are_kept_less_often_are_rarer_and_families_keep_their_shares(family: str):
    def counted(kept):
        config = replace(SMALL, families={"object": 1.0, family: 1.0}, kept=kept)
        plans = [World(config).plan(index) for index in range(800)]
        return Counter(FAMILIES[plan.family].kind(plan.facts) for plan in plans)

    first, second, *_ = FAMILIES[family].kinds
    usual, thinned = counted(None), counted({family: {first: 0.0, second: 1.0}})
    assert set(usual) == {*FAMILIES[family].kinds, ""} and usual[first] > 10
    assert thinned[first] == 0 and thinned[second] > usual[second]
    assert 320 < thinned[""] < 480  # single objects, which have no kinds
    half = counted({family: {first: 0.5}})[first]
    assert 0.3 * usual[first] < half < 0.9 * usual[first]


def test_what_keeps_everything_draws_what_it_always_drew():
    kept, plain = World(replace(SMALL, kept={"relation": {}})), World(SMALL)
    assert all(kept.plan(index) == plain.plan(index) for index in range(50))


def test_contact_sheets_hold_every_picture():
    examples = list(islice(World(SMALL), 5))
    sheet = contact_sheet(examples, columns=2)
    assert sheet.width > 2 * 256 and sheet.height > 3 * 256


@pytest.mark.parametrize(
    "config",
    [
        WorldConfig(vocabulary="huge"),
        WorldConfig(split="dev"),
        WorldConfig(families={"unicorns": 1.0}),
        WorldConfig(families={"object": 0.0}),
        WorldConfig(kept={"unicorns": {}}),
        WorldConfig(kept={"relation": {"next to": 0.5}}),
        WorldConfig(kept={"bird": {"inside": 0.5}}),
        WorldConfig(vocabulary="unseen", split="train"),
    ],
)
def test_an_impossible_world_is_refused_with_a_sentence(config):
    with pytest.raises(WorldError, match=r"^[A-Z].*\.$"):
        World(config)


def on_the_lattice(item):
    return all(place % SMALL.lattice == 0 for place in center_of(item))


@pytest.mark.parametrize("family", ["object", "count", "relation", "row", "trio"])
def test_the_small_world_keeps_to_few_sizes_and_to_its_lattice(family):
    for example in only(family):
        for item in example.facts["things"]:
            x0, y0, x1, y1 = item["box"]
            assert max(x1 - x0, y1 - y0) in (*SIDES.values(), COMPANY_SIDE, CROWD_SIDE), example.caption
            assert on_the_lattice(item), example.caption


def test_figures_and_their_company_stand_on_the_lattice():
    for example in only("wearing"):
        assert all(on_the_lattice(item) or item["role"] == "worn" for item in example.facts["things"]), example.caption


def test_a_thing_touches_what_it_is_on_top_of():
    pairs = [example.facts["things"] for example in only("relation") if example.facts["relation"] == "on top of"]
    for upper, lower in pairs:
        gap = lower["box"][1] - upper["box"][3]
        assert -SMALL.lattice < gap <= SMALL.lattice // 2
    assert len(pairs) > 3
