"""The whole page: panels laid out and wired to the studio."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dalle.ui import about, create, drawing, gallery, history, priming, sweep, templates
from dalle.ui.create import Create, Downloads
from dalle.ui.parts import QUIET, html, note
from dalle.ui.restore import Desk
from dalle.ui.shelf import Shelf
from dalle.ui.studios import Studios
from dalle.ui.theme import theme

_ASSETS = Path(__file__).resolve().parents[2] / "assets"
# Each has a style sheet or a script of its own in assets/page; they apply in this order.
_PANELS = ("base", "create", "templates", "sweep", "priming", "gallery", "viewer", "history", "about")
_DEVICE = "device"  # what all drawings wait for
_QUEUE = 24  # drawings that may wait at once
_GLANCE = 0.05  # seconds between two looks into the queue: Gradio's own thousand a second warm an idle machine

_GALLERY = """
dalle.gallery(element, trigger, watch);  // which triggers 'reuse' and 'vary'
dalle.receive(trigger);  // which triggers 'recall'
"""

_STOPPED = note("Stopped.")
# What was not even begun: it was stopped while it waited, or found the queue full.
_REFUSED = f"() => dalle.refused({json.dumps(_STOPPED)}, {json.dumps(note(drawing.BUSY, alarm=True))})"

_HEADER = """
<header class="masthead">
  <h1><a class="wordmark" href="."><svg viewBox="0 0 19 19" aria-hidden="true">
    <path d="M0 0h4v4H0zm5 0h4v4H5zm5 0h4v4h-4zm5 0h4v4h-4zM0 5h4v4H0zm5 0h4v4H5zm5 0h4v4h-4zM0 10h4v4H0z"/>
    <path opacity=".25" d="M15 5h4v4h-4zM5 10h4v4H5zm5 0h4v4h-4zm5 0h4v4h-4z
      M0 15h4v4H0zm5 0h4v4H5zm5 0h4v4h-4zm5 0h4v4h-4z"/>
  </svg>DALL·E</a></h1>
  <p>One transformer writes a picture, token by token. CLIP picks the best.</p>
  <button type="button" class="lamp" data-action="lamp" aria-label="Light or dark page"></button>
