"""Sentences with drop-down words: choose a word or write your own, and the prompt follows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from string import Formatter
from typing import TYPE_CHECKING, Any

import gradio as gr

from dalle import measured, prompts
from dalle.errors import DalleError, SettingError
from dalle.prompts import Template
from dalle.ui.parts import QUIET, html

if TYPE_CHECKING:
    from dalle.engine import Studio

TAB = "templates"
MAX_COLUMNS = 24
_HARD = 2 / 3  # a template is marked below this share of what real pictures reach
_LONGEST = 200  # characters of a slot

Scores = Mapping[str, float] | None  # of a model, as `measured.scores` tells them


@dataclass(frozen=True)
class Templates:
    """The board that holds the sentence, and the scores of the model at hand."""

    board: gr.HTML
    scores: gr.State

    @property
    def outputs(self) -> list[gr.components.Component]:
        """What `fit` fills."""
        return [self.board, self.scores]


@dataclass(frozen=True)
class Filling:
    """What a visitor has made of a template. `axis`: the slot whose values are to be drawn side by side."""

    template: Template
    values: Mapping[str, str] = field(default_factory=dict)
    axis: str = ""

    @classmethod
    def of(cls, template_id: str, values: Mapping[str, str], axis: str) -> "Filling":
        """From what a browser or a link tells. Raises SettingError."""
        template = next((t for t in prompts.templates() if t.id == template_id), None)
        if template is None:
            raise SettingError("This page has no such template, or no longer. Please reload it.")
        values = {str(name): str(value)[:_LONGEST] for name, value in values.items()}
        if unknown := {*values, *filter(None, [axis])} - set(template.slots):
            raise SettingError(f"The template '{template.title}' has no slot named {', '.join(sorted(unknown))}.")
        return cls(template, values, axis)

    @classmethod
    def told(cls, event: gr.EventData) -> "Filling":
        """Raises SettingError."""
        return cls.of(str(event.id), dict(event.values), str(event.axis))

    def sentence(self) -> str:
        return self.template.render(self.values)

    def title(self) -> str:
        """The sentence with the axis left open."""
        return self.template.render({**self.values, self.axis: "…"})

    def columns(self) -> list[tuple[str, str]]:
        """Label and sentence of each value of the axis, at most `MAX_COLUMNS`; words of one's own come first."""
        options = self.template.slots[self.axis]
        own = self.values.get(self.axis, "").strip()
        labels = options if own in options or not own else (own, *options)
        return [(label, self.template.render({**self.values, self.axis: label})) for label in labels[:MAX_COLUMNS]]


def panel(target: gr.Textbox) -> Templates:
    """Families of templates, the templates of one family, and one sentence; `target` is the prompt.

    To be laid out inside `gr.Tabs`.
    """
    with gr.Tab("Templates", id=TAB):
        board = html(_first(None), js_on_load=_ON_LOAD, elem_id="templates")
        parts = Templates(board, gr.State(None))  # in the tab: Gradio counts all that is beside it as tabs
    board.fill(_fill, parts.scores, [board, target], trigger_mode="always_last", **QUIET)
    target.change(None, None, None, js="() => window.dalle.follow()", **QUIET)
    return parts


def fit(studio: "Studio") -> tuple[str, Scores]:
    """Show what a model knows, and mark what it seldom draws well: the values of `Templates.outputs`."""
    scores = measured.scores(studio.bundle.place)
    if not any(_known(family, scores) for family in prompts.families()):  # what was measured were other sentences
        scores = None
    return _first(scores), scores


def _first(scores: Scores) -> str:
    family = next(family for family in prompts.families() if _known(family, scores))
    return sheet(Filling(_known(family, scores)[0]), scores)


def _fill(event: gr.EventData, scores: Scores) -> tuple[str, Any]:
    try:
        filling = Filling.told(event)
    except DalleError as error:
        raise gr.Error(str(error)) from None
    return sheet(filling, scores), filling.sentence() if event.use else gr.skip()


def _known(family: str, scores: Scores) -> list[Template]:
    """The templates of a family but for those whose kind the model never saw."""
    return [t for t in prompts.templates() if t.family == family and prompts.skill(t, scores) != 0.0]


