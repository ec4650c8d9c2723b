"""Sentences with drop-down words: choose a word or write your own, and the sentence goes to the prompt."""

from collections.abc import Mapping
from html import escape
from string import Formatter

import gradio as gr

from dalle import prompts
from dalle.errors import DalleError
from dalle.prompts import Template
from dalle.ui.parts import QUIET, html

_FAMILIES = {"composition": "Composition", "time": "Time", "image-to-image": "Image to image"}


def panel(target: gr.Textbox) -> None:
    """One tab per family of templates; to be laid out inside `gr.Tabs`."""
    for family, title in _FAMILIES.items():
        members = [t for t in prompts.templates() if t.family == family]
        if not members:
            continue
        with gr.Tab(title):
            board = html(_sheet(members[0], {}), js_on_load=_JS, elem_classes="template")
            board.choose(_choose, None, board, **QUIET)
            board.fill(_fill, None, [board, target], **QUIET)


def _choose(event: gr.EventData) -> str:
    return _sheet(_named(event.id), {})


def _fill(event: gr.EventData) -> tuple[str, str]:
    template = _named(event.id)
    values = {str(name): str(value)[:200] for name, value in dict(event.values).items()}
    try:
        return _sheet(template, values), template.render(values)
    except DalleError as error:
        raise gr.Error(str(error)) from None


def _named(name: str) -> Template:
    for template in prompts.templates():
        if template.id == name:
            return template
    raise gr.Error("There is no such template. Please reload the page.")


def _sheet(template: Template, values: Mapping[str, str]) -> str:
    """The titles of the family, and the chosen sentence with its slots."""
    titles = "".join(
        f'<li><button type="button" class="chip" data-template="{escape(t.id)}"'
        f' aria-pressed="{str(t is template).lower()}">{escape(t.title)}</button></li>'
        for t in prompts.templates()
        if t.family == template.family
    )
    notes = escape(template.notes)
    if template.needs_picture:
        notes = f"Give it a picture under <em>Start from a picture</em> and keep the top half. {notes}"
    return (
        f'<ul class="chips">{titles}</ul>'
        f'<div class="frame" data-template="{escape(template.id)}">'
        f'<p class="slots">{_sentence(template, values)}</p>'
        f'<button type="button" class="use">Use this sentence</button></div>'
        f'<p class="note">{notes}</p>'
    )


def _sentence(template: Template, values: Mapping[str, str]) -> str:
    fields = {field.name: field for field in template.fields()}
    chosen: dict[str | None, str] = {name: values.get(name, field.options[0]) for name, field in fields.items()}
    parts = [part[:2] for part in Formatter().parse(template.text)]
    markup, seen = "", set()
    for i, (literal, name) in enumerate(parts):
        markup += escape(literal)
        if name == "a":
            after, slot = parts[i + 1] if i + 1 < len(parts) else ("", None)
            markup += prompts.article_before(after + chosen.get(slot, ""))
        elif name in seen:
            markup += f'<span class="echo">{escape(chosen[name])}</span>'
        elif name:
            markup += _slot(name, fields[name].label, fields[name].options, chosen[name])
            seen.add(name)
    return markup


def _slot(name: str, label: str, options: tuple[str, ...], value: str) -> str:
    """A drop-down, or a field for words of one's own once that was asked for."""
    shared = f'data-slot="{escape(name)}" aria-label="{escape(label)}"'
    if value not in options:
        return f'<input {shared} value="{escape(value)}" placeholder="your own words" maxlength="200">'
    choices = "".join(
        f"<option{' selected' if option == value else ''}>{escape(option)}</option>" for option in options
    )
    return f'<select {shared}>{choices}<option value="">your own words …</option></select>'


_JS = """
const values = () => Object.fromEntries(
  [...element.querySelectorAll('[data-slot]')].map((slot) => [slot.dataset.slot, slot.value]));
const current = () => element.querySelector('.frame').dataset.template;
let focus = null;
element.addEventListener('click', (event) => {
  const chip = event.target.closest('.chip');
  if (chip) {
    focus = `.chip[data-template="${chip.dataset.template}"]`;
    trigger('choose', {id: chip.dataset.template});
  }
  if (event.target.closest('.use')) { focus = '.use'; trigger('fill', {id: current(), values: values()}); }
});
element.addEventListener('change', (event) => {
  focus = `[data-slot="${event.target.dataset.slot}"]`;
  trigger('fill', {id: current(), values: values()});
});
watch('value', () => {  // the sheet was written anew: the keyboard goes on where it was
  if (focus) element.querySelector(focus)?.focus();
  focus = null;
});
"""
