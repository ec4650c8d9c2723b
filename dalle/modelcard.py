"""The card of a model: the README in its folder."""

import re
from pathlib import Path


def read(place: Path | None) -> str:
    """What the card in a model's folder says, without its front matter: Markdown, empty where there is none."""
    path = place and place / "README.md"
    if not path or not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).strip()
