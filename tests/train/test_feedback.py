"""Feedback: what a critic prefers becomes likelier, and half of that is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dalle.families.native import read_transformer
from dalle.nn.transformer import Transformer, TransformerConfig
from dalle.text import BpeTokenizer
from dalle.train.corpus import Corpus
from dalle.train.feedback import Easel, FeedbackRecipe, advantages, extremes, log_likelihood, train_feedback
from dalle.train.transformer import TransformerRecipe
from dalle.worlds import World, WorldConfig

RECIPE = FeedbackRecipe(
    families={"object": 1.0, "word": 1.0}, captions=4, samples=8, learned=4, temperature=1.0,
    steps=30, batch=16, real=4, lr=3e-3, matrix_lr=2e-2, weight=4.0,
)  # fmt: skip
USUAL = TransformerRecipe(bpe_dropout=0.0, precision="fp32", compiled=False)
CODES = 16


class Grays:
    """A tokenizer of pictures whose code k is the k-th shade of gray."""

    grid = (4, 4)

    def decode(self, tokens: Tensor) -> Tensor:
        shades = (tokens / (CODES - 1)).repeat_interleave(8, 1).repeat_interleave(8, 2)
        return shades[:, None].expand(-1, 3, -1, -1)


class Brightness:
    """A critic that likes a picture the better the brighter it is, whatever was asked."""

    def belief(self, images: Tensor, wanted: Sequence[Mapping[str, str]]) -> Tensor:
        assert len(images) == len(wanted) and all("noun" in told or "letter1" in told for told in wanted if told)
        return images.mean((1, 2, 3))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Twelve pictures of random codes."""
    directory = tmp_path / "corpus"
    directory.mkdir()
    np.save(directory / "pictures.npy", np.zeros((12, 32, 32, 3), np.uint8))
    records = [{"captions": [f"a red bird in the snow {i}"], "negatives": [], "family": "object"} for i in range(12)]
    (directory / "records.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    corpus = Corpus(directory)
    codes = np.random.default_rng(0).integers(CODES, size=(12, 4, 4, 1))
    corpus.write_codes([(codes, np.zeros(codes.shape))])
    return corpus


@pytest.fixture
def easel(corpus: Corpus) -> Easel:
    text = BpeTokenizer.train([texts[0] for texts in corpus.captions], vocab_size=80, length=6)
    world = World(WorldConfig(vocabulary="small", lattice=16, families=RECIPE.families))
    return Easel(RECIPE, world, 500, text, Grays(), Brightness())


@pytest.fixture
def net(easel: Easel) -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(easel.text.vocab, 6, CODES, (4, 4), 32, 2, 2))


def test_advantages_compare_the_drawings_of_one_caption_only():
    gains = advantages(torch.tensor([[0.1, 0.3], [0.9, 0.7], [0.5, 0.5]]))
    torch.testing.assert_close(gains, torch.tensor([[-0.5, 0.5], [0.5, -0.5], [0.0, 0.0]]))


def test_the_best_and_the_worst_are_learned_from():
    chosen = extremes(torch.tensor([[0.1, 0.9, 0.5, -1.0, 0.2], [5.0, 4.0, 3.0, 2.0, 1.0]]), 2)
    assert chosen.tolist() == [[1, 3], [0, 4]]


def test_likelihoods_are_those_that_tokens_are_drawn_with(net: Transformer):
    text, tokens = torch.randint(10, (2, 6)), torch.randint(CODES, (2, 16))
    logits = net(text, tokens[:, :15]) / 0.5
    each = [-F.cross_entropy(logits[i], tokens[i]) for i in range(2)]
    torch.testing.assert_close(log_likelihood(net, 0.5)(text, tokens), torch.stack(each))


def test_a_round_is_always_the_same(net: Transformer, easel: Easel):
    (first, score), (again, same) = (easel.draw(net, 2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert score == same and 0 < score < 1
    assert first.captions.shape == (16, 6) and first.tokens.shape == (16, 16) and first.gains.shape == (16,)
    brightness = first.tokens.float().mean(1)
    assert brightness[first.gains > 0].mean() > brightness[first.gains < 0].mean() + 1


def test_what_the_critic_likes_becomes_likelier(net: Transformer, easel: Easel, corpus: Corpus, tmp_path: Path):
    before = easel.draw(net, 99)[1]
    whole = replace(RECIPE, share=1.0)
    assert not train_feedback(whole, USUAL, corpus, corpus, easel, net, tmp_path, minutes=0)
    assert not (tmp_path / "transformer.json").exists()
    assert train_feedback(whole, USUAL, corpus, corpus, easel, net, tmp_path, None)
    assert easel.draw(read_transformer(tmp_path), 99)[1] > before + 0.1
    told = json.loads((tmp_path / "feedback_metrics.json").read_text())
    assert told["curve"][-1]["score"] > told["curve"][0]["score"] and "image" in told["heldout"]


def test_without_a_weight_the_world_alone_teaches(net: Transformer, easel: Easel, corpus: Corpus, tmp_path: Path):
    before = easel.draw(net, 99)[1]
    alone = replace(RECIPE, weight=0.0)
    assert train_feedback(alone, USUAL, corpus, corpus, easel, net, tmp_path, None)
    assert abs(easel.draw(read_transformer(tmp_path), 99)[1] - before) < 0.1


def test_a_run_that_is_killed_before_its_mark_exports_the_same_again(
    net: Transformer, easel: Easel, corpus: Corpus, tmp_path: Path
):
    assert train_feedback(RECIPE, USUAL, corpus, corpus, easel, net, tmp_path, None)
    exported = read_transformer(tmp_path)
    assert train_feedback(RECIPE, USUAL, corpus, corpus, easel, read_transformer(tmp_path), tmp_path, None)
    for again, once in zip(read_transformer(tmp_path).parameters(), exported.parameters(), strict=True):
        assert torch.equal(again, once)
