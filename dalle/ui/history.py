"""What this visitor drew and starred. It lives in the browser alone: here is only the frame that a script fills."""

import gradio as gr

from dalle.ui.parts import html

_FRAME = """
<div class="past">
  <p class="note" data-part="empty">What you draw is listed here, in this browser and nowhere else.</p>
  <section data-part="stars" hidden><h3>Starred</h3><ul class="stars"></ul></section>
  <section data-part="recent" hidden><h3>Recent</h3><ol class="recent"></ol></section>
  <p class="upkeep">
    <label class="quiet">
      <input type="file" accept="image/png" data-part="file"><span>Open a picture drawn here</span>
    </label>
    <button type="button" class="quiet" data-part="clear" hidden>Clear all of it</button>
    <span class="note">A PNG brings its prompt and settings back: open it, or drop it anywhere on the page.</span>
  </p>
</div>
"""


def panel() -> gr.HTML:
    """The frame; its events are `reuse` with a recipe's `link` and `recall` with the `note` of a PNG file."""
    script = "dalle.history(element, trigger); // which triggers 'reuse' and 'recall'"
    return html(_FRAME, elem_id="history", js_on_load=script)
