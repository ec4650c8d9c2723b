"""Start from a picture: some of its tokens are kept as they are, and the model draws the rest around them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from dalle import images
from dalle.contracts import Borders
from dalle.errors import PictureError, SettingError
from dalle.ui.parts import QUIET, data_url, html, note, sentence, slider
from dalle.ui.studios import Studios

if TYPE_CHECKING:
    from dalle.engine import Studio

_HINT = "A part of it stays as it is; the model draws the rest."
_SEEN = 768  # pixels, longest side of an upload as the page shows it
_HELD = 2048  # and as it is held here for another crop
_SMALLEST = 16  # pixels, side of a crop


@dataclass(frozen=True)
class Crop:
    """A square of an upright picture: its left, its top and its side in pixels."""

    x: float
    y: float
    side: float

    @classmethod
    def centred(cls, size: tuple[int, int]) -> "Crop":
        """The largest one in the middle."""
        side = min(size)
        return cls((size[0] - side) / 2, (size[1] - side) / 2, side)

    def within(self, size: tuple[int, int]) -> "Crop":
        """The nearest one that lies in a picture of that size, at whole pixels. Raises PictureError."""
        if not all(isfinite(value) for value in (self.x, self.y, self.side)):
            raise PictureError("That crop cannot be used. Please give the picture again.")
        side = round(min(max(self.side, _SMALLEST), *size))
        x, y = (round(min(max(value, 0), whole - side)) for value, whole in zip((self.x, self.y), size, strict=True))
        return Crop(x, y, side)

    def of(self, picture: Image.Image) -> Image.Image:
        return picture.crop((round(self.x), round(self.y), round(self.x + self.side), round(self.y + self.side)))


@dataclass(frozen=True)
class Source:
    """An upload, upright, and the square of it that is used: for another crop, or another model."""

    picture: Image.Image
    crop: Crop


@dataclass(frozen=True)
class Priming:
    panel: gr.Accordion
    upload: gr.Image
    canvas: gr.HTML
    rows: gr.Slider
    columns: gr.Slider
    remove: gr.Button
    tokens: gr.State  # (h, w) int64, -1 where unknown; or None
    source: gr.State  # a Source, or None

    @property
    def inputs(self) -> list[gr.components.Component]:
        """What `kept` wants to know when a drawing begins."""
        return [self.tokens, self.rows, self.columns]

    @property
    def outputs(self) -> list[gr.components.Component]:
        """What `place` fills."""
        return list(vars(self).values())

    @property
    def borders(self) -> list[gr.components.Component]:
        """What `fit` fills."""
        return [self.rows, self.columns]


def panel(studios: Studios, model: gr.State) -> Priming:
    """Upload, crop, see what the model sees, and move the border of what is kept."""
    with gr.Accordion("Start from a picture", open=False, elem_id="priming") as whole:
        upload = gr.Image(
            type="filepath",
            sources=["upload", "clipboard"],
            label="A picture to continue",
            show_label=False,
            placeholder="Drop, paste or choose a picture",
            height=180,
            elem_id="prime",
        )
        canvas = html(note(_HINT), elem_id="canvas", js_on_load=_ON_LOAD)
        rows = slider("Rows kept", 0, 15, 1, 7, elem_id="rows")
        columns = slider("Columns kept", 0, 15, 1, 0, elem_id="columns")
        remove = gr.Button("Remove the picture", elem_id="unprime", size="sm")
    tokens, source = (gr.State(None, time_to_live=3600) for _ in range(2))
    parts = Priming(whole, upload, canvas, rows, columns, remove, tokens, source)
    upload.upload(_receiver(studios), [upload, model], parts.outputs, preprocess=False, **QUIET)
    canvas.crop(_cropper(studios), [model, parts.source, rows, columns], parts.outputs, **QUIET)
    remove.click(forget, None, parts.outputs, **QUIET)
    return parts


def usual(grid: tuple[int, int]) -> Borders:
    """What is kept at first: just under half, as in the paper, which keeps 15 rows of 32."""
    return Borders(top=grid[0] * 15 // 32)


def fit(grid: tuple[int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sliders of a model with this token grid, at its usual borders."""
    return _sliders(grid, usual(grid))


def kept(tokens: np.ndarray | None, rows: float, columns: float) -> np.ndarray | None:
    """The values of `Priming.inputs` -> (h, w) tokens to keep, -1 where the model draws; None without a picture.

    The visitor moves two borders; of a picture that is known in part, what is known beyond the others stays.
    """
    return None if tokens is None else replace(_known(tokens), top=int(rows), left=int(columns)).of(tokens)


