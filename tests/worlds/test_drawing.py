"""What the drawings look like: colors are the named ones, materials and outlines are visible."""

import numpy as np
import pytest

from dalle.errors import WorldError
from dalle.worlds import backgrounds, fonts
from dalle.worlds.colors import COLORS, PALE, nearest
from dalle.worlds.glyphs import catalogue, draw_character
from dalle.worlds.materials import typical_color
from dalle.worlds.scene import draw_scene, rimmed, thing
from dalle.worlds.sprites import fitted, original, sprite
from dalle.worlds.vocabulary import SMALL

TWO_TONED = {"duck", "rocket", "camera", "sunglasses"}
"""Half of their pixels keep another color by design: a green head, black lenses."""


@pytest.mark.parametrize("color", COLORS)
def test_a_recolored_glyph_mostly_has_the_named_color(color):
    found = {noun: nearest(typical_color(original(noun, color))) for noun in SMALL}
    close = {color, "gray"} if color == "black" else {color}
    assert {noun for noun in SMALL if found[noun] not in close} <= TWO_TONED


def test_recoloring_keeps_the_shading():
    plain, blue = (np.asarray(original("strawberry", color), np.float32) for color in (None, "blue"))
    visible = plain[..., 3] > 200
    brightness = [picture[visible][:, :3].mean(-1) for picture in (plain, blue)]
    assert np.corrcoef(*brightness)[0, 1] > 0.5


def test_a_blue_strawberry_keeps_its_green_leaves():
    pixels = np.asarray(original("strawberry", "blue")).reshape(-1, 4)
    names = [nearest(tuple(int(c) for c in pixel[:3])) for pixel in pixels[pixels[:, 3] > 200][::97]]
    assert names.count("blue") > names.count("green") > 0


def test_materials_and_outlines_change_the_right_things():
    snail, made = original("snail"), original("snail", material="violin")
    assert abs(made.width / made.height - snail.width / snail.height) < 0.05
    assert typical_color(made) != typical_color(snail)
    clock = original("clock", outline="heart")
    heart = original("heart")
    assert abs(clock.width / clock.height - heart.width / heart.height) < 0.05


@pytest.mark.parametrize(("color", "tint"), [(None, "white"), ("black", "white"), ("white", "blue")])
def test_a_rim_is_paper_all_around_a_thing(color, tint):
    facts = {"background": backgrounds.plain("green"), "things": [thing("cube", (128, 128), 120, color)]}
    bare, cut_out = (
        draw_scene({**facts, "things": things}) for things in (facts["things"], [rimmed(*facts["things"])])
    )
    alone = draw_scene({**facts, "background": backgrounds.plain(tint)})
    left, middle = (63, 150), (128, 128)
    assert cut_out.getpixel(left) == PALE[tint] and bare.getpixel(left) == PALE["green"]
    assert cut_out.getpixel((40, 150)) == PALE["green"]
    assert cut_out.getpixel(middle) == bare.getpixel(middle)
    inner = (68, 68, 188, 188)
    kept = np.abs(np.asarray(cut_out.crop(inner), int) - np.asarray(alone.crop(inner), int)).max(-1) < 3
    assert kept.mean() > 0.95  # but for the corners that the rim leaves free


def test_sprites_have_the_asked_size():
    width, height = fitted("banana", 96)
    assert max(width, height) == 96
    assert sprite("banana", width, height, "green").size == (width, height)


def test_glyphs_are_cut_to_what_is_visible():
    picture = draw_character(catalogue()["apple"].character)
    assert picture.getbbox() == (0, 0, *picture.size)


def test_nouns_are_unique_words_without_flags_or_skin_tones():
    assert len(catalogue()) > 1000
    assert all(noun == noun.lower() and "_" not in noun and "flag" not in noun for noun in catalogue())


def test_an_unknown_noun_is_an_error():
    with pytest.raises(WorldError, match="no picture of 'blorp'"):
        original("blorp")


def test_a_missing_font_is_explained(monkeypatch, tmp_path):
    monkeypatch.setattr(fonts, "_folders", lambda: [tmp_path])
    fonts.find.cache_clear()
    with pytest.raises(WorldError, match=r"apt-get install .*fonts-noto-color-emoji"):
        fonts.find(fonts.EMOJI_FILE)
    fonts.find.cache_clear()


def test_fonts_are_looked_for_in_the_named_folder(monkeypatch, tmp_path):
    (tmp_path / "some").mkdir()
    file = tmp_path / "some" / "Own.ttf"
    file.write_bytes(b"")
    monkeypatch.setenv("DALLE_FONTS", str(tmp_path))
    assert fonts.find("Own.ttf") == file
