"""The compiled step: the same logits as the net it was made from, the same bits in any company, and a way back."""

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import decoders
import numpy as np
import pytest
import torch
from decoders import sentences
from torch import Tensor

from dalle import models, native, sampling
from dalle.contracts import Request, SamplingOptions
from dalle.engine import Studio
from dalle.native import accelerator, library
from dalle.native.decoder import NativeDecoder, supports
from dalle.nn.prepacked import Prepacked
from dalle.nn.transformer import Transformer, TransformerConfig

PLAIN = TransformerConfig(20, text_len=7, image_vocab=43, grid=(5, 5), width=18, depth=2, heads=2, head_dim=10)
CHOICES = {
    "plain": {},
    "wide heads": {"head_dim": 33, "hidden": 77},
    **decoders.CHOICES,
    "geglu": {"mlp": "geglu", "hidden": 31},
}
transformer = partial(decoders.transformer, PLAIN)


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if library.find_compiler() is None:
        pytest.skip("there is no C++ compiler here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("DALLE_NATIVE", "1")
        library.load()
        yield


@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES.keys())
@pytest.mark.parametrize(
    ("storage", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 3e-2)], ids=str
)
def test_steps_give_what_a_whole_pass_gives(choices, storage, tolerance):
    net = transformer(**choices)
    decoder = NativeDecoder(net, storage)
    image = torch.randint(0, 43, (4, 25))
    text = sentences()
    whole = net(text.repeat_interleave(2, 0), image)  # (4, I, V)
    for given in (0, 7):
        image[:, :given] = image[:1, :given]
        whole = net(text.repeat_interleave(2, 0), image)
        _, state = decoder.prefill(text, image[::2, :given])
        state = state.repeat(2)
        for index in range(given, 24):
            logits = decoder.step(image[:, index], state)
            assert (logits - whole[:, index + 1]).abs().max() < tolerance * whole.std()


def test_a_state_may_fan_out_in_the_middle():
    net = transformer(shift=True)
    decoder = NativeDecoder(net, torch.float32)
    image = torch.randint(0, 43, (6, 25))
    image[:, :9] = image[::3, :9].repeat_interleave(3, 0)
    text = sentences()
    _, state = decoder.prefill(text)
    for index in range(9):
        decoder.step(image[::3, index], state)
    before, state = state, state.repeat(3)
    for index in range(9, 24):
        logits = decoder.step(image[:, index], state)
    torch.testing.assert_close(logits, net(text.repeat_interleave(3, 0), image)[:, -1])
    assert before.position == 9


@pytest.fixture
def threads() -> Iterator[None]:
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.mark.parametrize("storage", [torch.float32, torch.float16], ids=str)
def test_a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads(storage, threads):
    net = transformer(**CHOICES["all"])
    decoder = NativeDecoder(net, storage)
    image = torch.randint(0, 43, (17, 25))
    _, prompts = decoder.prefill(sentences())

    def logits(rows: int, count: int) -> Tensor:
        torch.set_num_threads(count)
        state = prompts.repeat(rows)
        return torch.stack([decoder.step(image[:rows, i].repeat(2), state).unflatten(0, (2, -1)) for i in range(24)])

    expected = logits(17, 1)
    for rows in (1, 3, 8, 17):
        for count in (1, 2, 3):
            assert torch.equal(logits(rows, count), expected[:, :, :rows])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_drawing_around_tokens_that_are_kept(guidance):
    net = transformer(shift=True, patterns=("full", "row"))
    kept = torch.full((25,), -1)
    kept[:6] = torch.arange(6)
    kept[11] = 40
    options = SamplingOptions(guidance=guidance, top_k=30)

    def draw(model, candidates) -> Tensor:
        return torch.stack(list(sampling.draw(model, *sentences(), 5, candidates, options, kept)), 1)

    decoder = NativeDecoder(net, torch.float32)
    drawn = draw(decoder, range(5))
    assert torch.equal(drawn, draw(net, range(5)))
    assert torch.equal(drawn[[3]], draw(decoder, [3]))


def test_half_precision_draws_nearly_always_the_token_that_full_precision_draws():
    bundle = models.load("emoji", torch.device("cpu"))
    net, text = bundle.model, bundle.text.encode("a red bird on a branch")
    assert isinstance(net, Transformer)
    decoder = accelerator.checked(net)
    assert accelerator.disagreement(net, decoder) < 5e-3  # of the logits' spread
    rows, count = 8, 96
    table = sampling.uniforms(1, range(rows), count)
    logits, theirs = net.prefill(text[None])
    logits, theirs, ours = logits.expand(rows, -1), theirs.repeat(rows), decoder.prefill(text[None])[1].repeat(rows)
    same = 0
    for index in range(count - 1):
        token = sampling.choose(*sampling.filter_logits(logits, bundle.options), table[:, index])
        logits = net.step(token, theirs)
        both = torch.cat([logits, decoder.step(token, ours)])
        chosen = sampling.choose(*sampling.filter_logits(both, bundle.options), table[:, index + 1].repeat(2))
        same += int((chosen[:rows] == chosen[rows:]).sum())
    assert same >= 0.99 * rows * (count - 1)