</header>
"""


@dataclass(frozen=True)
class Layout:
    """The parts of the page that events begin at or end in, besides those of the desk."""

    desk: Desk
    made: Create
    past: gr.HTML
    pictures: gr.HTML
    downloads: Downloads


def build(studios: Studios, queue: int = _QUEUE) -> tuple[gr.Blocks, dict[str, Any]]:
    """The page of some models, and what to pass to its `launch`. At most `queue` drawings wait at once."""
    shelf = Shelf({sweep.SHEET: sweep.sheet})
    with gr.Blocks(title="DALL·E", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        parts = _lay_out(studios)
        _draw(parts, studios, shelf)
        _measure_and_restore(page, parts, studios, shelf)

        def leave(browser: gr.Request) -> None:
            shelf.discard(browser.session_hash or "")

        page.unload(leave)
        gr.api(
            drawing.endpoint(studios, shelf),
            api_name="generate",
            concurrency_id=_DEVICE,
            concurrency_limit=1,
        )
    page.queue(default_concurrency_limit=1, max_size=queue)
    page._queue.sleep_when_free = page._queue.progress_update_sleep_when_free = _GLANCE
    return page, _launch_options(shelf)


def _lay_out(studios: Studios) -> Layout:
    html(_HEADER)
    model = gr.State(studios.first)
    with gr.Column(elem_id="hero"):
        made = create.prompt()
        with gr.Tabs(elem_id="starts") as starts:
            with gr.Tab("Ideas"):
                create.ideas(made.prompt)
            words = templates.panel(made.prompt)
            with gr.Tab("History"):
                past = history.panel()
    with gr.Row(elem_id="desk"):
        with gr.Column(elem_id="wall", scale=3, min_width=320):
            status = html(note(drawing.WARMING), elem_id="status", js_on_load="dalle.waiting(element)")
            pictures = html(gallery.empty(), elem_id="pictures", js_on_load=_GALLERY)
        with gr.Column(elem_id="tray", scale=1, min_width=280):
            settings, downloads = create.settings()
            primed = priming.panel(studios, model)
    with gr.Accordion("About this model", open=False, elem_id="about"):
        facts = html("", js_on_load="dalle.about(element, watch)")
        card = gr.Markdown(elem_id="card")
    desk = Desk(studios, status, facts, card, model, made.picker, made.prompt, settings, primed, starts, words)
    return Layout(desk, made, past, pictures, downloads)


def _draw(parts: Layout, studios: Studios, shelf: Shelf) -> None:
    """Draw and Stop, for one sentence and for a sweep."""
    desk, made = parts.desk, parts.made
    started, buttons = [made.draw.click, made.prompt.submit], [made.draw, made.stop]
    begin = {"fn": None, "outputs": buttons, "js": "() => dalle.turn(true)", **QUIET}
    work: dict[str, Any] = {
        "outputs": [desk.status, parts.pictures, desk.settings.seed],
        "show_progress": "minimal",
        "show_progress_on": desk.status,
        "trigger_mode": "multiple",  # "once" also swallows the first Enter after Stop
        "concurrency_id": _DEVICE,
        "api_visibility": "private",
    }
    gr.on(started, **begin)  # listeners run in this order
    form = [*desk.settings.inputs, *parts.downloads.inputs, *desk.primed.inputs]
    drawn = gr.on(started, drawing.drawer(studios, shelf), [desk.model, made.prompt, *form], **work)
    sweep_form = [*parts.downloads.inputs, *desk.primed.inputs, *desk.settings.inputs]
    desk.words.board.sweep(**begin)
    swept = desk.words.board.sweep(sweep.sweeper(studios, shelf), [desk.model, *sweep_form], **work)
    for works in (drawn, swept):
        works.then(None, None, buttons, js="() => dalle.turn(false)", **QUIET)
        works.failure(None, None, [desk.status, *buttons], js=_REFUSED, **QUIET)
    stopped = made.stop.click(None, None, buttons, js="() => dalle.stop()", cancels=[drawn, swept], **QUIET)
    stopped.then(lambda: _STOPPED, None, desk.status, **QUIET)  # after the last row that was on its way


def _measure_and_restore(page: gr.Blocks, parts: Layout, studios: Studios, shelf: Shelf) -> None:
    """The token meter, and all that fills the page anew: a visit, a model, a recipe."""
    desk, made = parts.desk, parts.made
    refill = {"inputs": desk.model, "outputs": desk.outputs, **QUIET}

    def count(text: str, model: str) -> str:
        studio = studios.ready(model)
        return create.measure(text, studio.bundle) if studio else create.meter(None)

    measure = {"fn": count, "inputs": [made.prompt, desk.model], "outputs": made.meter, **QUIET}
    made.prompt.change(trigger_mode="always_last", **measure)
    page.load(desk.visit, **refill).then(**measure).then(js="() => dalle.arrive()", **QUIET)
    chosen = made.picker.choose(_chosen, None, [desk.model, desk.status], **QUIET)
    carried = {**refill, "inputs": [desk.model, *desk.primed.inputs, desk.primed.source]}
    chosen.then(desk.choose, **carried).then(**measure)
    for source in (parts.past, parts.pictures):
        source.reuse(desk.reuse, **refill)
        source.recall(desk.recall, **refill)
    parts.pictures.vary(desk.vary(shelf), **refill)


def _launch_options(shelf: Shelf) -> dict[str, Any]:
    fonts = Mount("/fonts", StaticFiles(directory=_ASSETS / "fonts"))
    return {
        "theme": theme(),
        "css_paths": _assets("css"),
        "head": f"<script>{_script()}</script>",  # `js` would run only after the components have begun
        "app_kwargs": {"routes": [fonts, *shelf.routes()]},
        "allowed_paths": [str(shelf.home)],  # where the files of the named endpoint lie
        "footer_links": ["api"],
        "mcp_server": about.MCP,
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": "40mb",
        "ssr_mode": False,
        "show_error": False,
    }


def _script() -> str:
    """All scripts as one function, so that their names are their own."""
    return f"(() => {{{''.join(script.read_text(encoding='utf-8') for script in _assets('js'))}}})();"


def _assets(kind: str) -> list[Path]:
    files = [_ASSETS / "page" / f"{panel}.{kind}" for panel in _PANELS]
    return [file for file in files if file.exists()]


def _chosen(event: gr.EventData) -> tuple[str, str]:
    return str(event.name), note("This model is being loaded …")
