"""Small things that several panels need."""

import base64
import io
import logging
import os
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from dalle.errors import DalleError

_log = logging.getLogger(__name__)
_UNKNOWN = "Something went wrong here, not with what you asked for. Please try again; the server's log says more."

# Events that answer at once: not in the queue behind a drawing, without a progress bar, not part of the API.
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def html(value: str, **settings: Any) -> gr.HTML:
    """Markup of our own, without Gradio's typography."""
    return gr.HTML(value, apply_default_css=False, **settings)


def slider(label: str, low: float, high: float, step: float, value: float, **settings: Any) -> gr.Slider:
    return gr.Slider(low, high, value, step=step, label=label, buttons=[], **settings)


def note(text: str, alarm: bool = False, ready: str = "") -> str:
    """A sentence to the visitor; screen readers say it when it changes.

    `ready`: what draws a link's recipe now, "draw" or "sweep".
    """
    begin = f' data-ready="{ready}"' if ready else ""
    return f'<p class="note{" alarm" if alarm else ""}" role="status"{begin}>{escape(text)}</p>'


def sentence(error: Exception) -> str:
    """What to say about an error; one that nobody foresaw goes to the log and keeps its details to itself."""
    if isinstance(error, DalleError):
        return str(error)
    _log.error("not foreseen", exc_info=error)
    return _UNKNOWN


def icon(name: str) -> str:
    """A small drawing for a button that has its name elsewhere."""
    return f'<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="{_ICONS[name]}"/></svg>'


_ICONS = {  # lines on a square of 16
    "star": "M8 1.8l1.9 4 4.3.6-3.1 3 .8 4.4L8 11.7l-3.9 2.1.8-4.4-3.1-3 4.3-.6z",
    "save": "M8 2v8.5M4.5 7.5L8 11l3.5-3.5M2.5 14h11",
    "reuse": "M3 8a5 5 0 1 1 1.5 3.5M3 13v-3h3",
    "vary": "M2.5 2.5h11v11h-11zM8 13.5V8h5.5",
    "continue": "M2.5 2.5h11v11h-11zM2.5 8h11M8 9.5v3M6.5 11.2L8 12.7l1.5-1.5",
    "dice": "M2.5 2.5h11v11h-11zM5.5 5.5h.01M10.5 5.5h.01M8 8h.01M5.5 10.5h.01M10.5 10.5h.01",
}


def home() -> str:
    """The address that people share, where it is not that of the window: a Space is shown inside another page."""
    host = os.environ.get("SPACE_HOST", "")
    return f"https://{host}/" if host else ""


def data_url(picture: Image.Image) -> str:
    """A picture inside the page itself; good enough to look at, too lossy to keep."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