def sheet(filling: Filling, scores: Scores) -> str:
    """The families, the templates of one of them, and the chosen sentence with its slots."""
    template = filling.template
    families = "".join(
        _choice("family", title, known[0], family == template.family)
        for family, title in prompts.families().items()
        if (known := _known(family, scores))
    )
    chips = "".join(
        _choice("chip hard" if _is_hard(t, scores) else "chip", t.title, t, t is template)
        for t in _known(template.family, scores)
    )
    return (
        f'<ul class="families">{families}</ul><ul class="chips">{chips}</ul>'
        f'<div class="frame" data-template="{escape(template.id)}" data-sentence="{escape(filling.sentence())}"'
        f' data-axis="{escape(filling.axis)}"><p class="slots">{_sentence(filling)}</p>'
        f'<p class="note">{" ".join(_notes(template, scores))}</p>'
        '<div class="deeds"><span class="bound" role="status">'
        '<span class="if-attached">The prompt follows these words.</span>'
        '<span class="if-detached">You changed the prompt by hand: it no longer follows these words.</span></span>'
        f'<button type="button" class="use">Use this sentence</button>{_axis(filling)}</div></div>'
    )


def _choice(kind: str, title: str, template: Template, chosen: bool) -> str:
    hint = ' title="hard for this model"' if "hard" in kind else ""
    return (
        f'<li><button type="button" class="{kind}" data-template="{escape(template.id)}"'
        f' aria-pressed="{str(chosen).lower()}"{hint}>{escape(title)}</button></li>'
    )


def _is_hard(template: Template, scores: Scores) -> bool:
    skill = prompts.skill(template, scores)
    return skill is not None and skill < _HARD


def _notes(template: Template, scores: Scores) -> list[str]:
    notes = []
    if template.needs_picture:
        notes.append(
            'It continues a picture: <button type="button" class="start" data-act="prime">start from one</button>'
            " and keep its top half."
        )
    if _is_hard(template, scores):
        share = prompts.skill(template, scores) or 0.0
        notes.append(
            f"<em>Hard for this model:</em> its best pictures of this kind are right {share:.0%} as often as real ones."
        )
    return [*notes, escape(template.notes)]


def _axis(filling: Filling) -> str:
    """The choice of a slot to compare, and the button that draws all of its values."""
    options = "".join(
        f'<option value="{escape(f.name)}"{" selected" if f.name == filling.axis else ""}>'
        f"every {escape(f.label)}</option>"
        for f in filling.template.fields()
    )
    count = len(filling.columns()) if filling.axis else 0
    button = f'<button type="button" class="sweep">Draw {count} columns</button>' if count else ""
    return (
        '<label class="axis"><span>Side by side</span>'
        f'<select><option value="">choose …</option>{options}</select></label>{button}'
    )


def _sentence(filling: Filling) -> str:
    template, values = filling.template, filling.values
    fields = {f.name: f for f in template.fields()}
    chosen: dict[str | None, str] = {name: values.get(name, f.options[0]) for name, f in fields.items()}
    parts = [part[:2] for part in Formatter().parse(template.text)]
    markup = ""
    for i, (literal, name) in enumerate(parts):
        markup += escape(literal)
        if name == "a":
            after, slot = parts[i + 1] if i + 1 < len(parts) else ("", None)
            markup += prompts.article_before(after + chosen.get(slot, ""))
        elif name == filling.axis and name:
            markup += _every(name, fields[name].label, chosen[name])
        elif name:
            markup += _slot(name, fields[name].label, fields[name].options, chosen[name])
    return markup


def _slot(name: str, label: str, options: Sequence[str], value: str) -> str:
    """A field with suggestions; where a slot stands twice, both fields say the same."""
    return (
        f'<input data-slot="{escape(name)}" value="{escape(value)}" data-options="{escape(json.dumps(options))}"'
        f' role="combobox" aria-label="{escape(label)}" aria-autocomplete="list" aria-expanded="false"'
        f' placeholder="…" size="{max(3, len(value))}" maxlength="{_LONGEST}"'
        ' autocomplete="off" autocapitalize="off" spellcheck="false">'
    )


def _every(name: str, label: str, value: str) -> str:
    """A slot that is the axis; a click makes it an ordinary one again."""
    return (
        f'<button type="button" class="every" data-slot="{escape(name)}" value="{escape(value)}"'
        f' aria-label="every {escape(label)}: choose one instead">… <small>every {escape(label)}</small></button>'
    )


_ON_LOAD = """
for (const name of ['fill', 'sweep']) element.addEventListener(name, (event) => trigger(name, event.detail));
watch('value', () => window.dalle.sheetWritten());
"""
