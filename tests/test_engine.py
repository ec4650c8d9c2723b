"""From a request to a ranked gallery, with a model that the real stages trained."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dalle import engine, images, sampling
from dalle.agreement import jointly
from dalle.contracts import Borders, Candidate, Request, SamplingOptions, Update
from dalle.engine import Studio
from dalle.errors import InputError, ModelError

PROMPT = "a red bird"


@pytest.fixture(scope="module")
def studio(tiny_model: Path) -> Studio:
    return Studio.load(str(tiny_model), "cpu")


@pytest.fixture(scope="module")
def eight(studio: Studio) -> tuple[Update, ...]:
    """All updates of eight candidates of seed 3."""
    return tuple(studio.generate(Request(PROMPT, samples=8, seed=3)))


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Previews may take as long as they like: what they show shall not depend on how fast this machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "PREVIEWING", float("inf"))
        yield


@pytest.fixture
def photo() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(pixels).resize((140, 100))


class Spy:
    """The studio's model, counting its steps."""

    def __init__(self, studio: Studio):
        self.model, self.prefills, self.steps = studio.bundle.model, 0, 0
        self.vocab, self.lanes = self.model.vocab, self.model.lanes

    def prefill(self, *told):
        self.prefills += 1
        return self.model.prefill(*told)

    def step(self, *told):
        self.steps += 1
        return self.model.step(*told)


def spied(studio: Studio) -> tuple[Studio, Spy]:
    spy = Spy(studio)
    return Studio(replace(studio.bundle, model=spy), studio.device), spy


def last(updates: Iterator[Update]) -> Update:
    *_, done = updates
    return done


def by_index(update: Update) -> dict[int, tuple[bytes, bytes]]:
    drawn = (*update.candidates, *update.dropped)
    return {c.index: (c.tokens.tobytes(), c.picture.tobytes()) for c in drawn}


def test_every_row_is_an_update_then_comes_the_ranking(studio, eight):
    h, _ = studio.bundle.images.grid
    assert [u.stage for u in eight] == ["sampling"] * h + ["ranking", "done"]
    assert [u.row for u in eight] == [*range(1, h + 1), h, h] and {u.rows for u in eight} == {h}
    assert all(a.seconds <= b.seconds for a, b in pairwise(eight))
    assert all(u.remaining is not None and u.remaining >= 0 for u in eight) and eight[-1].remaining == 0
    assert set(eight[-1].timings) == {"prefill", "sampling", "previews", "decoding", "ranking"}
    assert sum(eight[-1].timings.values()) <= eight[-1].seconds


@pytest.mark.parametrize(("previews", "shown"), [(0, {4}), (1, {1, 4}), (2, {1, 2, 4}), (8, {1, 2, 3, 4}), (-1, {4})])
def test_previews_are_shown_as_often_as_asked(studio, previews, shown):
    updates = studio.generate(Request(PROMPT, samples=1, previews=previews))
    assert {u.row for u in updates if u.stage == "sampling" and u.candidates} == shown


