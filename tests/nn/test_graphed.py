"""The step in static shapes gives what the ordinary one gives, asks the device for nothing, and is recorded once."""

import gc
import logging
from dataclasses import replace
from functools import partial
from unittest.mock import MagicMock

import decoders
import pytest
import torch
from decoders import sentences
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dalle import sampling
from dalle.contracts import SamplingOptions
from dalle.nn import graphed
from dalle.nn.graphed import Graphed, supports
from dalle.nn.patterns import PATTERNS
from dalle.nn.transformer import Transformer, TransformerConfig

PLAIN = TransformerConfig(20, text_len=7, image_vocab=12, grid=(5, 5), width=18, depth=2, heads=2, head_dim=8)
CHOICES = {
    **{pattern: {"patterns": (pattern,)} for pattern in PATTERNS},
    **decoders.CHOICES,
}
transformer = partial(decoders.transformer, PLAIN)
FREE = torch.full((25,), -1)


@pytest.fixture(autouse=True)
def small_extents(monkeypatch):
    monkeypatch.setattr(graphed, "EXTENT", 6)


@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES.keys())
def test_logits_are_those_of_the_ordinary_step(choices):
    net = transformer(**choices)
    fast = Graphed(net)
    image = torch.randint(12, (4, 25), generator=torch.Generator().manual_seed(2))
    for given in (0, 7):
        (wanted, theirs), (found, ours) = (model.prefill(sentences(), image[:2, :given]) for model in (net, fast))
        assert torch.equal(wanted, found)
        theirs, ours = theirs.repeat(2), ours.repeat(2)
        for index in range(given, 24):
            wanted = net.step(image[:, index], theirs)
            torch.testing.assert_close(fast.step(image[:, index], ours), wanted, atol=1e-4, rtol=1e-4)
            assert ours.position == index + 1


def test_the_part_that_is_looked_over_grows_and_is_never_too_small():
    fast = Graphed(transformer())
    assert fast.extents == [12, 18, 24, 30, 32] and fast.starts == [0, 5, 11, 17, 23]
    assert Graphed(transformer(patterns=("row",))).extents == [32]
    assert Graphed(transformer(grid=(1, 6))).extents == [12]  # the last token is not read


def test_a_state_may_fan_out_in_the_middle():
    net = transformer(shift=True, hidden_token=3)
    fast = Graphed(net)
    image = torch.randint(0, 12, (6, 25))
    image[:, :9] = image[::3, :9].repeat_interleave(3, 0)
    _, state = fast.prefill(sentences())
    for index in range(9):
        fast.step(image[::3, index], state)
    before, state = state, state.repeat(3)
    for index in range(9, 24):
        logits = fast.step(image[:, index], state)
    wanted = net(sentences().repeat_interleave(3, 0), image)[:, -1]
    torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-4)
    assert before.position == 9


def draw(model, seed: int, guidance: float = 1.0, kept: Tensor = FREE):
    return sampling.draw(model, *sentences(), seed, range(5), SamplingOptions(guidance, top_k=9), kept)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_drawing_around_tokens_that_are_kept(guidance):
    net = transformer(shift=True, patterns=("full", "row"))
    kept = FREE.clone()
    kept[:6] = torch.arange(6)
    kept[11] = 10
    wanted, found = (torch.stack([*draw(model, 3, guidance, kept)]) for model in (net, Graphed(net, lanes=8)))
    assert torch.equal(found, wanted) and len(wanted.unique()) > 4


def test_two_drawings_at_once_do_not_know_of_each_other():
    net = transformer(shift=True)
    fast = Graphed(net)
    alone = [torch.stack([*draw(net, seed)]) for seed in (1, 2)]
    together = zip(draw(fast, 1), draw(fast, 2), strict=True)
    for wanted, found in zip(alone, map(torch.stack, zip(*together, strict=True)), strict=True):
        assert torch.equal(found, wanted)
    assert not torch.equal(*alone)


def test_a_room_goes_from_drawing_to_drawing_and_nothing_stays_in_it():
    net = transformer(shift=True)
    fast = Graphed(net)
    first = draw(fast, 1)
    next(first), next(first)
    assert not fast._free
    first.close()
    gc.collect()
    (room,) = fast._free
    with torch.inference_mode():
        for tensor in graphed._tensors(room.state):
            tensor.fill_(torch.nan if tensor.is_floating_point() else 1)
    assert torch.equal(torch.stack([*draw(fast, 2)]), torch.stack([*draw(net, 2)]))
    gc.collect()
    assert [*fast._free] == [room]
    drawing = draw(fast, 1, guidance=2.0)
    next(drawing), next(drawing)
    assert not fast._free  # rooms of another size are let go


# ---- without a word from the device, and with a recorder that is none ------------------------------------------------


