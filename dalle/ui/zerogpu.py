"""Hugging Face's ZeroGPU: a GPU that is there only while a decorated function runs, in a process forked for it."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import gradio as gr

from dalle.errors import DalleError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from dalle.contracts import Request, Update
    from dalle.engine import Studio

_HERE = "SPACES_ZERO_GPU"  # set on such Spaces, and nowhere else


def lend(load: Callable[[str], Any], places: Sequence[str]) -> Callable[[str], Any]:
    """`load` as it is; on ZeroGPU, studios that are loaded by now and borrow the GPU whenever they work.

    Until the page is launched, the package `spaces` lets models go to a GPU that is not there, in this thread alone.
    """
    if not os.environ.get(_HERE):
        return load
    import spaces  # comes with every Space

    studios = {place: Borrower(load(place), spaces.GPU) for place in places}

    def known(place: str) -> Borrower:
        if place not in studios:
            raise ModelError("This page draws only with the models that it was started with.")
        return studios[place]

    return known


class Borrower:
    """A studio whose work runs in the process that has the GPU; what the page remembers stays in its own."""

    def __init__(self, studio: "Studio", gpu: Callable[..., Any]) -> None:
        self.bundle, self.device = studio.bundle, studio.device

        @gpu
        def work(deed: str, *given: Any) -> Iterator[Any]:
            try:
                done = getattr(studio, deed)(*given)
                yield from done if deed == "generate" else [done]
            except DalleError as error:  # as a value: `spaces` lets only the name of an error through
                yield error

        self._work = work

    def generate(self, request: "Request") -> "Iterator[Update]":
        return self._ask("generate", request)

    def read(self, picture: "Image.Image") -> "np.ndarray":
        (tokens,) = self._ask("read", picture)
        return tokens

    def show(self, tokens: "np.ndarray") -> "Image.Image":
        (picture,) = self._ask("show", tokens)
        return picture

    def _ask(self, deed: str, *given: Any) -> Iterator[Any]:
        try:
            with closing(self._work(deed, *given)) as results:
                for result in results:
                    if isinstance(result, DalleError):
                        raise result
                    yield result
        except gr.Error as error:  # of `spaces`, in words for people: the visitor's share is used up, say
            raise ModelError(re.sub(r"<[^>]+>", "", str(error.message))) from None
