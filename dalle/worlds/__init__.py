"""The procedural training world: endless captioned pictures, drawn from emoji, fonts and simple shapes."""

from dalle.worlds.scene import Example
from dalle.worlds.sheet import contact_sheet
from dalle.worlds.world import World, WorldConfig, negative_captions, reword

__all__ = ["Example", "World", "WorldConfig", "contact_sheet", "negative_captions", "reword"]
