"""Start from a picture: its top rows are kept, token for token, and the model continues it."""

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from dalle import images
from dalle.contracts import Borders
from dalle.errors import DalleError, PictureError
from dalle.ui.parts import QUIET, data_url, html, note, slider

if TYPE_CHECKING:
    from dalle.engine import Studio

_HINT = "Its top rows stay as they are; the model draws the rest."


@dataclass(frozen=True)
class Priming:
    upload: gr.Image
    preview: gr.HTML
    rows: gr.Slider
    remove: gr.Button
    tokens: gr.State  # (h, w) int64, or None

    @property
    def inputs(self) -> list[gr.components.Component]:
        """What `kept` wants to know when a drawing begins."""
        return [self.tokens, self.rows]


def panel(loading: "Future[Studio]") -> Priming:
    """Upload, see which rows are kept, move the border."""
    with gr.Accordion("Start from a picture", open=False, elem_id="priming"):
        upload = gr.Image(
            type="filepath",
            sources=["upload", "clipboard"],
            label="A picture to continue",
            show_label=False,
            placeholder="Drop an image file here",
            height=180,
            elem_id="prime",
        )
        preview = html(note(_HINT), elem_id="prime-preview", js_on_load="watch('value', () => window.dalle.keepRows())")
        rows = slider("Rows kept", 0, 15, 1, 8, elem_id="rows", visible="hidden")
        remove = gr.Button("Remove the picture", elem_id="unprime", size="sm", visible=False)
    parts = Priming(upload, preview, rows, remove, gr.State(None, time_to_live=3600))
    shown = [upload, preview, rows, remove, parts.tokens]
    upload.upload(_receiver(loading), upload, shown, preprocess=False, **QUIET)
    remove.click(_forget, None, shown, **QUIET)
    return parts


def fit(grid: tuple[int, int]) -> dict[str, Any]:
    """The rows slider of a model with this token grid; at first half of the picture is kept."""
    return gr.update(maximum=grid[0] - 1, value=grid[0] // 2)


def kept(tokens: np.ndarray | None, rows: int) -> np.ndarray | None:
    """The values of `Priming.inputs` -> (h, w) tokens to keep, -1 inside the borders; None without a picture."""
    return None if tokens is None else Borders(top=int(rows)).of(tokens)


def _receiver(loading: "Future[Studio]") -> Any:
    def receive(upload: dict[str, Any] | None) -> tuple[Any, ...]:
        """Gradio hands over the file unopened: what people upload is decoded by us, and refused in a sentence."""
        try:
            if not upload:
                raise PictureError("No picture arrived. Please try again.")
            picture = images.read_picture(Path(upload["path"]))
            studio = loading.result()
            tokens = studio.read(picture)
        except DalleError as error:
            return gr.update(value=None), note(str(error), alarm=True), gr.skip(), gr.skip(), gr.skip()
        shown = gr.update(visible=True)
        return gr.update(value=None, visible=False), _kept(studio.show(tokens)), shown, shown, tokens

    return receive


def _forget() -> tuple[Any, ...]:
    rows, remove = gr.update(visible="hidden"), gr.update(visible=False)
    return gr.update(value=None, visible=True), note(_HINT), rows, remove, None


def _kept(picture: Image.Image) -> str:
    return (
        '<figure class="plate primed">'
        f'<img src="{data_url(picture)}" alt="The picture to continue">'
        '<figcaption class="rest">the model draws this part</figcaption></figure>'
    )
