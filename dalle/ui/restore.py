"""Puts a model or a recipe onto the page: what a visit, a link, a PNG, the history and the model picker share."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from dalle import share
from dalle.contracts import Borders
from dalle.errors import DalleError, InputError, LinkError, PictureError
from dalle.share import Recipe
from dalle.ui import about, create, picker, priming, templates
from dalle.ui.create import MAX_SAMPLES, Settings
from dalle.ui.drawing import READY
from dalle.ui.parts import note, sentence
from dalle.ui.priming import Priming, Source
from dalle.ui.shelf import Shelf
from dalle.ui.studios import Studios
from dalle.ui.templates import Filling, Templates

Updates = dict[Any, Any]  # component -> what becomes of it


@dataclass(frozen=True)
class Desk:
    """The parts of the page that a model or a recipe fills, and how it does so."""

    studios: Studios
    status: gr.HTML
    facts: gr.HTML
    card: gr.Markdown
    model: gr.State
    picker: gr.HTML
    prompt: gr.Textbox
    settings: Settings
    primed: Priming
    starts: gr.Tabs
    words: Templates

    @property
    def outputs(self) -> list[Any]:
        """The status comes last: Gradio fills parts one after the other, and what it says shall be true by then."""
        parts = [self.facts, self.card, self.model, self.picker, self.prompt]
        return [*parts, *self.settings.inputs, *self.primed.outputs, self.starts, *self.words.outputs, self.status]

    def visit(self, browser: gr.Request, model: str) -> Updates:
        """A page was opened, perhaps by a link."""
        query = str(browser.query_params or "")
        return self._answer(lambda: self._follow(query, model) if f"{share.CHECK}=" in query else self._fit(model))

    def choose(
        self, model: str, tokens: np.ndarray | None, rows: float, columns: float, source: Source | None
    ) -> Updates:
        """Another model was picked; a picture to continue goes along where that model can read it."""
        return self._answer(lambda: {**self._fit(model), **self._carry(model, tokens, rows, columns, source)})

    def reuse(self, event: gr.EventData, model: str) -> Updates:
        """A recipe of the history, or that of a card, is to be used again."""
        return self._answer(lambda: self._set(share.follow(str(event.link)), model))

    def recall(self, event: gr.EventData, model: str) -> Updates:
        """A PNG was dropped; the browser read the note in it."""
        return self._answer(lambda: self._set(share.recall(_json(str(event.note))), model))

    def vary(self, shelf: Shelf) -> Callable[..., Updates]:
        """The event of a card that starts another drawing: some of its tokens are kept."""

        def vary(event: gr.EventData, model: str, browser: gr.Request) -> Updates:
            return self._answer(lambda: self._vary(event, model, shelf, browser.session_hash or ""))

        return vary

    def _answer(self, work: Callable[[], Updates]) -> Updates:
        try:
            return work()
        except Exception as error:
            return {self.status: note(sentence(error), alarm=True)}

    def _fit(self, model: str) -> Updates:
        """The page of a model, with the settings that it draws best with."""
        studio = self.studios.get(model)
        bundle, device, offers = studio.bundle, str(studio.device), self.studios.offers()
        fitted = create.fit(bundle.options, can_guide=bundle.text.null is not None)
        return {
            self.status: note(READY),
            self.facts: about.sheet(bundle, device, next((o for o in offers if o.name == model), None)),
            self.card: about.model_card(bundle),
            self.model: model,
            self.picker: picker.markup(offers, model, bundle.title, device),
            **dict(zip(self.settings.options, fitted, strict=True)),
            **dict(zip(self.primed.outputs, priming.forget(), strict=True)),
            **dict(zip(self.primed.borders, priming.fit(bundle.images.grid), strict=True)),
            **dict(zip(self.words.outputs, templates.fit(studio), strict=True)),
        }

    def _follow(self, query: str, model: str) -> Updates:
        """The page that a link asks for; where it will draw the same pictures, it begins at once."""
        try:
            updates = self._set(share.follow(query), model)
        except InputError as error:
            return {**self._fit(model), self.status: note(str(error), alarm=True)}
        return updates

    def _carry(
        self, model: str, tokens: np.ndarray | None, rows: float, columns: float, source: Source | None
    ) -> Updates:
        """The picture to continue, read by another model; where that cannot be, a sentence says so."""
        if tokens is None:
            return {}
        try:
            placed = priming.reread(self.studios.get(model), tokens, rows, columns, source)
        except DalleError as error:
            return {self.status: note(f"The picture to continue was put away. {error}", alarm=True)}
        return dict(zip(self.primed.outputs, placed, strict=True))

    def _set(self, recipe: Recipe, model: str) -> Updates:
        """Everything as a recipe has it, as far as its model is here."""
        if recipe.model != model and any(o.here for o in self.studios.offers() if o.name == recipe.model):
            model = recipe.model
        studio, s = self.studios.get(model), self.settings
        same = studio.bundle.fingerprint == recipe.fingerprint
        samples = min(recipe.samples, MAX_SAMPLES)
        updates = {
            **self._fit(model),
            self.status: _all_set("draw") if same else note(_other_model(recipe), alarm=True),
            self.prompt: recipe.prompt,
            s.samples: samples,
            s.keep: min(recipe.keep, samples),
            s.seed: recipe.seed,
            s.same: True,
        }
        options = recipe.options
        for slider in s.options:
            updates[slider] = {**updates[slider], "value": getattr(options, str(slider.elem_id))}
        if recipe.kept is not None and same:
            updates |= dict(zip(self.primed.outputs, priming.place(studio, recipe.kept), strict=True))
        if recipe.sweep is not None:
            filling = Filling.of(recipe.sweep.template, recipe.sweep.values, recipe.sweep.axis)
            updates |= {
                self.prompt: filling.sentence(),
                self.starts: gr.update(selected=templates.TAB),
                self.words.board: templates.sheet(filling, updates[self.words.scores]),
                self.status: _all_set("sweep") if same else updates[self.status],
            }
        return updates

    def _vary(self, event: gr.EventData, model: str, shelf: Shelf, session: str) -> Updates:
        folder, name = shelf.folder(session), str(event.name)
        studio = self.studios.get(model)
        if share.follow(str(event.link)).fingerprint != studio.bundle.fingerprint:
            raise PictureError("Another model drew this picture; the one that is chosen cannot read its tokens.")
        if folder is None or not re.fullmatch(r"(\d+/)?\d+-\d+", name) or not (folder / f"{name}.npy").is_file():
            raise PictureError("This picture is no longer at hand. Please draw it again.")
        tokens = np.load(folder / f"{name}.npy")
        usual = priming.usual(tokens.shape)
        borders = usual if event.how == "continue" else Borders(usual.top, left=tokens.shape[1] * 15 // 32)
        placed = dict(zip(self.primed.outputs, priming.place(studio, tokens, borders), strict=True))
        return {**placed, self.status: note(_PLACED)}


_PLACED = "The picture lies under \u201cStart from a picture\u201d. Press Draw to go on."


def _all_set(ready: str) -> str:
    button = {"draw": "Draw", "sweep": "the button beside the sentence"}[ready]
    return note(f"Everything is set as it was. Press {button} for the same pictures.", ready=ready)


def _other_model(recipe: Recipe) -> str:
    return (
        f"Prompt and settings are set, but the pictures will be others: they were drawn by '{recipe.model}'"
        f" with the fingerprint {recipe.fingerprint}, which is not here."
    )


def _json(text: str) -> dict[str, Any]:
    """Raises LinkError."""
    try:
        told = json.loads(text[: share.MAX_LENGTH])
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise LinkError("The note in this picture is damaged.")
    return told
