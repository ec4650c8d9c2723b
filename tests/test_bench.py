"""The benchmark on a tiny shape: what it reports, who takes part, and that our rivals compute what we do."""

import itertools
import json
import os
from dataclasses import replace

import pytest
import torch

from dalle.__main__ import main
from dalle.bench import footprint, journey, profile, speed
from dalle.bench.contender import OURS, Entry
from dalle.bench.machine import Gauge, Limits
from dalle.bench.peers import PEERS
from dalle.bench.race import race
from dalle.bench.report import Report
from dalle.bench.workload import FLOAT32, LARGE, Bound, Storage, Workload
from dalle.errors import SettingError

TINY = Workload(grid=4, candidates=2, depth=2, width=16, heads=2, codebook=32, text_len=4, text_vocab=8, top_k=5)
PLAN = speed.Plan(grids=(4,), candidates=(1, 3), repeats=2, stretches=2, steps=2)


@pytest.fixture(scope="module")
def measured() -> speed.Speed:
    return speed.measure(PLAN, TINY, Gauge(floats=2**12, side=32), say=lambda text: None)


def test_everybody_is_measured_or_named_as_absent(measured):
    for heat in measured.heats:
        assert {line.name for line in heat.lines} | set(heat.absent) >= {entry.name for entry in PEERS} | {"PyTorch"}
        assert not {line.name for line in heat.lines} & set(heat.absent)
        assert all(heat.absent.values())


def test_the_report_says_what_was_measured_where(measured):
    told = json.loads(json.dumps(Report.of({"speed": measured}).json()))
    assert {"date", "machine", "versions", "speed"} == set(told)
    assert told["versions"]["torch"] == torch.__version__
    assert told["machine"]["threads"] == torch.get_num_threads()
    assert [heat["workload"]["candidates"] for heat in told["speed"]["heats"]] == [1, 3]
    line = told["speed"]["heats"][1]["lines"][0]
    assert line["name"] == "PyTorch"
    assert line["seconds"] * line["tokens_per_second"] == pytest.approx(3 * TINY.steps, rel=1e-3)
    assert line["of_limit"] > 0


def test_the_table_names_the_absent_and_a_noisy_machine(measured, monkeypatch):
    def absent(work):
        raise ImportError("nobody installed it")

    monkeypatch.setattr(speed, "PEERS", (Entry("Nobody", absent),))
    monkeypatch.setattr(speed, "NOISE", -1)
    table = speed.measure(PLAN, TINY, Gauge(2**12, 32), say=lambda text: None).table()
    assert "Nobody" in table and "absent: nobody installed it" in table
    assert "too noisy" in table
    assert "PyTorch" in measured.table()


def test_turns_are_taken_and_stretches_lie_within_the_picture():
    turns = []

    class Watched:
        def __init__(self, name):
            self.name, self.storage = name, FLOAT32

        def draw(self, known):
            turns.append((self.name, known))
            yield from range(known, 16)

    paces = race({name: Watched(name) for name in "ab"}, length=16, rounds=2, stretches=2, steps=6)
    assert turns == [("a", 1), ("b", 1), ("a", 8), ("b", 8)] * 2
    assert set(paces) == {"a", "b"} and all(pace.spread >= 0 for pace in paces.values())


def test_the_bound_counts_every_weight_and_every_key():
    net = TINY.transformer()
    linear = [m for m in net.modules() if isinstance(m, torch.nn.Linear) and m is not net.text_head]
    assert TINY.weights == sum(m.weight.numel() for m in linear)
    keys = [TINY.text_len + drawn for drawn in range(1, TINY.steps + 1)]  # seen by each step
    numbers = [2 * TINY.depth * TINY.width * (TINY.text_len + 2 * (n - TINY.text_len)) for n in keys]
    assert TINY.bytes_read(FLOAT32) == 4 * (TINY.weights + sum(numbers) / TINY.steps)
    limits = Limits(gemm=1e9, bandwidth=1e3)
    assert Bound.of(TINY, limits, Storage(2, 2)).step == Bound.of(TINY, limits, FLOAT32).step / 2


def test_the_profile_names_operators_and_their_shares():
    profiles = profile.measure(TINY, steps=2).operators
    assert any("mm" in operator.name for operator in profiles["PyTorch"])
    for operators in profiles.values():
        shares = [operator.share for operator in operators]
        assert shares == sorted(shares, reverse=True) and sum(shares) <= 1