class OnDevice(TorchDispatchMode):
    """Lets nothing pass that reads a tensor of the host: a recording cannot fetch it, not even a number."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [x for x in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        assert all(x.device.type == "meta" for x in tensors), function
        with self:
            parts = function.decompose(*args, **(kwargs or {}))  # of which it may consist
        return function(*args, **(kwargs or {})) if parts is NotImplemented else parts


@pytest.mark.parametrize("options", [SamplingOptions(), SamplingOptions(2.0, 0.9, 5, 0.8)], ids=["all", "filtered"])
@pytest.mark.parametrize("static", [False, True], ids=["ordinary", "static"])
def test_no_token_needs_an_answer_of_the_device(options, static):
    """A device that has no numbers has none to tell: asking it for one raises."""
    net, odds = transformer("meta", **CHOICES["all"]), torch.zeros(5, 25, device="meta")
    model = Graphed(net) if static else net
    drawing = sampling.draw(model, *sentences().to("meta"), 3, range(5), options, FREE, odds)
    next(drawing), next(drawing)
    with OnDevice():
        drawn = [next(drawing) for _ in range(23)]
    assert all(tokens.shape == (5,) and tokens.device.type == "meta" for tokens in drawn)


class Recorder:
    """Stands for a GPU: recordings that take the step anew, counted."""

    def __init__(self, monkeypatch):
        self.made, self.replayed = [], []
        monkeypatch.setattr(graphed, "_can_record", lambda device: True)
        monkeypatch.setattr(graphed, "record", self.record)

    def record(self, advance, extents, index):
        recorder = self

        class Again:
            def __init__(self, extent):
                self.extent = extent

            def replay(self):
                recorder.replayed.append(self.extent)
                advance(self.extent)

        self.made.append([*extents])
        return {extent: Again(extent) for extent in extents}


def test_steps_are_recorded_once_for_each_room_and_then_replayed(monkeypatch):
    recorder, net = Recorder(monkeypatch), transformer()
    fast = Graphed(net)
    fast.prepare(rows=8)
    for seed in (1, 2):
        assert torch.equal(torch.stack([*draw(fast, seed)]), torch.stack([*draw(net, seed)]))
    assert recorder.made == [fast.extents]
    assert recorder.replayed == 2 * (5 * [12] + 6 * [18] + 6 * [24] + 6 * [30] + [32])


def test_where_nothing_can_be_recorded_the_same_step_is_taken_without(monkeypatch, caplog):
    net = transformer()
    fast = Graphed(net)
    monkeypatch.setattr(graphed, "_can_record", lambda device: True)  # and there is none
    with pytest.raises((RuntimeError, AssertionError, ValueError)):
        fast.prepare(rows=8)
    caplog.set_level(logging.WARNING)
    assert torch.equal(torch.stack([*draw(fast, 1)]), torch.stack([*draw(net, 1)]))
    assert "not recorded" in caplog.text


@pytest.mark.parametrize("fails", [False, True])
def test_a_recording_begins_warm_and_at_the_first_token(fails, monkeypatch):
    cuda, index, taken = MagicMock(), torch.tensor([5]), []
    monkeypatch.setattr(torch, "cuda", cuda)
    graphed._beside.cache_clear()

    def advance(extent):
        taken.append((extent, index.item(), cuda.graph.return_value.__enter__.called))
        index.add_(1)
        if fails and len(taken) == 3:
            raise RuntimeError("operation not permitted when stream is capturing")

    cuda.graph.return_value.__enter__.side_effect = index.zero_  # as nothing runs that is recorded
    cuda.graph.return_value.__exit__.return_value = False
    cuda.stream.return_value.__exit__.return_value = cuda.device.return_value.__exit__.return_value = False
    try:
        recorded = graphed.record(advance, [8, 16], index)
        assert taken == [(8, 0, False), (16, 0, False), (8, 0, True), (16, 0, True)] and not fails
        assert [*recorded] == [8, 16]
    except RuntimeError:
        assert fails and len(taken) == 3
    finally:
        graphed._beside.cache_clear()
    cuda.current_stream().wait_stream.assert_called_once()  # what follows comes after all of it


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES.keys())
def test_recorded_steps_give_what_ordinary_ones_give(choices):
    net = transformer("cuda", **choices)
    fast = Graphed(net)
    fast.prepare(rows=4)
    image = torch.randint(12, (4, 25), device="cuda")
    (_, theirs), (_, ours) = (model.prefill(sentences().cuda()) for model in (net, fast))
    theirs, ours = theirs.repeat(2), ours.repeat(2)
    for tokens in image[:, :24].unbind(1):
        torch.testing.assert_close(fast.step(tokens, ours), net.step(tokens, theirs), atol=1e-4, rtol=1e-4)
    assert ours.room().recorded


def test_some_nets_keep_their_ordinary_step():
    for pattern in ("blocks", "gate"):
        config = replace(PLAIN, patterns=("full", pattern))
        assert not supports(config)
        with pytest.raises(ValueError, match="static shapes"):
            Graphed(Transformer(config))
