"""From a click to the gallery: the one place where the page asks the studio for pictures."""

import logging
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from dalle import images
from dalle.contracts import Candidate, Request, SamplingOptions, Update
from dalle.errors import DalleError, SettingError
from dalle.ui import gallery, priming
from dalle.ui.create import MAX_SAMPLES, MAX_SEED
from dalle.ui.gallery import Card
from dalle.ui.parts import note
from dalle.ui.shelf import Shelf

if TYPE_CHECKING:
    from dalle.engine import Studio

_log = logging.getLogger(__name__)
_UNKNOWN = "Something went wrong here, not with your sentence. Please try again; the server's log says more."
_DICE = 1_000_000  # seeds of our own choosing are short enough to read out
WARMING = "The model is warming up …"
READY = "Ready. Type a sentence and press Enter."


def drawer(loading: "Future[Studio]", shelf: Shelf) -> Callable[..., Iterator[tuple[Any, Any, Any]]]:
    """The event behind Draw: yields the status line, the gallery and the seed that was used."""

    def draw(
        browser: gr.Request,
        prompt: str,
        samples: int,
        keep: int,
        seed: int | None,
        same: bool,
        guidance: float,
        temperature: float,
        top_k: int,
        top_p: float,
        *primed: Any,
    ) -> Iterator[tuple[Any, Any, Any]]:
        try:
            if not loading.done():
                yield note(WARMING), gr.skip(), gr.skip()
            studio = loading.result()
            used = _whole(seed, "seed", 0, MAX_SEED) if same else secrets.randbelow(_DICE)
            request = Request(
                prompt=prompt,
                samples=int(samples),
                keep=min(int(keep), int(samples)),
                seed=used,
                options=SamplingOptions(guidance, temperature, int(top_k), top_p),
                kept=priming.kept(*primed),
            )
            for update in studio.generate(request):
                yield note(_status(update)), _show(update, request, studio, shelf, browser), used
        except DalleError as error:
            yield note(str(error), alarm=True), gr.skip(), gr.skip()
        except Exception:
            _log.exception("drawing failed")
            yield note(_UNKNOWN, alarm=True), gr.skip(), gr.skip()

    return draw


def endpoint(loading: "Future[Studio]", shelf: Shelf) -> Callable[..., tuple[list[gr.FileData], list[float]]]:
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
    ) -> tuple[list[gr.FileData], list[float]]:
        """Draws pictures of a sentence and ranks them with CLIP.

        Draws `samples` pictures (1 to 32) and returns the `keep` best as PNG files, best first, with their
        scores (cosine similarities, which compare within one prompt only). The same seed and settings give
        the same pictures. A setting that is left out is the model's own.
        """
        try:
            studio = loading.result()
            own = studio.bundle.options
            options = SamplingOptions(
                own.guidance if guidance is None else guidance,
                own.temperature if temperature is None else temperature,
                own.top_k if top_k is None else top_k,
                own.top_p if top_p is None else top_p,
            )
            samples = _whole(samples, "samples", 1, MAX_SAMPLES)
            seed = _whole(seed, "seed", 0, MAX_SEED)
            request = Request(prompt, samples, min(keep, samples), seed, options, previews=0)
            *_, last = studio.generate(request)
            folder = shelf.renew(secrets.token_hex(8))
            files = [_file(c, folder, request, studio) for c in last.candidates]
        except DalleError as error:
            raise gr.Error(str(error)) from None
        except Exception:
            _log.exception("drawing failed")
            raise gr.Error(_UNKNOWN) from None
        return [gr.FileData(path=str(file)) for file in files], [c.score or 0.0 for c in last.candidates]

    return generate


def _show(update: Update, request: Request, studio: "Studio", shelf: Shelf, browser: gr.Request) -> Any:
    if update.stage != "done":
        return gallery.drawing(update, request.prompt, request.seed) if update.candidates else gr.skip()
    folder = shelf.renew(browser.session_hash or "")
    kept, dropped = (
        [Card(c, shelf.address(_file(c, folder, request, studio))) for c in candidates]
        for candidates in (update.candidates, update.dropped)
    )
    sheet = folder / "grid.png"
    images.save_png(images.grid([c.picture for c in update.candidates]), sheet, {"prompt": request.prompt})
    return gallery.finished(kept, dropped, shelf.address(sheet), request.prompt, request.seed)


def _file(candidate: Candidate, folder: Path, request: Request, studio: "Studio") -> Path:
    path = folder / f"{request.seed}-{candidate.index}.png"
    images.save_png(candidate.picture, path, images.metadata(request, candidate, studio.bundle))
    return path


def _status(update: Update) -> str:
    if update.stage == "done":
        count = len(update.candidates) + len(update.dropped)
        drawn = f"{count} pictures" if count > 1 else "One picture"
        ranked = count > 1 and update.candidates[0].score is not None
        return f"{drawn} in {update.seconds:.1f} s{', best first' if ranked else ''}."
    if update.stage == "ranking":
        return "CLIP is ranking the pictures …"
    left = "" if update.remaining is None else f" · {max(1, round(update.remaining))} s left"
    return f"Row {update.row} of {update.rows}{left}"


def _whole(value: float | None, name: str, low: int, high: int) -> int:
    """A whole number in its range. Raises SettingError."""
    if value is None or not low <= value <= high or value != int(value):
        raise SettingError(f"The {name} should be a whole number from {low} to {high}.")
    return int(value)
