"""All families of pictures, by name."""

from dalle.worlds.birdwatching import Bird
from dalle.worlds.blends import InShapeOf, MadeOf
from dalle.worlds.media import Dated, Styled
from dalle.worlds.objects import Count, SingleObject
from dalle.worlds.outfits import Outfit
from dalle.worlds.panels import TwoPanel
from dalle.worlds.relations import Relation, Row, Stack, Trio
from dalle.worlds.scene import Family
from dalle.worlds.signs import Pictured, Written
from dalle.worlds.wearing import Wearing

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        SingleObject(),
        Count(),
        Relation(),
        Row(),
        Trio(),
        Stack(),
        Wearing(),
        Outfit(),
        MadeOf(),
        InShapeOf(),
        Pictured(),
        Written(),
        Styled(),
        Dated(),
        Bird(),
        TwoPanel(),
    )
}
