"""The prompt and what goes with it: Draw and Stop, the token meter, the settings."""

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from dalle import languages, lexicon
from dalle.contracts import Bundle, SamplingOptions, TextTokenizer
from dalle.ui.parts import QUIET, html, slider

MAX_SEED = 2**31 - 1
MAX_SAMPLES = 64
FORMATS = ("PNG", "JPEG", "WebP")

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
    picker: gr.HTML


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


@dataclass(frozen=True)
class Downloads:
    """How pictures are saved."""

    format: gr.Radio
    telling: gr.Checkbox

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [self.format, self.telling]


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
    with gr.Row(elem_id="under", equal_height=False):
        gauge = html(meter(None), elem_id="meter", js_on_load="watch('value', () => dalle.read())")
        picker = html("", elem_id="picker", js_on_load="dalle.picker(element, trigger); // which triggers 'choose'")
    return Create(text, draw, stop, gauge, picker)


def ideas(target: gr.Textbox) -> None:
    """Sentences to begin with; one click puts them into the prompt."""
    chips = "".join(f'<li><button type="button" class="chip">{escape(idea)}</button></li>' for idea in IDEAS)
    board = html(f'<ul class="chips">{chips}</ul>', js_on_load=_PICK)

    def pick(event: gr.EventData) -> str:
        return event.text

    board.pick(pick, None, target, **QUIET)


def settings() -> tuple[Settings, Downloads]:
    """How many, from which dice, and how they are saved."""
    samples = slider("Pictures drawn", 1, MAX_SAMPLES, 1, 8, elem_id="samples")
    keep = slider("Best shown", 1, MAX_SAMPLES, 1, 8, elem_id="keep")
    with gr.Row(elem_id="seed-row", equal_height=True):
        seed = gr.Number(1, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, elem_id="seed", min_width=80)
        dice = gr.Button("New seed", elem_id="dice", scale=0, min_width=96)
    same = gr.Checkbox(False, label="Keep this seed", elem_id="same")
    dice.click(None, None, seed, js=f"() => Math.floor(Math.random() * {MAX_SEED})")
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        options = [
            slider("Guidance", 1, 20, 0.1, 1, elem_id="guidance", info="How closely it follows the sentence; 1: off."),
            slider("Temperature", 0, 2, 0.05, 1, elem_id="temperature", info="0 always takes the likeliest token."),
            slider("Top-k", 0, 4096, 1, 0, elem_id="top_k", info="Only the k likeliest tokens; 0 keeps all."),
            slider("Top-p", 0.05, 1, 0.005, 1, elem_id="top_p", info="Only the likeliest tokens of this probability."),
        ]
        file_format = gr.Radio(FORMATS, value=FORMATS[0], label="Download as", elem_id="format")
        telling = gr.Checkbox(True, label="PNG files tell their prompt and settings", elem_id="telling")
    return Settings(samples, keep, seed, same, *options), Downloads(file_format, telling)


def fit(options: SamplingOptions, can_guide: bool) -> list[dict[str, Any]]:
    """`Settings.options` of a model: its own values, and guidance only where it was trained for it."""
    return [
        gr.update(value=options.guidance if can_guide else 1, visible=can_guide),
        gr.update(value=options.temperature),
        gr.update(value=options.top_k),
        gr.update(value=options.top_p),
    ]


def meter(count: int | None, length: int = 1, read: int | None = None, hint: str = "") -> str:
    """How much of the text window the sentence fills, and how many of its characters are `read` where it is too long;
    a `count` of None is before anything can be counted. The `hint` is about its words.
    """
    if count is None:
        return '<p class="meter">&nbsp;</p>'
    share = min(1.0, count / length)
    over = count > length
    words = f"{count} / {length} tokens" + (" · the gray end does not fit and is not read" if over else "")
    bar = f'<span class="bar" style="--share:{share:.3f}"></span>'
    cut = f' data-read="{read}"' if over else ""
    remark = f'<p class="note hint" role="status">{escape(hint)}</p>' if hint else ""
    return f'<p class="meter{" over" if over else ""}"{cut}>{bar}{words}</p>{remark}'


def measure(text: str, bundle: Bundle) -> str:
    """The meter of a sentence, and what its model would say to it."""
    tokenizer = bundle.text
    count = tokenizer.count(text)
    read = _fitting(text, tokenizer) if count > tokenizer.length else None
    hint = languages.hint(text, bundle.languages) or lexicon.confession(lexicon.unknown_words(text, bundle.place))
    return meter(count, tokenizer.length, read, hint)


def _fitting(text: str, tokenizer: TextTokenizer) -> int:
    """How many characters of a sentence fit the text window: the most whole words, found by halving."""
    ends = [0, *(i for i, character in enumerate(text) if character.isspace()), len(text)]
    low, high = 0, len(ends) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if tokenizer.count(text[: ends[middle]]) <= tokenizer.length else (low, middle)
    return ends[low]
