"""From the step that always works to the fastest one, in the background and only if it can be trusted."""

import logging
import os
import threading

import torch

from dalle.contracts import TokenModel
from dalle.native import library
from dalle.native.decoder import NativeDecoder, supports
from dalle.nn.prepacked import Prepacked, can_prepack
from dalle.nn.transformer import Transformer

# The largest difference between the two steps' logits that is let through, as a share of the logits' spread.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 1e-1}
LOADING = 5  # seconds that a drawing waits at most
PACKED = 2**30  # bytes of weights that are worth a second copy

_log = logging.getLogger(__name__)


class Accelerator:
    """Gives the fastest `TokenModel` that draws what a given one draws.

    The compiled step is built and checked in a thread of its own; nothing waits for a compiler, and whatever goes
    wrong ends in a line of the log, and in the step that PyTorch takes fastest by itself. A drawing asks `best()` once,
    and keeps what it gets. From the moment the compiled step is given, it always is. Where it was compiled by an
    earlier process it only has to be loaded, and the first drawing waits for that: so all drawings of a process take
    the same step, but for those made while a machine's very first build is under way. Those may differ from a later
    drawing of the same seed in a token here and there, as pictures do between kinds of devices.
    """

    def __init__(self, model: TokenModel):
        self._model: TokenModel = model
        self._thread: threading.Thread | None = None
        if isinstance(model, Transformer) and model.position.device.type == "cpu":
            self._thread = threading.Thread(target=self._build, args=(model,), name="native step", daemon=True)
            self._quick = not _wanted(model) or library.cached()
            self._thread.start()

    def best(self) -> TokenModel:
        """The model to draw with now."""
        if self._thread and self._quick:
            self._thread.join(LOADING)
            self._quick = False  # wait only once
        return self._model

    def finish(self) -> TokenModel:
        """Wait for the build, however long it takes; the model to draw with from then on."""
        if self._thread:
            self._thread.join()
        return self._model

    def _build(self, model: Transformer) -> None:
        for name, make in (("compiled", checked), ("prepacked", prepacked)):
            try:
                self._model = make(model)
                _log.info("The %s step is used.", name)
                return
            except Exception as error:  # nothing may keep a drawing from being made
                _log.info("The %s step is not used: %s", name, error)


def prepacked(model: Transformer) -> Prepacked:
    """The fastest step of PyTorch alone. Raises ValueError where there is none, or too large a model to copy."""
    if not can_prepack(model):
        raise ValueError("this PyTorch does not lay out such weights")
    if sum(weights.nbytes for weights in model.parameters()) > PACKED:
        raise ValueError("the model is large, and its weights would be in memory twice")
    return Prepacked(model)


def checked(model: Transformer) -> NativeDecoder:
    """The compiled decoder of a model, in half precision. Raises BuildError, also where its logits are not those of
    the model, or where it is turned off.
    """
    if not _wanted(model):
        raise library.BuildError("it is turned off, or does not know this kind of net")
    dtype = torch.bfloat16 if model.position.dtype == torch.bfloat16 else torch.float16
    decoder = NativeDecoder(model, dtype)
    difference = disagreement(model, decoder)
    if not difference <= TOLERANCES[dtype]:
        raise library.BuildError(f"its logits differ by {difference:.1e} of their spread")
    return decoder


def disagreement(model: Transformer, decoder: NativeDecoder) -> float:
    """The largest difference between the logits of both, until a token has one above it and one to its left.

    As a share of the logits' spread.
    """
    config = model.config
    random = torch.Generator().manual_seed(0)
    text = torch.randint(config.text_vocab, (2, config.text_len), generator=random)
    count = min(config.grid[1] + 2, config.image_len - 1)
    image = torch.randint(config.image_vocab, (4, count), generator=random)
    ours, theirs = decoder.prefill(text)[1].repeat(2), model.prefill(text)[1].repeat(2)
    shares = []
    for tokens in image.unbind(1):
        expected = model.step(tokens, theirs).float()
        shares.append((decoder.step(tokens, ours) - expected).abs().max() / expected.std())
    return torch.stack(shares).max().item()


def _wanted(model: Transformer) -> bool:
    return supports(model.config) and os.environ.get("DALLE_NATIVE", "1") != "0"
