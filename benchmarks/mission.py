"""The README's opening picture: `python -m benchmarks.mission [MODEL]` draws the sentences that DALL·E is known for.

Of each, the first of a ranked gallery of sixteen, seed 1; none is picked by hand. The teapot's upper half is given, as
OpenAI's page gave a photograph.
"""

import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from dalle.contracts import Borders, Request
from dalle.engine import Studio
from dalle.worlds import Example, contact_sheet
from dalle.worlds.families import FAMILIES
from dalle.worlds.scene import thing

OUT = Path(__file__).resolve().parent.parent / "assets" / "mission.png"
TEAPOT = "the exact same teapot on the top with a heart on the bottom"
SENTENCES = (
    "an illustration of an avocado in a helmet walking a dog",
    "a snail made of violin",
    "a road sign with an image of a blue strawberry",
    "a storefront that has 'openai' written on it",
    TEAPOT,
    "a photo of a phone from the 20s",
    "this bird is very shiny and red in color",
    "a pink colored bird",
    "this bird is red with a yellow belly and a short beak",
)


def main(model: str) -> None:
    studio = Studio.load(model, "cpu")
    given = Borders(top=studio.bundle.images.grid[0] // 2).of(studio.read(teapot()))
    wishes = [Request(sentence, 16, seed=1, previews=0) for sentence in SENTENCES]
    wishes = [replace(wish, kept=given) if wish.prompt == TEAPOT else wish for wish in wishes]
    drawn = [best(studio, wish) for wish in tqdm(wishes)]
    contact_sheet(drawn, columns=3).save(OUT, optimize=True)


def best(studio: Studio, wish: Request) -> Example:
    *_, done = studio.generate(wish)
    return Example(done.candidates[0].picture, wish.prompt, "mission", {})


def teapot() -> Image.Image:
    """A picture whose upper half shows one: a green one, on which a red heart can be seen."""
    facts = {
        "things": [thing("teapot", (128, 76), 88, "green")],
        "change": {"kind": "symbol", "value": "heart"},
        "background": {"kind": "plain", "color": "white", "said": False},
    }
    return FAMILIES["two_panel"].draw(facts)


if __name__ == "__main__":
    main(*sys.argv[1:] or ["emoji"])
