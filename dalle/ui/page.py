"""The whole page: panels laid out and wired to the studio."""

import logging
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dalle.errors import DalleError
from dalle.ui import about, create, drawing, gallery, priming, templates
from dalle.ui.parts import QUIET, html, note
from dalle.ui.shelf import Shelf
from dalle.ui.theme import theme

if TYPE_CHECKING:
    from dalle.engine import Studio

_log = logging.getLogger(__name__)
_ASSETS = Path(__file__).resolve().parents[2] / "assets"
# Each has a style sheet or a script of its own in assets/page; they apply in this order.
_PANELS = ("base", "create", "templates", "sweep", "priming", "gallery", "history", "about")
_QUEUE = 24  # drawings that may wait at once

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


def build(loading: "Future[Studio]") -> tuple[gr.Blocks, dict[str, Any]]:
    """The page of a studio that may still be loading, and what to pass to its `launch`."""
    shelf = Shelf()
    with gr.Blocks(title="DALL·E", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        html(_HEADER)
        with gr.Column(elem_id="hero"):
            made = create.prompt()
            with gr.Tabs(elem_id="starts"):
                with gr.Tab("Ideas"):
                    create.ideas(made.prompt)
                templates.panel(made.prompt)
        with gr.Row(elem_id="desk"):
            with gr.Column(elem_id="wall", scale=3, min_width=320):
                status = html(note(drawing.WARMING), elem_id="status")
                pictures = html(
                    gallery.empty(), elem_id="pictures", js_on_load="watch('value', () => window.dalle.settle(element))"
                )
            with gr.Column(elem_id="tray", scale=1, min_width=280):
                settings = create.settings()
                primed = priming.panel(loading)
        with gr.Accordion("About this model", open=False, elem_id="about"):
            facts = html("")
            gr.Markdown(about.model_card())

        started, buttons = [made.draw.click, made.prompt.submit], [made.draw, made.stop]
        gr.on(started, None, None, buttons, js=_turn(drawing=True), **QUIET)  # listeners run in this order
        drawn = gr.on(
            started,
            drawing.drawer(loading, shelf),
            [made.prompt, *settings.inputs, *primed.inputs],
            [status, pictures, settings.seed],
            show_progress="minimal",
            show_progress_on=status,
            trigger_mode="multiple",  # "once" also swallows the first Enter after Stop
            concurrency_id="device",
            api_visibility="private",
        )
        drawn.then(None, None, buttons, js=_turn(drawing=False), **QUIET)
        stopped = made.stop.click(None, None, buttons, js=_turn(drawing=False), cancels=drawn, **QUIET)
        stopped.then(lambda: note("Stopped."), None, status, **QUIET)  # after the last row that was on its way

        count = create.count_with(lambda: _tokens(loading))
        made.prompt.change(count, made.prompt, made.meter, trigger_mode="always_last", **QUIET)
        page.load(_welcome(loading), None, [status, facts, *primed.borders, *settings.options], **QUIET).then(
            count, made.prompt, made.meter, **QUIET
        )

        def leave(browser: gr.Request) -> None:
            shelf.discard(browser.session_hash or "")

        page.unload(leave)
        gr.api(
            drawing.endpoint(loading, shelf),
            api_name="generate",
            concurrency_id="device",
            concurrency_limit=1,
        )
    page.queue(default_concurrency_limit=1, max_size=_QUEUE)
    return page, _launch_options(shelf)


def _launch_options(shelf: Shelf) -> dict[str, Any]:
    fonts = Mount("/fonts", StaticFiles(directory=_ASSETS / "fonts"))
    return {
        "theme": theme(),
        "css_paths": _assets("css"),
        "js": "() => {" + "".join(script.read_text(encoding="utf-8") for script in _assets("js")) + "}",
        "app_kwargs": {"routes": [fonts, shelf.route()]},
        "allowed_paths": [str(shelf.home)],  # where the files of the named endpoint lie
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": "40mb",
        "ssr_mode": False,
        "show_error": False,
    }


def _assets(kind: str) -> list[Path]:
    files = [_ASSETS / "page" / f"{panel}.{kind}" for panel in _PANELS]
    return [file for file in files if file.exists()]


def _turn(drawing: bool) -> str:
    """Draw and Stop take turns in one place, at once: the browser does it."""
    draw, stop = ("false", "true") if drawing else ("true", "false")
    return f"() => [{{__type__: 'update', visible: {draw}}}, {{__type__: 'update', visible: {stop}}}]"


def _tokens(loading: "Future[Studio]") -> Any:
    if not loading.done() or loading.exception():
        return None
    text = loading.result().bundle.text
    return text.count, text.length


def _welcome(loading: "Future[Studio]") -> Any:
    """Waits for the model and fits the page to it."""

    def welcome() -> tuple[Any, ...]:
        try:
            studio = loading.result()
        except DalleError as error:
            return note(str(error), alarm=True), *[gr.skip()] * 7
        except Exception:
            _log.exception("the model did not load")
            return note("The model could not be loaded; the server's log says why.", alarm=True), *[gr.skip()] * 7
        return (
            note(drawing.READY),
            about.facts(studio.bundle, str(studio.device)),
            *priming.fit(studio.bundle.images.grid),
            *create.chosen_options(studio.bundle.options),
        )

    return welcome