def place(studio: "Studio", tokens: np.ndarray, borders: Borders | None = None) -> tuple[Any, ...]:
    """Put a picture that is known by its (h, w) tokens on the canvas: the values of `Priming.outputs`.

    Tokens that are -1 are not known and stay to be drawn. Without `borders`, what is known of a part is kept, and
    the usual part of a whole picture.
    """
    return _placed(studio, tokens, borders or (_known(tokens) if (tokens < 0).any() else usual(tokens.shape)))


def reread(studio: "Studio", tokens: np.ndarray, rows: float, columns: float, source: Source | None) -> tuple[Any, ...]:
    """What lies on the canvas, as another model sees it, with as much of it kept: the values of `Priming.outputs`.

    Raises PictureError for what is known by the first model's tokens only, ModelError.
    """
    if source is None:
        raise PictureError("It is made of the other model's tokens; please give it as a file.")
    h, w = studio.bundle.images.grid
    borders = Borders(top=int(rows) * h // len(tokens), left=int(columns) * w // tokens.shape[1])
    return _read(studio, source.picture, source.crop, borders)


def given(
    studio: "Studio", upload: gr.FileData | Mapping[str, Any] | None, borders: Mapping[str, int | None]
) -> np.ndarray | None:
    """A file and borders that a program sends -> (h, w) tokens to keep, -1 where the model draws; None without a file.

    Raises PictureError, SettingError.
    """
    wanted = {side: count for side, count in borders.items() if count}
    if upload is None:
        if wanted:
            raise SettingError("The borders keep parts of a picture: please send one.")
        return None
    h, w = studio.bundle.images.grid
    if any(not 0 <= count < (h if side in ("top", "bottom") else w) for side, count in wanted.items()):
        raise SettingError(f"Between 0 and {h - 1} rows and 0 and {w - 1} columns of the picture can be kept.")
    path = Path(dict(upload)["path"]).resolve()
    if not path.is_relative_to(Path(gr.utils.get_upload_folder()).resolve()):  # nobody names files of the server
        raise PictureError("Please upload the picture.")
    return (Borders(**wanted) if wanted else usual((h, w))).of(studio.read(images.read_picture(path)))


def forget() -> tuple[Any, ...]:
    """No picture: the values of `Priming.outputs`."""
    return gr.skip(), gr.update(value=None), note(_HINT), *[gr.skip()] * 3, None, None


def outline(kept: np.ndarray | None) -> str:
    """The border between kept and drawn tokens, as a drawing to lay over a picture; empty where there is none."""
    if kept is None or not (kept >= 0).any():
        return ""
    h, w = kept.shape
    mask = np.pad(kept >= 0, 1, mode="edge")  # the edge of the picture is no border
    below, right = mask[1:, 1:-1] != mask[:-1, 1:-1], mask[1:-1, 1:] != mask[1:-1, :-1]
    lines = [f"M{x} {y}h1" for y, x in zip(*below.nonzero(), strict=True)]
    lines += [f"M{x} {y}v1" for y, x in zip(*right.nonzero(), strict=True)]
    return (
        f'<svg class="kept" viewBox="0 0 {w} {h}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{"".join(lines)}"/></svg>'
    )


def _receiver(studios: Studios) -> Callable[..., tuple[Any, ...]]:
    def receive(upload: dict[str, Any] | None, model: str) -> tuple[Any, ...]:
        """Gradio hands over the file unopened: what people upload is decoded by us, and refused in a sentence."""
        try:
            if not upload:
                raise PictureError("No picture arrived. Please try again.")
            picture = images.read_picture(Path(upload["path"]))
            picture.thumbnail((_HELD, _HELD), Image.Resampling.LANCZOS)
            studio = studios.get(model)
            return _read(studio, picture, Crop.centred(picture.size), usual(studio.bundle.images.grid))
        except Exception as error:
            return gr.skip(), gr.update(value=None), note(sentence(error), alarm=True), *[gr.skip()] * 5

    return receive


def _cropper(studios: Studios) -> Callable[..., tuple[Any, ...]]:
    def crop(event: gr.EventData, model: str, source: Source | None, rows: float, columns: float) -> tuple[Any, ...]:
        try:
            if source is None:
                raise PictureError("The picture is no longer at hand. Please give it again.")
            square = Crop(float(event.x), float(event.y), float(event.side)).within(source.picture.size)
            return _read(studios.get(model), source.picture, square, Borders(int(rows), left=int(columns)))
        except Exception as error:
            return *[gr.skip()] * 2, note(sentence(error), alarm=True), *[gr.skip()] * 5

    return crop


def _read(studio: "Studio", picture: Image.Image, crop: Crop, borders: Borders) -> tuple[Any, ...]:
    tokens = studio.read(picture if crop == Crop.centred(picture.size) else crop.of(picture))
    return _placed(studio, tokens, borders, Source(picture, crop))


def _placed(studio: "Studio", tokens: np.ndarray, borders: Borders, source: Source | None = None) -> tuple[Any, ...]:
    seen = studio.show(np.where(tokens < 0, 0, tokens))
    markup = _canvas(seen, tokens, borders, _cropping(source.picture, source.crop) if source else "")
    panel, upload = gr.update(open=True), gr.update(value=None)
    return panel, upload, markup, *_sliders(tokens.shape, borders), gr.skip(), tokens, source


def _sliders(grid: tuple[int, ...], borders: Borders) -> tuple[dict[str, Any], dict[str, Any]]:
    h, w = grid
    return (
        gr.update(maximum=h - 1 - borders.bottom, value=borders.top),
        gr.update(maximum=w - 1 - borders.right, value=borders.left),
    )


def _known(tokens: np.ndarray) -> Borders:
    """The borders of the part of a picture that is known; none where all of it is."""
    unknown = tokens < 0
    if not unknown.any():
        return Borders()
    rows, columns = np.any(unknown, axis=1), np.any(unknown, axis=0)
    return Borders(*(int(line.argmax()) for line in (rows, rows[::-1], columns, columns[::-1])))


def _canvas(seen: Image.Image, tokens: np.ndarray, borders: Borders, cropping: str) -> str:
    """The picture as the model sees it, under its token grid, with the border to move."""
    h, w = tokens.shape
    mode = "corner" if borders.left else "rows"
    views = _buttons("View", "view", {"keep": "What is kept", "crop": "Crop"}, "keep") if cropping else ""
    modes = _buttons("What is kept", "mode", {"rows": "Top rows", "corner": "All but a corner"}, mode)
    return (
        f'<div class="canvas" data-view="keep" data-mode="{mode}" data-rows="{h}" data-columns="{w}"'
        f' style="--rows:{h};--columns:{w};{"".join(f"--{side}:{n};" for side, n in asdict(borders).items())}">{views}'
        f'<figure class="plate primed"><img src="{data_url(seen)}" alt="The picture as the model sees it">'
        f'{_unknown(tokens)}<span class="cells"></span><figcaption class="rest"><i>drawn by the model</i></figcaption>'
        f'<span class="handle" role="slider" tabindex="0" aria-label="Border of what is kept"'
        f' aria-valuemin="0" aria-valuemax="{h - 1 - borders.bottom}"></span></figure>'
        f"{cropping}{modes}</div>"
    )


def _cropping(source: Image.Image, crop: Crop) -> str:
    """The upload behind a square window; the browser moves it and tells where it came to rest."""
    seen = source.copy()
    seen.thumbnail((_SEEN, _SEEN))
    w, h = source.size
    return (
        f'<div class="crop" data-width="{w}" data-height="{h}" data-x="{crop.x}" data-y="{crop.y}"'
        f' data-side="{crop.side}"><div class="plate window" role="application" tabindex="0" aria-label="Crop: drag'
        f' the picture or use the arrow keys, plus and minus zoom"><img src="{data_url(seen)}" alt="Your picture"'
        f' draggable="false"></div><label class="zoom"><span>Zoom</span><input type="range" min="1" max="8"'
        f' step="0.01" value="1"></label></div>'
    )


def _buttons(label: str, name: str, choices: dict[str, str], chosen: str) -> str:
    buttons = "".join(
        f'<button type="button" data-{name}="{key}" aria-pressed="{str(key == chosen).lower()}">{title}</button>'
        for key, title in choices.items()
    )
    return f'<div class="choice" role="group" aria-label="{label}">{buttons}</div>'


def _unknown(tokens: np.ndarray) -> str:
    """Blank squares over the tokens that nobody knows."""
    if (tokens >= 0).all():
        return ""
    h, w = tokens.shape
    squares = "".join(f"M{x} {y}h1v1h-1z" for y, x in np.argwhere(tokens < 0))
    return f'<svg class="unknown" viewBox="0 0 {w} {h}" aria-hidden="true"><path d="{squares}"/></svg>'


_ON_LOAD = """
element.addEventListener('crop', (event) => trigger('crop', event.detail));
watch('value', () => dalle.canvasWritten());
dalle.canvasWritten();
"""