def test_what_is_no_token_is_refused():
    decoder = NativeDecoder(transformer())
    _, state = decoder.prefill(sentences())
    for wrong in (-1, 43):
        with pytest.raises(IndexError):
            decoder.step(torch.tensor([0, wrong]), state)
    with pytest.raises(ValueError):
        decoder.step(torch.tensor([0, 0, 0]), state)
    for _ in range(24):
        decoder.step(torch.tensor([0, 42]), state)
    with pytest.raises(ValueError):
        decoder.step(torch.tensor([0, 42]), state)


@pytest.mark.parametrize("patterns", [("full", "blocks"), ("gate", "row")])
def test_some_nets_stay_with_pytorch(patterns):
    config = replace(PLAIN, patterns=patterns)
    assert not supports(config)
    net = Transformer(config)
    assert isinstance(native.Accelerator(net).finish(), Prepacked)


# ---- the way there, and back -----------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine on which nothing has been compiled yet; its cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    yield tmp_path / "dalle"
    library.load.cache_clear()


def test_the_fast_step_is_compiled_once_and_then_only_loaded(fresh, monkeypatch):
    net = transformer()
    assert not library.cached()
    first = native.Accelerator(net)
    assert isinstance(first.finish(), NativeDecoder) and first.best() is first.finish()
    assert library.cached() and len(list(fresh.iterdir())) == 1
    library.load.cache_clear()
    monkeypatch.setattr(library, "_compile", None)
    monkeypatch.setattr(accelerator, "LOADING", 600)  # this machine may be busy
    assert isinstance(native.Accelerator(net).best(), NativeDecoder)  # waits for what takes no time


def test_another_source_is_another_build(fresh, monkeypatch, tmp_path):
    library.load()
    changed = tmp_path / "step.cpp"
    changed.write_text(library.SOURCE.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    monkeypatch.setattr(library, "SOURCE", changed)
    assert not library.cached()


def test_nothing_waits_for_a_compiler(fresh, monkeypatch):
    started = threading.Event()
    monkeypatch.setattr(library, "_compile", lambda *told: started.wait(30))
    net = transformer()
    fast = native.Accelerator(net)
    assert fast.best() is net
    started.set()
    assert isinstance(fast.finish(), Prepacked)


def _no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.delenv("CXX", raising=False)


def _broken_compiler(monkeypatch, tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'no such flag' >&2\nexit 1\n", encoding="utf-8")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))


def _no_library(monkeypatch, tmp_path):
    """A compiler that writes what cannot be loaded."""
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho rubbish >"$2"\n', encoding="utf-8")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))


def _no_cache(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))


@pytest.mark.skipif(os.name == "nt", reason="the broken compilers are shell scripts")
@pytest.mark.parametrize("spoil", [_no_compiler, _broken_compiler, _no_library, _no_cache])
def test_where_the_fast_step_cannot_be_had_pytorch_takes_it(spoil, fresh, monkeypatch, tmp_path, caplog):
    spoil(monkeypatch, tmp_path)
    caplog.set_level(logging.INFO)
    assert isinstance(native.Accelerator(transformer()).finish(), Prepacked)
    assert "The compiled step is not used" in caplog.text


@pytest.mark.parametrize(
    "spoil", [lambda logits: logits * 1.1, lambda logits: logits + torch.nan], ids=["wrong", "none"]
)
def test_a_step_with_other_logits_is_not_used(spoil, monkeypatch, caplog):
    step = NativeDecoder.step
    monkeypatch.setattr(NativeDecoder, "step", lambda *told: spoil(step(*told)))
    caplog.set_level(logging.INFO)
    assert isinstance(native.Accelerator(transformer()).finish(), Prepacked)
    assert "logits differ" in caplog.text


def test_it_can_be_turned_off(fresh, monkeypatch):
    monkeypatch.setenv("DALLE_NATIVE", "0")
    assert isinstance(native.Accelerator(transformer()).finish(), Prepacked) and not fresh.exists()


def test_a_large_model_is_not_copied(monkeypatch):
    monkeypatch.setenv("DALLE_NATIVE", "0")
    monkeypatch.setattr(accelerator, "PACKED", 1000)
    net = transformer()
    assert native.Accelerator(net).finish() is net


def test_a_studio_draws_with_it():
    studio = Studio.load("emoji", "cpu")
    studio._accelerator.finish()
    assert isinstance(studio._accelerator.best(), NativeDecoder)
    kept = np.full((16, 16), -1)
    kept[:13] = 5  # the rest is enough to see
    one, three = (
        list(studio.generate(Request("a red bird", samples=n, seed=4, kept=kept, previews=0)))[-1] for n in (1, 3)
    )
    same = next(candidate for candidate in three.candidates if candidate.index == 0)
    assert np.array_equal(one.candidates[0].tokens, same.tokens)
