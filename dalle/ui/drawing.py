"""From a click to the gallery: the one place where the page asks the studio for pictures."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from dalle import images, share
from dalle.contracts import Candidate, Request, SamplingOptions, Update
from dalle.errors import SettingError
from dalle.ui import gallery, priming
from dalle.ui.create import MAX_SAMPLES, MAX_SEED
from dalle.ui.gallery import Card
from dalle.ui.parts import note, sentence
from dalle.ui.shelf import Shelf
from dalle.ui.studios import Studios

if TYPE_CHECKING:
    from dalle.engine import Studio

_DICE = 1_000_000  # seeds of our own choosing are short enough to read out
WARMING = "The model is warming up …"
BUSY = "Too many drawings are waiting already. Please try again in a minute."
READY = "Ready. Type a sentence and press Enter."


@dataclass(frozen=True)
class Files:
    """How a gallery's pictures are saved: the format of downloads, and whether they tell their prompt and settings."""

    format: str = "PNG"
    telling: bool = True

    def save(self, candidate: Candidate, request: Request, studio: "Studio", shelf: Shelf, folder: Path) -> Card:
        """Writes what a card shows and hands out, and its tokens for those who go on from it."""
        stem = folder / f"{request.seed}-{candidate.index}"
        png = stem.with_suffix(".png")
        meta = images.metadata(request, candidate, studio.bundle) if self.telling else {}
        images.save_png(candidate.picture, png, meta)
        np.save(stem.with_suffix(".npy"), candidate.tokens)
        download = png if self.format == "PNG" else stem.with_suffix(f".{self.format.lower()}")
        if download != png:
            images.save_lossy(candidate.picture, download)
        return Card(candidate, shelf.address(png), shelf.address(download))


def drawer(studios: Studios, shelf: Shelf) -> Callable[..., Iterator[tuple[Any, Any, Any]]]:
    """The event behind Draw: yields the status line, the gallery and the seed that was used."""

    def draw(
        browser: gr.Request,
        model: str,
        prompt: str,
        samples: int,
        keep: int,
        seed: int | None,
        same: bool,
        guidance: float,
        temperature: float,
        top_k: int,
        top_p: float,
        file_format: str,
        telling: bool,
        *primed: Any,
    ) -> Iterator[tuple[Any, Any, Any]]:
        try:
            warming = studios.ready(model) is None
            if warming:
                yield note(WARMING), gr.skip(), gr.skip()
            studio = studios.get(model)
            kept = priming.kept(*primed)
            wish = request(prompt, kept, samples, keep, seed, same, guidance, temperature, top_k, top_p)
            if warming:  # the sliders did not stand as this model has them
                wish = replace(wish, options=None)
            files = Files(file_format, telling)
            for update in studio.generate(wish):
                yield note(status(update)), _show(update, wish, studio, shelf, files, browser), wish.seed
        except Exception as error:
            yield note(sentence(error), alarm=True), gr.skip(), gr.skip()

    return draw


def request(
    prompt: str,
    kept: np.ndarray | None,
    samples: float,
    keep: float,
    seed: float | None,
    same: bool,
    guidance: float,
    temperature: float,
    top_k: float,
    top_p: float,
) -> Request:
    """What the form asks for, in the order of `Settings.inputs`; unless it stays the same, the seed is a new one.

    Raises SettingError.
    """
    samples = _whole(samples, "number of pictures", 1, MAX_SAMPLES)
    return Request(
        prompt=prompt,
        samples=samples,
        keep=min(_whole(keep, "number of pictures shown", 1, MAX_SAMPLES), samples),
        seed=_whole(seed, "seed", 0, MAX_SEED) if same else secrets.randbelow(_DICE),
        options=SamplingOptions(float(guidance), float(temperature), int(top_k), float(top_p)),
        kept=kept,
    )