def test_a_request_is_split_into_its_parts(tiny_model):
    found = journey.measure(str(tiny_model), samples=3, keep=2)
    assert set(found.shares) == {"prefill", "sampling", "decoding", "ranking", "PNG"}
    assert all(share > 0 for share in found.shares.values()) and sum(found.shares.values()) <= 1
    assert 0 < found.first_preview < 1
    assert "3 samples, 2 kept" in found.table()


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell how much memory a process had")
def test_memory_and_start_are_those_of_whole_processes(tiny_model):
    found = footprint.measure(str(tiny_model), samples=1)
    assert 50e6 < found.peak < 8e9  # PyTorch alone needs the former
    assert found.ready > 0


@pytest.mark.parametrize("entry", (*OURS, *PEERS), ids=lambda entry: entry.name)
def test_everybody_draws(entry):
    try:
        peer = entry.build(TINY)
    except ImportError as error:
        pytest.skip(str(error))
    for known in (0, 5):
        drawing = iter(peer.draw(known))
        for _ in range(4):
            tokens = next(drawing)
            assert tokens.shape == (2,) and tokens.min() >= 0 and tokens.max() < TINY.codebook


@pytest.mark.parametrize("entry", (*OURS, *PEERS), ids=lambda entry: entry.name)
def test_what_runs_on_a_gpu_keeps_to_its_device_and_its_numbers(entry):
    """A device without numbers takes the place of one: a tensor that is left elsewhere cannot be computed with."""
    if "cuda" not in entry.devices:
        assert not entry.runs(LARGE)
        return
    assert entry.runs(LARGE)
    work = replace(TINY, device="meta", dtype="bfloat16")
    try:
        contender = entry.build(work)
    except ImportError as error:
        pytest.skip(str(error))
    assert contender.storage == Storage(2, 2)
    drawing = iter(contender.draw(5))
    assert all(next(drawing).device.type == "meta" for _ in range(3))


def test_a_gpu_is_given_another_workload_and_a_cpu_can_rehearse_it():
    plan, shape = speed.usual("cuda")
    assert (plan.grids, plan.candidates, shape.depth, shape.width) == ((32,), (16, 64), 24, 2048)
    assert shape.numbers == torch.bfloat16 and 1.2e9 < shape.weights < 1.3e9
    with pytest.raises(SettingError, match="mps"):
        speed.usual("mps")
    plan = replace(plan, grids=(4,), candidates=(2,), repeats=2, stretches=1, steps=4, stint=2, peers=False)
    work = replace(TINY, dtype=shape.dtype)
    assert work.transformer().image_head.weight.dtype == torch.bfloat16
    gauge = Gauge(2**12, 32, "cpu", work.numbers)
    table = speed.measure(plan, work, gauge, say=lambda text: None).table()
    assert "in bfloat16" in table


def test_the_clock_may_be_looked_at_once_in_a_stint(monkeypatch):
    looks = []
    monkeypatch.setattr("dalle.bench.race.seconds", lambda work: looks.append(work()) or 0.5)

    class Endless:
        storage = FLOAT32

        def draw(self, known):
            yield from itertools.count()

    paces = race({"one": Endless()}, length=64, rounds=1, stretches=1, steps=16, stint=8)
    assert looks == [1, [*range(2, 10)], [*range(10, 18)]]  # the first one is not measured
    assert paces["one"].median == 0.5 / 8


def test_openvino_computes_what_we_do():
    pytest.importorskip("openvino")
    from dalle.bench.peers.openvino import IN_FLOAT32, OpenVino

    net, peer = TINY.transformer(), OpenVino(IN_FLOAT32, TINY)
    text, image = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[5, 6], [7, 8]])
    wanted, state = net.prefill(text)
    state, origin = state.repeat(2), torch.zeros(2, dtype=torch.int32)
    with peer.sentence():
        torch.testing.assert_close(peer.read(text, origin[:1]), wanted)
        for tokens in image.T:
            found = peer.read(tokens[:, None] + TINY.text_vocab, origin)
            torch.testing.assert_close(found, net.step(tokens, state), atol=1e-4, rtol=1e-4)
            origin = torch.arange(2, dtype=torch.int32)


def test_the_command_writes_and_prints_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(profile, "measure", lambda work: profile.Profile(work, {}))
    out = tmp_path / "bench.json"
    assert main(["bench", "--profile", "--grid", "16", "--candidates", "1,2", "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    told = json.loads(out.read_text())["profile"]["workload"]
    assert (told["candidates"], told["device"], told["dtype"]) == (2, "cpu", "float32")
