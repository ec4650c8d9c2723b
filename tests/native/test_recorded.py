"""The recorded step of a GPU: trusted only when its logits are right, and a way back. Here, the CPU plays the GPU."""

import logging
import threading
from functools import partial

import decoders
import pytest
import torch

from dalle import native
from dalle.native import accelerator
from dalle.nn import graphed
from dalle.nn.graphed import Graphed
from dalle.nn.transformer import TransformerConfig

CONFIG = TransformerConfig(20, text_len=7, image_vocab=43, grid=(5, 5), width=16, depth=2, heads=2, shift=True)
transformer = partial(decoders.transformer, CONFIG)


@pytest.fixture(autouse=True)
def on_this_device(monkeypatch, caplog):
    monkeypatch.setenv("DALLE_NATIVE", "1")
    monkeypatch.setattr(accelerator, "FASTER", {"cpu": accelerator.FASTER["cuda"]})
    monkeypatch.setattr(graphed, "EXTENT", 6)
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_is_used_where_its_logits_are_right(dtype, caplog):
    net = transformer().to(dtype)
    model = native.Accelerator(net).finish()
    assert isinstance(model, Graphed) and model.net is net and model.lanes == net.lanes
    assert "The graphed step is used." in caplog.text


def test_the_check_takes_every_recorded_step(monkeypatch):
    taken = set()
    advance = Graphed._advance
    monkeypatch.setattr(
        Graphed, "_advance", lambda self, room, extent: (taken.add(extent), advance(self, room, extent))
    )
    model = native.Accelerator(transformer()).finish()
    assert isinstance(model, Graphed) and taken == {*model.extents}


@pytest.mark.parametrize("wrong", ["shifted", "none", "late"])
def test_a_step_with_other_logits_is_not_used(wrong, monkeypatch, caplog):
    step = Graphed.step

    def spoilt(self, tokens, state):
        logits = step(self, tokens, state)
        return {"shifted": logits * 1.1, "none": logits + torch.nan, "late": logits * (state.position < 20)}[wrong]

    monkeypatch.setattr(Graphed, "step", spoilt)
    net = transformer()
    assert native.Accelerator(net).finish() is net
    assert "logits differ" in caplog.text


def _no_recorder(monkeypatch):
    monkeypatch.setattr(graphed, "_can_record", lambda device: True)  # and it cannot


def _no_memory(monkeypatch):
    def full(*told):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(graphed, "_can_record", lambda device: True)
    monkeypatch.setattr(graphed, "record", full)


def _turned_off(monkeypatch):
    monkeypatch.setenv("DALLE_NATIVE", "0")


@pytest.mark.parametrize("spoil", [_no_recorder, _no_memory, _turned_off])
def test_otherwise_the_ordinary_step_stays(spoil, monkeypatch, caplog):
    spoil(monkeypatch)
    net = transformer()
    assert native.Accelerator(net).finish() is net
    assert "The graphed step is not used" in caplog.text


def test_nets_that_it_does_not_know_stay_as_they_are():
    net = transformer(patterns=("full", "gate"))
    assert native.Accelerator(net).finish() is net


def test_a_gpu_is_left_alone_until_the_first_drawing_and_asked_once(monkeypatch):
    made = []
    ways = (("graphed", lambda model: made.append(threading.current_thread()) or Graphed(model)),)
    monkeypatch.setattr(accelerator, "FASTER", {"meta": ways})
    fast = native.Accelerator(transformer().to("meta"))
    assert not made
    drawings = [threading.Thread(target=fast.best) for _ in range(4)]
    for drawing in drawings:
        drawing.start()
    for drawing in drawings:
        drawing.join()
    assert isinstance(fast.best(), Graphed) and fast.finish() is fast.best() and len(made) == 1
