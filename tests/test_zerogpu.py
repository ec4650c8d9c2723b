"""A GPU that is lent for single calls: a stand-in for the package `spaces` runs them as that does, at arm's length."""

import pickle
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from dalle.contracts import Request, Update
from dalle.errors import ModelError, PromptError
from dalle.ui import zerogpu


class Studio:
    """Draws in two steps."""

    bundle, device = SimpleNamespace(name="tiny"), "cuda"

    def __init__(self) -> None:
        self.closed = False

    def generate(self, request: Request) -> Iterator[Update]:
        if not request.prompt:
            raise PromptError("Please type a sentence.")
        try:
            for row in (1, 2):
                yield Update("sampling", row, 2, 0.0, None)
        except GeneratorExit:
            self.closed = True
            raise

    def read(self, picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.convert("L"))

    def show(self, tokens: np.ndarray) -> Image.Image:
        return Image.fromarray(tokens.astype(np.uint8))


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A Space of that kind. What goes to the GPU and comes back is pickled, and of errors only the name arrives."""
    spaces = ModuleType("spaces")
    spaces.calls = []

    def gpu(task: Callable[..., Iterator[object]]) -> Callable[..., Iterator[object]]:
        def borrowed(*given: object) -> Iterator[object]:
            spaces.calls.append(given[0])
            try:
                for result in task(*pickle.loads(pickle.dumps(given))):
                    yield pickle.loads(pickle.dumps(result))
            except Exception as error:
                raise gr.Error(f"<b>GPU task aborted</b>: {type(error).__name__}") from None

        return borrowed

    spaces.GPU = gpu
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    return spaces


def test_elsewhere_models_load_as_ever(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert zerogpu.lend(Studio, ["tiny"]) is Studio


def test_all_models_are_loaded_before_the_page_is_launched(lent):
    loaded = []

    def load(place: str) -> Studio:
        loaded.append(place)
        return Studio()

    lend = zerogpu.lend(load, ["one", "other"])
    assert loaded == ["one", "other"]
    assert lend("one").bundle.name == "tiny" and lend("one") is lend("one")
    with pytest.raises(ModelError, match="started with"):
        lend("a third one")


def test_everything_that_needs_the_gpu_borrows_it(lent):
    studio = zerogpu.lend(lambda place: Studio(), ["tiny"])("tiny")
    assert [update.row for update in studio.generate(Request("a red bird"))] == [1, 2]
    tokens = studio.read(Image.new("RGB", (4, 4), "white"))
    assert (tokens == 255).all() and studio.show(tokens).size == (4, 4)
    assert lent.calls == ["generate", "read", "show"]


def test_a_drawing_that_is_closed_stops_on_the_gpu(lent):
    inner = Studio()
    drawing = zerogpu.lend(lambda place: inner, ["tiny"])("tiny").generate(Request("a red bird"))
    next(drawing)
    drawing.close()
    assert inner.closed


def test_errors_keep_their_sentences(lent, monkeypatch):
    studio = zerogpu.lend(lambda place: Studio(), ["tiny"])("tiny")
    with pytest.raises(PromptError, match="Please type a sentence"):
        list(studio.generate(Request("")))
    monkeypatch.setattr(Studio, "read", None)  # nobody foresaw that
    with pytest.raises(ModelError, match=r"^GPU task aborted: TypeError"):
        studio.read(Image.new("RGB", (4, 4)))
