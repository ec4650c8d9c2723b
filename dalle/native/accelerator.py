"""From the step that always works to the fastest one, in the background and only if it can be trusted."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from dalle.contracts import TokenModel
from dalle.native import library
from dalle.native.decoder import NativeDecoder, supports
from dalle.nn.graphed import Graphed
from dalle.nn.prepacked import Prepacked, can_prepack
from dalle.nn.transformer import Transformer

# The largest difference between the two steps' logits that is let through, as a share of the logits' spread.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 1e-1}
LOADING = 5  # seconds that a drawing waits at most for what has been compiled before
RECORDING = 60  # and for a GPU to record its steps
PACKED = 2**30  # bytes of weights that are worth a second copy

_log = logging.getLogger(__name__)


class Accelerator:
    """Gives the fastest `TokenModel` that draws what a given one draws.

    It is made and checked in a thread of its own; nothing waits for a compiler, and whatever goes wrong ends in a line
    of the log, and in the next fastest step. A drawing asks `best()` once, and keeps what it gets. From the moment a
    faster step is given, it always is. Where the compiled step was built by an earlier process it is only loaded,
    and the first drawing waits for that: so all drawings of a process take the same step, but for those made while a
    machine's very first build is under way. Those may differ from a later drawing of the same seed in a token here and
    there, as pictures do between kinds of devices. A GPU is left alone until the first drawing, which waits for it.
    """

    def __init__(self, model: TokenModel):
        self._model: TokenModel = model
        self._thread: threading.Thread | None = None
        self._lock, self._patience = threading.Lock(), 0
        if not isinstance(model, Transformer) or model.position.device.type not in FASTER:
            return
        self._thread = threading.Thread(target=self._build, args=(model,), name="fastest step", daemon=True)
        self._patience = RECORDING
        if model.position.device.type == "cpu":
            self._patience = LOADING if not _wanted(model) or library.cached() else 0
            self._started()

    def best(self) -> TokenModel:
        """The model to draw with now."""
        if self._patience:
            self._started().join(self._patience)
            self._patience = 0  # wait only once
        return self._model

    def finish(self) -> TokenModel:
        """Wait for the build, however long it takes; the model to draw with from then on."""
        if self._thread:
            self._started().join()
        return self._model

    def _started(self) -> threading.Thread:
        assert self._thread is not None
        with self._lock:
            if self._thread.ident is None:
                self._thread.start()
        return self._thread

    def _build(self, model: Transformer) -> None:
        for name, make in FASTER[model.position.device.type]:
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


def graphed(model: Transformer) -> Graphed:
    """The step that a GPU has recorded, in the room for a first drawing. Raises ValueError for a net that it does not
    know, where its logits are not those of the model, or where it is turned off; else whatever keeps it from recording.
    """
    if not _allowed():
        raise ValueError("it is turned off")
    decoder = Graphed(model)
    decoder.prepare(model.lanes)
    difference = disagreement(model, decoder, model.lanes, decoder.starts)
    if not difference <= TOLERANCES[model.position.dtype]:
        raise ValueError(f"its logits differ by {difference:.1e} of their spread")
    return decoder


# By the device of a transformer, the names of faster steps and how to make them, the fastest first.
FASTER: dict[str, tuple[tuple[str, Callable[[Transformer], TokenModel]], ...]] = {
    "cpu": (("compiled", checked), ("prepacked", prepacked)),
    "cuda": (("graphed", graphed),),
}


def disagreement(model: Transformer, decoder: TokenModel, rows: int = 4, starts: Sequence[int] = (0,)) -> float:
    """The largest difference between the logits of both, as a share of their spread.

    From the first image token on, until one has another above it and one to its left; from later starts on, of two.
    """
    config, device = model.config, model.position.device
    random = torch.Generator().manual_seed(0)
    text = torch.randint(config.text_vocab, (2, config.text_len), generator=random).to(device)
    image = torch.randint(config.image_vocab, (rows, config.image_len), generator=random).to(device)
    shares = [share for start in starts for share in _differences(model, decoder, text, image, start)]
    return torch.stack(shares).max().item()


def _differences(model: Transformer, decoder: TokenModel, text: Tensor, image: Tensor, start: int) -> Iterator[Tensor]:
    """Of each step from a start on, as a share of the spread: (2, T) sentences, (B, I) tokens -> (), and again."""
    count = min(model.config.grid[1] + 2 if start == 0 else 2, image.shape[1] - 1 - start)
    theirs = model.prefill(text, image[:2, :start])[1].repeat(len(image) // 2)
    ours = decoder.prefill(text, image[:2, :start])[1].repeat(len(image) // 2)
    for tokens in image[:, start : start + count].unbind(1):
        expected = model.step(tokens, theirs).float()
        yield (decoder.step(tokens, ours) - expected).abs().max() / expected.std()


def _wanted(model: Transformer) -> bool:
    return supports(model.config) and _allowed()


def _allowed() -> bool:
    return os.environ.get("DALLE_NATIVE", "1") != "0"