class Clock:
    """Time that passes only where a token is drawn (1 s) and where a picture is decoded, which takes 16 s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, studio: Studio):
        self.now = 0.0
        tokenizer, drawing, decoding = studio.bundle.images, sampling.draw, studio.bundle.images.decode

        def draw(*told):
            for tokens in drawing(*told):
                self.now += 1
                yield tokens

        def decode(tokens):
            self.now += 16 * tokens.numel() / math.prod(tokenizer.grid)
            return decoding(tokens)

        monkeypatch.setattr(engine.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(engine.sampling, "draw", draw)
        monkeypatch.setattr(tokenizer, "decode", decode)


@pytest.mark.parametrize(
    ("share", "samples", "shown"),
    [(0.0, 1, {1, 3, 4}), (0.3, 1, {1, 3, 4}), (0.6, 1, {1, 2, 3, 4}), (0.3, 2, {1, 3, 4, 5, 7, 8})],
)
def test_further_previews_take_little_time(studio, monkeypatch, share, samples, shown):
    """Drawing a row takes 4 s, and decoding each 4 s more; those after the first and third row are always shown."""
    monkeypatch.setattr(engine, "PREVIEWING", share)
    monkeypatch.setattr(engine, "BATCH", 1)
    Clock(monkeypatch, studio)
    updates = list(studio.generate(Request(PROMPT, samples)))
    assert {u.row for u in updates if u.stage == "sampling" and u.candidates} == shown
    assert [u.row for u in updates[:-2]] == [*range(1, 4 * samples + 1)]
    assert updates[-1].timings["previews"] == 4 * sum(row % 4 for row in shown)


def test_a_preview_is_the_rows_so_far_on_blank(studio, eight):
    h, w = studio.bundle.images.grid
    size, final = studio.bundle.images.size, {c.index: c for c in eight[-1].candidates}
    for update in eight[: h - 1]:
        assert [c.index for c in update.candidates] == list(range(8))
        for candidate in update.candidates:
            row, tokens = update.row, candidate.tokens
            assert tokens.shape == (h, w) and (tokens[row:] == -1).all()
            assert (tokens[:row] == final[candidate.index].tokens[:row]).all()
            pixels, edge = np.asarray(candidate.picture), row * size // h
            assert pixels.shape == (size, size, 3) and (pixels[edge:] == engine.BLANK).all()
            top = images.to_pictures(studio.bundle.images.decode(torch.from_numpy(tokens[None, :row])))[0]
            assert np.abs(pixels[:edge].astype(int) - np.asarray(top)).max() <= 1  # several were decoded at once


def test_a_finished_picture_is_its_decoded_tokens(studio, eight):
    for candidate in eight[-1].candidates:
        assert candidate.tokens.min() >= 0 and candidate.tokens.max() < studio.bundle.images.vocab
        whole = studio.bundle.images.decode(torch.from_numpy(candidate.tokens[None]))
        assert candidate.picture.tobytes() == images.to_pictures(whole)[0].tobytes()


def test_the_gallery_is_sorted_by_what_the_ranker_says(studio, eight):
    drawn = eight[-1].candidates
    assert sorted(c.index for c in drawn) == list(range(8)) and eight[-1].dropped == ()
    scores = [c.score for c in drawn]
    assert scores == sorted(scores, reverse=True)
    again = studio.bundle.ranker.score(PROMPT, images.to_tensor([c.picture for c in drawn]))
    assert scores == pytest.approx(again.tolist(), abs=1e-5)


def test_the_best_are_kept_and_the_others_not_lost(studio, eight):
    done = last(studio.generate(Request(PROMPT, samples=8, seed=3, keep=3)))
    order = [c.index for c in eight[-1].candidates]
    assert [c.index for c in done.candidates] == order[:3] and [c.index for c in done.dropped] == order[3:]
    assert by_index(done) == by_index(eight[-1])


def test_without_a_ranker_the_likeliest_come_first(studio):
    """In nats per token that was to be drawn, and not those of the accelerated step to the bit."""
    blind = Studio(replace(studio.bundle, ranker=None), studio.device)
    kept = np.full(studio.bundle.images.grid, -1)
    kept[0], kept[2, 1] = 3, 5
    request = Request(PROMPT, samples=5, seed=3, kept=kept, options=SamplingOptions(guidance=2.0, top_p=0.9))
    updates = tuple(blind.generate(replace(request, keep=2)))
    assert "ranking" not in {u.stage for u in updates} and len(updates[-1].dropped) == 3
    ranked = (*updates[-1].candidates, *updates[-1].dropped)
    assert {c.scored_by for c in ranked} == {"likelihood"}
    assert [c.score for c in ranked] == sorted((c.score for c in ranked), reverse=True)
    text = studio.bundle.text.encode(PROMPT)[None]
    for candidate in ranked:
        tokens = torch.from_numpy(candidate.tokens).flatten()
        logits = studio.bundle.model(text, tokens[None])[0, : len(tokens)]
        slow = [logits[i].log_softmax(0)[tokens[i]].item() for i in range(kept.shape[1], len(tokens))]
        assert candidate.score == pytest.approx(sum(slow) / len(slow), abs=0.01)
    alone = last(blind.generate(replace(request, samples=1))).candidates[0]
    assert alone.score == next(c.score for c in ranked if c.index == 0)


def test_agreement_counts_in_completions_and_for_quoted_words_where_a_model_asks_for_it(studio):
    agreeing = Studio(replace(studio.bundle, agreement=True), studio.device)
    kept = np.full(studio.bundle.images.grid, -1)
    kept[0] = 3
    request = Request(PROMPT, samples=5, seed=3, kept=kept)
    found, usual = last(agreeing.generate(request)), last(studio.generate(request))
    assert by_index(found) == by_index(usual) and {c.scored_by for c in usual.candidates} == {"CLIP"}
    assert {c.scored_by for c in found.candidates} == {"CLIP and agreement"}
    cosines = {c.index: c.score for c in usual.candidates}
    pixels = images.to_tensor([c.picture for c in found.candidates])
    scores = jointly(torch.tensor([cosines[c.index] for c in found.candidates]), pixels).tolist()
    assert [c.score for c in found.candidates] == pytest.approx(scores, abs=1e-3) == sorted(scores, reverse=True)
    free = replace(request, kept=None)
    assert {c.scored_by for c in last(agreeing.generate(free)).candidates} == {"CLIP"}
    written = replace(free, prompt="a sign that says “hi”")
    assert {c.scored_by for c in last(agreeing.generate(written)).candidates} == {"CLIP and agreement"}
    assert {c.scored_by for c in last(studio.generate(written)).candidates} == {"CLIP"}
    with pytest.raises(ModelError, match="no CLIP"):
        Studio(replace(studio.bundle, ranker=None), studio.device).scores(request, [])


@pytest.mark.parametrize("options", [None, SamplingOptions(guidance=3.0, top_p=0.9)])
def test_a_picture_is_the_same_to_the_byte_in_any_company(studio, monkeypatch, options):
    request = Request(PROMPT, samples=8, seed=3, options=options, previews=0)
    eight = by_index(last(studio.generate(request)))
    assert len(set(eight.values())) == 8
    for samples in (1, 5):
        few = by_index(last(studio.generate(replace(request, samples=samples))))
        assert few == {index: eight[index] for index in range(samples)}
    monkeypatch.setattr(engine, "BATCH", 3)
    assert by_index(last(studio.generate(request))) == eight


def test_several_batches_follow_one_another(studio, monkeypatch):
    monkeypatch.setattr(engine, "BATCH", 2)
    updates = list(studio.generate(Request(PROMPT, samples=5)))
    assert [u.row for u in updates] == [*range(1, 13), 12, 12] and {u.rows for u in updates} == {12}
    assert [len(u.candidates) for u in updates] == [2] * 4 + [4] * 4 + [5] * 4 + [0, 5]
    assert all((c.tokens >= 0).all() for u in updates[4:8] for c in u.candidates[:2])


def test_prompt_and_seed_matter_and_nothing_else_does(studio, eight):
    again = last(studio.generate(Request(PROMPT, samples=8, seed=3)))
    assert by_index(again) == by_index(eight[-1])
    assert by_index(last(studio.generate(Request(PROMPT, samples=8, seed=4)))) != by_index(again)
    strongly = SamplingOptions(guidance=30.0)  # ten steps of training teach little about words
    birds, cars = (studio.generate(Request(p, seed=3, options=strongly)) for p in (PROMPT, "a blue car"))
    assert by_index(last(birds)) != by_index(last(cars))


def test_a_picture_is_read_and_shown_as_the_tokenizer_does(studio, photo):
    tokenizer = studio.bundle.images
    pixels = images.to_tensor([images.square(photo, tokenizer.size)])
    tokens = studio.read(photo)
    assert (tokens == tokenizer.encode(pixels)[0].numpy()).all()
    assert studio.show(tokens) == images.to_pictures(tokenizer.decode(torch.from_numpy(tokens)[None]))[0]


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_kept_rows_come_back_token_for_token(studio, photo, rows, guidance):
    options = SamplingOptions(guidance=guidance)
    expected = studio.read(photo)
    request = Request(PROMPT, samples=6, kept=Borders(top=rows).of(expected), options=options)
    updates = list(studio.generate(request))
    assert [u.row for u in updates] == [*range(rows + 1, 5), 4, 4]
    for candidate in (c for u in updates for c in u.candidates):
        assert (candidate.tokens[:rows] == expected[:rows]).all()
    continued = {c.tokens[rows:].tobytes() for c in updates[-1].candidates}
    assert len(continued) == 6 and expected[rows:].tobytes() not in continued


@pytest.mark.parametrize("borders", [Borders(2, 1, 1, 2), Borders(bottom=1), Borders(right=3)])
def test_a_border_can_be_read_as_a_picture_of_its_own(studio, photo, borders):
    """With the authors of ruDALL-E, the top has its corners, then the left, then the right."""
    h, w = studio.bundle.images.grid
    size = studio.bundle.images.size
    pixels, stride = images.to_tensor([images.square(photo, size)]), size // h
    expected = np.full((h, w), -1)
    sides = {
        "bottom": np.s_[h - borders.bottom :, :],
        "right": np.s_[:, w - borders.right :],
        "left": np.s_[:, : borders.left],
        "top": np.s_[: borders.top, :],
    }
    for side, cells in sides.items():
        if getattr(borders, side):
            rows, columns = (range(n)[part] for n, part in zip((h, w), cells, strict=True))
            strip = pixels[:, :, rows[0] * stride : (rows[-1] + 1) * stride]
            strip = strip[:, :, :, columns[0] * stride : (columns[-1] + 1) * stride]
            expected[cells] = studio.bundle.images.encode(strip)[0].numpy()
    assert (studio.read_strips(photo, borders) == expected).all()
    assert ((expected < 0) == (borders.of(expected) < 0)).all()


def test_borders_that_meet_keep_all(studio, photo):
    tokens = studio.read(photo)
    for borders in (Borders(2, 2), Borders(bottom=9), Borders(left=3, right=4), Borders(top=1, bottom=7)):
        assert (borders.of(tokens) == tokens).all()
        with pytest.raises(InputError, match="something to draw"):
            next(studio.generate(Request(PROMPT, kept=borders.of(tokens))))


@pytest.mark.parametrize("borders", [Borders(0, 1), Borders(left=2), Borders(1, 1, 1, 1), Borders(top=2, right=1)])
def test_kept_borders_come_back_on_every_side(studio, photo, borders):
    kept = borders.of(studio.read(photo))
    updates = list(studio.generate(Request(PROMPT, samples=2, kept=kept, options=SamplingOptions(guidance=2.0))))
    assert updates[-1].row == updates[-1].rows == len(kept)
    for candidate in updates[-1].candidates:
        assert (candidate.tokens[kept >= 0] == kept[kept >= 0]).all() and (candidate.tokens >= 0).all()


def test_nothing_kept_is_no_priming(studio, photo, eight):
    primed = last(studio.generate(Request(PROMPT, samples=8, seed=3, kept=Borders().of(studio.read(photo)))))
    assert by_index(primed) == by_index(eight[-1])


def test_looking_ahead_draws_the_same_pictures(studio, eight):
    ahead = Studio(studio.bundle, studio.device, lookahead=99)
    assert (ahead.lookahead, spied(studio)[0].lookahead) == (4, 1)
    assert by_index(last(ahead.generate(Request(PROMPT, samples=8, seed=3)))) == by_index(eight[-1])


def test_closing_stops_within_a_row(studio):
    watched, spy = spied(studio)
    updates = watched.generate(Request(PROMPT, samples=2))
    next(updates)
    before = spy.steps
    updates.close()
    w = studio.bundle.images.grid[1]
    assert spy.steps == before <= w
    assert list(updates) == []


def test_a_prompt_is_read_once_for_a_whole_batch(studio):
    watched, spy = spied(studio)
    last(watched.generate(Request(PROMPT, samples=8, options=SamplingOptions(guidance=2.0))))
    assert (spy.prefills, spy.steps) == (1, 15)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": ""},
        {"prompt": " \n "},
        {"prompt": "x" * 10_000},
        {"prompt": "🍓👩‍🚀"},
        {"prompt": "красная птица"},
        {"samples": 0},
        {"samples": 100_000},
        {"keep": 0},
        {"keep": 3},
        {"seed": -1},
        {"seed": 2**63},
        {"kept": np.zeros((4, 4), np.int64)},  # nothing left to draw
        {"kept": np.full((4, 5), -1)},
        {"kept": np.full((4, 4), -2)},
        {"kept": np.array([[10**6, *[-1] * 3], *[[-1] * 4] * 3])},
        {"options": SamplingOptions(temperature=-1)},
        {"options": SamplingOptions(top_p=0)},
    ],
)
def test_what_cannot_be_drawn_ends_in_a_sentence_before_any_work(studio, wrong):
    watched, spy = spied(studio)
    with pytest.raises(InputError, match=r"^[A-Z].*\.$") as caught:
        next(watched.generate(replace(Request(PROMPT, samples=2), **wrong)))
    assert spy.prefills == 0 and "Error" not in str(caught.value)


def test_a_candidate_does_not_change_after_it_was_shown(studio):
    seen: list[tuple[Candidate, np.ndarray, bytes]] = []
    for update in studio.generate(Request(PROMPT, samples=2)):
        seen += [(c, c.tokens.copy(), c.picture.tobytes()) for c in update.candidates]
    for candidate, tokens, picture in seen:
        assert (candidate.tokens == tokens).all() and candidate.picture.tobytes() == picture
