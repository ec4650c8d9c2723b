"""The prompt and what goes with it: Draw and Stop, the token meter, the settings."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import gradio as gr

from dalle.contracts import SamplingOptions
from dalle.ui.parts import QUIET, html, slider

MAX_SEED = 2**31 - 1
MAX_SAMPLES = 32

IDEAS = (
    "a blue strawberry",
    "an illustration of an avocado in a helmet walking a dog",
    "a snail made of violin. a snail with the texture of a violin",
    "a storefront that has the word 'openai' written on it",
    "a photo of a phone from the 1930s",
    "this bird is red with a yellow belly and a short beak",
    "a pencil sketch of a fox",
)

_PICK = """
element.addEventListener('click', (event) => {
  const chip = event.target.closest('.chip');
  if (chip) trigger('pick', {text: chip.textContent});
});
"""


@dataclass(frozen=True)
class Create:
    prompt: gr.Textbox
    draw: gr.Button
    stop: gr.Button
    meter: gr.HTML


@dataclass(frozen=True)
class Settings:
    """Every number that shapes a drawing, in the order in which `inputs` hands them on."""

    samples: gr.Slider
    keep: gr.Slider
    seed: gr.Number
    same: gr.Checkbox
    guidance: gr.Slider
    temperature: gr.Slider
    top_k: gr.Slider
    top_p: gr.Slider

    @property
    def inputs(self) -> list[gr.components.Component]:
        return list(vars(self).values())

    @property
    def options(self) -> list[gr.components.Component]:
        return [self.guidance, self.temperature, self.top_k, self.top_p]


def prompt() -> Create:
    """The sentence, as large as it deserves."""
    with gr.Row(elem_id="sentence", equal_height=True):
        text = gr.Textbox(
            label="Prompt",
            show_label=False,
            placeholder="Describe a picture",
            lines=1,
            max_lines=6,
            container=False,
            elem_id="prompt",
            html_attributes=gr.InputHTMLAttributes(spellcheck=True, autocapitalize="off"),
        )
        draw = gr.Button("Draw", variant="primary", elem_id="draw", scale=0, min_width=120)
        stop = gr.Button("Stop", variant="secondary", elem_id="stop", scale=0, min_width=120, visible=False)
    return Create(text, draw, stop, html(meter(None), elem_id="meter"))


def ideas(target: gr.Textbox) -> None:
    """Sentences to begin with; one click puts them into the prompt."""
    chips = "".join(f'<li><button type="button" class="chip">{escape(idea)}</button></li>' for idea in IDEAS)
    board = html(f'<ul class="chips">{chips}</ul>', js_on_load=_PICK)

    def pick(event: gr.EventData) -> str:
        return event.text

    board.pick(pick, None, target, **QUIET)


def settings() -> Settings:
    """How many, and from which dice."""
    samples = slider("Pictures drawn", 1, MAX_SAMPLES, 1, 8, elem_id="samples")
    keep = slider("Best shown", 1, MAX_SAMPLES, 1, 8, elem_id="keep")
    with gr.Row(elem_id="seed-row", equal_height=True):
        seed = gr.Number(1, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, elem_id="seed", min_width=80)
        dice = gr.Button("New seed", elem_id="dice", scale=0, min_width=96)
    same = gr.Checkbox(False, label="Keep this seed", elem_id="same")
    dice.click(None, None, seed, js=f"() => Math.floor(Math.random() * {MAX_SEED})")
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        options = [
            slider("Guidance", 1, 10, 0.1, 1, info="How closely the sentence is followed; 1 is plain sampling."),
            slider("Temperature", 0, 2, 0.05, 1, info="0 always takes the likeliest token."),
            slider("Top-k", 0, 1024, 1, 0, info="Only the k likeliest tokens; 0 keeps all."),
            slider("Top-p", 0.05, 1, 0.01, 1, info="Only the likeliest tokens that share this probability."),
        ]
    return Settings(samples, keep, seed, same, *options)


def chosen_options(options: SamplingOptions) -> list[float]:
    """A model's own settings, in the order of `Settings.options`."""
    return [options.guidance, options.temperature, options.top_k, options.top_p]


def meter(count: int | None, length: int = 1) -> str:
    """How much of the text window the sentence fills; `None` before anything can be counted."""
    if count is None:
        return '<p class="meter">&nbsp;</p>'
    share = min(1.0, count / length)
    over = count > length
    words = f"{count} / {length} tokens" + (" · the end does not fit and is not read" if over else "")
    bar = f'<span class="bar" style="--share:{share:.3f}"></span>'
    return f'<p class="meter{" over" if over else ""}">{bar}{words}</p>'


def count_with(tokens: Callable[[], tuple[Callable[[str], int], int] | None]) -> Callable[[str], str]:
    """The meter of a tokenizer that may still be loading."""

    def count(text: str) -> str:
        tokenizer = tokens()
        return meter(None) if tokenizer is None else meter(tokenizer[0](text), tokenizer[1])

    return count
