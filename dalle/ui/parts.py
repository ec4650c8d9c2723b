"""Small things that several panels need."""

import base64
import io
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

# Events that answer at once: not in the queue behind a drawing, without a progress bar, not part of the API.
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def html(value: str, **settings: Any) -> gr.HTML:
    """Markup of our own, without Gradio's typography."""
    return gr.HTML(value, apply_default_css=False, **settings)


def slider(label: str, low: float, high: float, step: float, value: float, **settings: Any) -> gr.Slider:
    return gr.Slider(low, high, value, step=step, label=label, buttons=[], **settings)


def note(text: str, alarm: bool = False) -> str:
    """A sentence to the visitor; screen readers say it when it changes."""
    return f'<p class="note{" alarm" if alarm else ""}" role="status">{escape(text)}</p>'


def data_url(picture: Image.Image) -> str:
    """A picture inside the page itself; good enough to look at, too lossy to keep."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
