"""The catalogue of nameable glyphs, and drawing one.

Names come from the `emoji` package, cleaned up by `NAMES` so that they read like nouns; skin tones, flags,
keycaps, gendered doubles and clock hands are left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import emoji
from PIL import Image, ImageDraw

from dalle.worlds.fonts import emoji_font

_SKIPPED = re.compile(
    r"no_|input_|curly_|double_|breast-|exclamation|part_alternation|wavy|divide|minus|multiply|plus|infinity"
    r"|(wo)?men_|(wo)?men’s|(wo)?man_bald|person_|people_|family|couple|kiss_"
    r"|(red|orange|yellow|green|blue|purple|brown|black|white|grey|pink|light_blue)_(?!flower|cane)"
    r"|.*(facing_right|o’clock|-thirty|button|keycap|flag|_arrow|_sign|symbol|square|circle|diamond$|moon_face"
    r"|middle_finger|pregnant|speaker_|blond|_NO$|_OK$)"
)
_KEPT = {"crescent_moon", "stop_sign", "bow_and_arrow"}
"""Names that look like skipped ones."""

NAMES: dict[str, tuple[str, ...]] = {
    "red_apple": ("apple",),
    "automobile": ("car", "automobile"),
    "sport_utility_vehicle": ("suv",),
    "telephone": ("phone", "telephone"),
    "mobile_phone": ("mobile phone", "cell phone", "smartphone"),
    "television": ("television", "tv", "tv set"),
    "laptop": ("computer", "laptop"),
    "bicycle": ("bicycle", "bike"),
    "hamburger": ("burger", "hamburger"),
    "shortcake": ("cake", "piece of cake"),
    "soft_ice_cream": ("ice cream", "ice cream cone"),
    "ice_cream": ("bowl of ice cream",),
    "cherries": ("cherry",),
    "sailboat": ("boat", "sailboat"),
    "deciduous_tree": ("tree",),
    "blossom": ("flower", "blossom"),
    "red_heart": ("heart",),
    "crescent_moon": ("moon", "crescent moon"),
    "soccer_ball": ("ball", "soccer ball", "football"),
    "closed_book": ("book",),
    "light_bulb": ("lamp", "light bulb"),
    "hot_beverage": ("cup", "cup of coffee"),
    "mantelpiece_clock": ("mantel clock",),
    "alarm_clock": ("clock", "alarm clock"),
    "locomotive": ("train", "steam train", "locomotive"),
    "train": ("electric train",),
    "high-speed_train": ("high-speed train", "bullet train"),
    "jack-o-lantern": ("pumpkin", "jack-o-lantern"),
    "woman’s_hat": ("hat", "sun hat"),
    "billed_cap": ("cap", "baseball cap"),
    "rescue_worker’s_helmet": ("helmet",),
    "honeybee": ("bee", "honeybee"),
    "lady_beetle": ("ladybug", "ladybird"),
    "airplane": ("airplane", "plane", "aeroplane"),
    "baguette_bread": ("baguette",),
    "ear_of_corn": ("corn cob", "ear of corn"),
    "eggplant": ("eggplant", "aubergine"),
    "french_fries": ("french fries", "chips"),
    "tangerine": ("tangerine", "mandarin"),
    "green_salad": ("salad",),
    "red_paper_lantern": ("paper lantern",),
    "black_bird": ("crow", "raven"),
    "black_nib": ("pen nib",),
    "locked": ("padlock",),
    "unlocked": ("open padlock",),
    "locked_with_key": ("padlock with key",),
    "locked_with_pen": ("padlock with pen",),
    "copyright": ("copyright mark",),
    "registered": ("registered mark",),
    "trade_mark": ("trade mark",),
    "hundred_points": ("hundred points mark",),
    "snow-capped_mountain": ("snowy mountain",),
    "high_voltage": ("lightning bolt",),
    "collision": ("explosion",),
    "dashing_away": ("puff of smoke",),
    "hourglass_done": ("hourglass",),
    "hourglass_not_done": ("running hourglass",),
    "fork_and_knife_with_plate": ("plate with fork and knife", "plate"),
    "white_flower": ("flower stamp",),
    "zzz": ("snoring sign",),
    "kiwi_fruit": ("kiwi",),
    "two-hump_camel": ("bactrian camel",),
    "hippopotamus": ("hippo", "hippopotamus"),
    "rhinoceros": ("rhino", "rhinoceros"),
    "sauropod": ("dinosaur", "brontosaurus"),
    "spiral_shell": ("seashell", "shell"),
    "wrapped_gift": ("gift", "present"),
    "steaming_bowl": ("bowl of ramen", "ramen"),
    "bubble_tea": ("bubble tea", "cup of boba"),
    "couch_and_lamp": ("couch",),
    "t-shirt": ("t-shirt", "shirt"),
    "jeans": ("jeans", "pair of jeans"),
    "glasses": ("glasses", "eyeglasses"),
    "gem_stone": ("gem", "diamond"),
    "globe_showing_Europe-Africa": ("earth", "globe", "planet earth"),
    "pile_of_poo": ("poo",),
    "potted_plant": ("potted plant", "indoor plant"),
    "sewing_needle": ("sewing needle", "needle"),
    "headphone": ("headphones",),
    "video_camera": ("video camera", "camcorder"),
    "game_die": ("die", "game die"),
    "magnifying_glass_tilted_left": ("magnifying glass",),
    "leafy_green": ("bok choy", "lettuce"),
    "root_vegetable": ("radish", "beetroot"),
    "postbox": ("mailbox", "postbox"),
    "umbrella_with_rain_drops": ("umbrella in the rain",),
    "kitchen_knife": ("kitchen knife", "knife"),
    "t-rex": ("t-rex", "tyrannosaurus"),
    "delivery_truck": ("truck", "delivery truck"),
    "passenger_ship": ("ship", "passenger ship"),
    "ship": ("ocean liner",),
    "baby_chick": ("chick", "baby chick"),
    "front-facing_baby_chick": ("front-facing chick",),
    "spouting_whale": ("spouting whale",),
    "running_shoe": ("sneaker", "running shoe"),
    "woman’s_boot": ("boot",),
    "woman’s_sandal": ("sandal",),
    "man’s_shoe": ("leather shoe",),
    "woman’s_clothes": ("blouse",),
    "necktie": ("tie", "necktie"),
}
"""Names in the `emoji` package -> the noun a caption uses, then its synonyms."""


@dataclass(frozen=True)
class Glyph:
    """A picture of the font: `noun` is its one name in facts, captions may also use its `synonyms`."""

    noun: str
    character: str
    synonyms: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        return (self.noun, *self.synonyms)


def _nouns(name: str) -> tuple[str, ...]:
    plain = name.replace("_", " ").replace("’", "'").replace("(", "").replace(")", "").lower()
    plain = re.sub(r"^((?:wo)?man) (beard|.* hair)$", r"\1 with \2", plain)
    return NAMES.get(name, (plain,))


def _is_nameable(character: str, name: str, status: int) -> bool:
    code_points = [ord(point) for point in character]
    return (
        status == emoji.STATUS["fully_qualified"]
        and not any(0x1F3FB <= code <= 0x1F3FF or 0x1F1E6 <= code <= 0x1F1FF or code > 0xE0000 for code in code_points)
        and (name in _KEPT or name in NAMES or _SKIPPED.match(name) is None)
    )


@cache
def catalogue() -> Mapping[str, Glyph]:
    """All glyphs the installed font can draw, by noun, in a fixed order."""
    font = emoji_font()
    glyphs: dict[str, Glyph] = {}
    for character, data in emoji.EMOJI_DATA.items():
        name = data["en"].strip(":")
        if _is_nameable(character, name, data["status"]) and font.getbbox(character)[3] > font.getbbox(character)[1]:
            noun, *synonyms = _nouns(name)
            glyphs.setdefault(noun, Glyph(noun, character, tuple(synonyms)))
    return dict(sorted(glyphs.items()))


@lru_cache(maxsize=4096)
def draw_character(character: str) -> Image.Image:
    """An emoji at the font's strike, RGBA, cut to its visible pixels."""
    font = emoji_font()
    canvas = Image.new("RGBA", (192, 192))
    ImageDraw.Draw(canvas).text((24, 24), character, font=font, embedded_color=True)
    return canvas.crop(canvas.getbbox())
