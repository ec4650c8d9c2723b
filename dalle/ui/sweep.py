"""One slot of a template with all of its values, side by side: a labelled column for each, drawn from one seed."""

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dalle import images, share
from dalle.contracts import Request, Update
from dalle.ui import drawing, gallery, priming
from dalle.ui.drawing import Files
from dalle.ui.gallery import Batch
from dalle.ui.parts import note, sentence
from dalle.ui.shelf import Shelf
from dalle.ui.studios import Studios
from dalle.ui.templates import Filling

if TYPE_CHECKING:
    from dalle.engine import Studio

SHEET = "columns.png"
_PREVIEWS = 4  # of each column; pictures do not depend on it
_NOTES = "columns.json"
_FONT = Path(__file__).resolve().parents[2] / "assets" / "fonts" / "newsreader.woff2"
_INK, _PENCIL = (30, 27, 22), (101, 94, 82)


def sweeper(studios: Studios, shelf: Shelf) -> Callable[..., Iterator[tuple[Any, Any, Any]]]:
    """The event of a template's axis: yields the status line, the columns and the seed that was used."""

    def sweep(
        event: gr.EventData,
        browser: gr.Request,
        model: str,
        file_format: str,
        telling: bool,
        tokens: np.ndarray | None,
        rows: float,
        columns: float,
        *settings: Any,
    ) -> Iterator[tuple[Any, Any, Any]]:
        try:
            filling = Filling.told(event)
            warming = studios.ready(model) is None
            if warming:
                yield note(drawing.WARMING), gr.skip(), gr.skip()
            wish = drawing.request("", priming.kept(tokens, rows, columns), *settings)
            if warming:
                wish = replace(wish, options=None)
            files = Files(file_format, telling)
            board = Board(filling, wish, studios.get(model), shelf, shelf.renew(browser.session_hash or ""), files)
            for status, markup in board.fill():
                yield note(status), markup, wish.seed
        except Exception as error:
            yield note(sentence(error), alarm=True), gr.skip(), gr.skip()

    return sweep


@dataclass
class Board:
    """The columns on the wall, one after the other."""

    filling: Filling
    wish: Request  # of every column, but for its sentence
    studio: "Studio"
    shelf: Shelf
    folder: Path
    files: Files
    drawn: list[str] = field(default_factory=list)  # markup of the columns that are complete

    def fill(self) -> Iterator[tuple[str, str]]:
        """Draws; yields a status and the markup of the whole board."""
        columns = self.filling.columns()
        labels = [label for label, _ in columns]
        yield "Drawing column by column …", self._markup(labels)
        for label, prompt in columns:
            wish = replace(self.wish, prompt=prompt, previews=_PREVIEWS)
            for update in self.studio.generate(wish):
                if update.stage == "done":
                    self.drawn.append(self._finished(label, wish, update))
                    markup = self._markup(labels)
                elif update.candidates:
                    markup = self._markup(labels, _column(label, gallery.drawing(update, wish, self._outline)))
                else:
                    continue
                at = min(len(self.drawn) + 1, len(labels))
                yield f"Column {at} of {len(labels)}: {label} · {drawing.status(update)}", markup
        best = f", the best of {self.wish.samples} on top of each" if self.wish.samples > 1 else ""
        yield f"{len(labels)} columns{best}.", self._markup(labels)

    @property
    def _outline(self) -> str:
        return priming.outline(self.wish.kept)

    def _finished(self, label: str, wish: Request, update: Update) -> str:
        """A column in CLIP's order; its files lie in a folder of its own."""
        place = self.folder / f"{len(self.drawn) + 1:02}"
        place.mkdir()
        shown, rest = (
            drawing.cards(some, wish, self.studio, self.shelf, place, self.files)
            for some in (update.candidates, update.dropped)
        )
        title = self.filling.title() if self.files.telling else ""
        _write_down(self.folder, title, label, [self.shelf.path(card.address) for card in shown])
        batch = Batch.of(wish, (*shown, *rest), self._outline, f"{place.name}/")
        link = share.link(share.Recipe.of(wish, self.studio.bundle))
        stack = f'<ol class="gallery" data-stage="done">{gallery.cards(shown, batch)}</ol>'
        return _column(label, stack, gallery.recipe(link, wish.prompt, wish.seed))

    def _recipe(self) -> str:
        """Of the whole board."""
        f, title = self.filling, self.filling.title()
        sweep = share.Sweep(f.template.id, f.values, f.axis)
        link = share.link(share.Recipe.of(replace(self.wish, prompt=title), self.studio.bundle, sweep))
        return gallery.recipe(link, title, self.wish.seed)

    def _markup(self, labels: Sequence[str], current: str = "") -> str:
        columns = [*self.drawn, *filter(None, [current])]
        waiting = [_column(label, '<div class="plate"></div>') for label in labels[len(columns) :]]
        title, whole = escape(self.filling.title()), len(self.drawn) == len(labels)
        sheet, archive = self.shelf.address(self.folder / SHEET), self.shelf.all_of(self.folder)
        return (
            f'<div class="sweep" data-drawn="{len(self.drawn)}" {self._recipe() if whole else ""}>'
            f'<p class="note">{title}</p>'
            f'<div class="columns" role="region" tabindex="0" aria-label="{title}">{"".join(columns + waiting)}</div>'
            f"{gallery.toolbar(sheet, archive, shared=whole) if self.drawn else ''}</div>"
        )


def _column(label: str, stack: str, data: str = "") -> str:
    return f'<section class="drawn" {data}><h2>{escape(label)}</h2>{stack}</section>'


def _write_down(folder: Path, title: str, label: str, files: Sequence[Path]) -> None:
    """What the sheet needs to know of a column."""
    notes = folder / _NOTES
    told: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {"title": title, "columns": []}
    told["columns"].append({"label": label, "files": [str(file.relative_to(folder)) for file in files]})
    notes.write_text(json.dumps(told))


def sheet(folder: Path) -> bytes:
    """A PNG of all columns that are complete, with their labels. Raises FileNotFoundError before there is one."""
    told = json.loads((folder / _NOTES).read_text())
    columns = [(c["label"], [Image.open(folder / file) for file in c["files"]]) for c in told["columns"]]
    side, gap, head = columns[0][1][0].width, 8, 72
    height = max(len(pictures) for _, pictures in columns)
    canvas = Image.new("RGB", (len(columns) * (side + gap) + gap, 2 * head + height * (side + gap)), images.WHITE)
    draw = ImageDraw.Draw(canvas)
    draw.text((gap, head / 2), told["title"], _INK, ImageFont.truetype(_FONT, 32), anchor="lm")
    font = ImageFont.truetype(_FONT, 24)
    for i, (label, pictures) in enumerate(columns):
        x = gap + i * (side + gap)
        lines = "\n".join(textwrap.wrap(label, side // 12)[:2])
        draw.multiline_text((x, 2 * head - gap), lines, _PENCIL, font, anchor="ld")
        for row, picture in enumerate(pictures):
            canvas.paste(picture, (x, 2 * head + row * (side + gap)))
    images.save_png(canvas, folder / SHEET, {"prompt": told["title"]})
    return (folder / SHEET).read_bytes()
