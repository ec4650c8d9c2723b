"""All families of pictures, by name."""

from dalle.worlds.objects import Count, SingleObject
from dalle.worlds.relations import Relation, Row, Stack
from dalle.worlds.scene import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        SingleObject(),
        Count(),
        Relation(),
        Row(),
        Stack(),
    )
}
