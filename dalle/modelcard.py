"""The card of a model: the README in its folder."""

import re
from pathlib import Path


def read(place: Path | None) -> str:
    """What the card in a model's folder says, without its front matter: Markdown, empty where there is none."""
    path = place and place / "README.md"
    if not path or not path.is_file():
        return ""
    return parts(path.read_text(encoding="utf-8"))[1].strip()


def parts(text: str) -> tuple[str, str]:
    """The front matter of a README, YAML that may be empty, and all else."""
    found = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    return (found[1], text[found.end() :]) if found else ("", text)
