"""Prompt templates: sentences with slots, read from `assets/prompts.toml`.

A slot that stands twice in a sentence is one slot. `{a}` is no slot: it becomes "a" or "an", as the words
after it need. Every slot takes free text as well as its options; an empty one vanishes from the sentence.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

from dalle.errors import SettingError
from dalle.worlds.words import article

_FILE = Path(__file__).resolve().parents[1] / "assets" / "prompts.toml"
_ARTICLE = "a"
_MARK = "\0"  # where an article will stand, until the words after it are known


@dataclass(frozen=True)
class Field:
    """One slot as a form shows it; its first option is the default."""

    name: str
    label: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """A sentence with slots.

    `measured` names the families of captions that tell whether it can draw such sentences.
    `needs_picture`: it continues a picture whose top half is given.
    """

    id: str
    title: str
    family: str
    text: str
    slots: Mapping[str, tuple[str, ...]]
    measured: tuple[str, ...] = ()
    needs_picture: bool = False
    notes: str = ""

    def fields(self) -> tuple[Field, ...]:
        """The slots in the order in which the sentence names them, each once."""
        names = dict.fromkeys(name for _, name in _parts(self.text) if name and name != _ARTICLE)
        return tuple(Field(name, name.replace("_", " "), self.slots[name]) for name in names)

    def render(self, values: Mapping[str, str] | None = None) -> str:
        """The sentence with these values, and the first option of each slot that is not among them.

        Raises SettingError for a slot that the template does not have.
        """
        values = values or {}
        if unknown := sorted(set(values) - set(self.slots)):
            raise SettingError(f"The template '{self.title}' has no slot named {', '.join(unknown)}.")
        said = {name: _cleaned(values.get(name, options[0]), options) for name, options in self.slots.items()}
        said[_ARTICLE] = _MARK
        sentence = "".join(literal + (said[name] if name else "") for literal, name in _parts(self.text))
        return _set_articles(re.sub(r"\s+(?=[\s.,])", "", sentence).strip())


@cache
def families() -> Mapping[str, str]:
    """The kinds of templates and their titles, in the order of the file."""
    return _data()["families"]


@cache
def templates() -> tuple[Template, ...]:
    """All templates, in the order of the file."""
    data = _data()
    lists = {name: tuple(options) for name, options in data["options"].items()}
    return tuple(_template(entry, lists) for entry in data["template"])


def skill(template: Template, scores: Mapping[str, float] | None) -> float | None:
    """How well a model with these scores draws such sentences, as a share of what real pictures reach.

    0.0 for what it never saw; None where nothing was measured.
    """
    if scores is None or not template.measured:
        return None
    return min(scores.get(name, 0.0) for name in template.measured)


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def _template(entry: Mapping[str, Any], lists: Mapping[str, tuple[str, ...]]) -> Template:
    """A slot's options are spelled out, or are the name of a list that templates share."""
    slots = {name: lists[o] if isinstance(o, str) else tuple(o) for name, o in entry["slots"].items()}
    return Template(**{**entry, "slots": slots, "measured": tuple(entry.get("measured", ()))})


def _cleaned(value: str, options: tuple[str, ...]) -> str:
    """Free text loses an article that it brings along: the sentence has its own."""
    value = value.replace(_MARK, " ").strip()
    return value if value in options else re.sub(r"^an? ", "", value, flags=re.IGNORECASE)


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    """The literal stretches of a sentence, each with the name of the slot after it."""
    return ((literal, name) for literal, name, _, _ in Formatter().parse(text))


def article_before(words: str) -> str:
    """ "a" or "an", as the first of these words needs; empty before a plural such as "glasses"."""
    first = words.lower().split(maxsplit=1)[:1]
    return article(first[0]).removesuffix(first[0]).strip() if first else _ARTICLE


def _set_articles(sentence: str) -> str:
    start, *rest = re.split(rf"{_MARK} ?", sentence)
    return (start + "".join(f"{article_before(words)} {words}".lstrip() for words in rest)).strip()