def endpoint(studios: Studios, shelf: Shelf) -> Callable[..., tuple[list[gr.FileData], list[float]]]:
    """The same for programs: the function behind the named endpoint `/generate`."""

    def generate(
        prompt: str,
        samples: int = 8,
        keep: int = 8,
        seed: int = 0,
        guidance: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        picture: gr.FileData | None = None,
        top: int | None = None,
        bottom: int = 0,
        left: int = 0,
        right: int = 0,
        model: str | None = None,
    ) -> tuple[list[gr.FileData], list[float]]:
        """Draws pictures of a sentence and ranks them.

        Draws `samples` pictures (1 to 64) and returns the `keep` best as PNG files, best first, with their
        scores: CLIP's cosine similarities, or nats per token where the model has no CLIP, or where each stands among
        the pictures where their agreement counts as well. They compare within one prompt only. The same seed and
        settings give the same pictures. A setting that is left out is the model's own.

        With a `picture`, the largest square in its middle is continued: `top` and `bottom` rows of its tokens are
        kept, and `left` and `right` columns; without borders, just under half of it, from the top.
        Where the page offers several models, `model` is the name of one.
        """
        try:
            studio = studios.get(model or studios.first)
            own = studio.bundle.options
            options = SamplingOptions(
                own.guidance if guidance is None else guidance,
                own.temperature if temperature is None else temperature,
                own.top_k if top_k is None else top_k,
                own.top_p if top_p is None else top_p,
            )
            samples = _whole(samples, "samples", 1, MAX_SAMPLES)
            seed = _whole(seed, "seed", 0, MAX_SEED)
            borders = {"top": top, "bottom": bottom, "left": left, "right": right}
            kept = priming.given(studio, picture, borders)
            wish = Request(prompt, samples, min(keep, samples), seed, options, kept, previews=0)
            *_, last = studio.generate(wish)
            folder = shelf.renew(secrets.token_hex(8))
            files = [Files().save(c, wish, studio, shelf, folder) for c in last.candidates]
        except Exception as error:
            raise gr.Error(sentence(error)) from None
        paths = [gr.FileData(path=str(shelf.path(file.address))) for file in files]
        return paths, [c.score or 0.0 for c in last.candidates]

    return generate


def status(update: Update) -> str:
    """How far a drawing is, in a sentence."""
    if update.stage == "done":
        count = len(update.candidates) + len(update.dropped)
        drawn = f"{count} pictures" if count > 1 else "One picture"
        ranked = count > 1 and update.candidates[0].score is not None
        return f"{drawn} in {update.seconds:.1f} s{', best first' if ranked else ''}."
    if update.stage == "ranking":
        return "CLIP is ranking the pictures …"
    left = "" if update.remaining is None else f" · {max(1, round(update.remaining))} s left"
    return f"Row {update.row} of {update.rows}{left}"


def cards(
    candidates: Iterable[Candidate], wish: Request, studio: "Studio", shelf: Shelf, folder: Path, files: Files
) -> list[Card]:
    """Finished pictures on the shelf."""
    return [files.save(candidate, wish, studio, shelf, folder) for candidate in candidates]


def _show(
    update: Update, wish: Request, studio: "Studio", shelf: Shelf, files: Files, browser: gr.Request
) -> str | dict[str, Any]:
    outline = priming.outline(wish.kept)
    if update.stage != "done":
        return gallery.drawing(update, wish, outline) if update.candidates else gr.skip()
    folder = shelf.renew(browser.session_hash or "")
    kept, dropped = (cards(some, wish, studio, shelf, folder, files) for some in (update.candidates, update.dropped))
    sheet = folder / "grid.png"
    meta = {"prompt": wish.prompt} if files.telling else {}
    images.save_png(images.grid([c.picture for c in update.candidates]), sheet, meta)
    link = share.link(share.Recipe.of(wish, studio.bundle))
    return gallery.finished(kept, dropped, wish, link, shelf.address(sheet), shelf.all_of(folder), outline)


def _whole(value: float | None, name: str, low: int, high: int) -> int:
    """A whole number in its range. Raises SettingError."""
    if value is None or not low <= value <= high or value != int(value):
        raise SettingError(f"The {name} should be a whole number from {low} to {high}.")
    return int(value)
