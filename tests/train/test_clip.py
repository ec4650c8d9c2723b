"""Training our CLIP: the loss counts false captions, pictures keep their colors and sides, a short run learns."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dalle.ranking import ClipRanker
from dalle.text import BpeTokenizer
from dalle.train.clip import Batches, ClipRecipe, Words, augment, contrastive_loss, measure, train_clip
from dalle.train.corpus import Corpus

COLORS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220)}
RECIPE = ClipRecipe(
    image_size=32, width=8, text_width=64, text_layers=1,
    embed_dim=32, context=6, steps=100, batch=6, lr=1e-3, precision="fp32",
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two colors side by side: every ordered pair is a picture, and the swapped pair is its false caption."""
    directory = tmp_path_factory.mktemp("corpus")
    pairs = [(a, b) for a in COLORS for b in COLORS if a != b]
    pictures = np.zeros((len(pairs), 64, 64, 3), np.uint8)
    for picture, (left, right) in zip(pictures, pairs, strict=True):
        picture[:, :32], picture[:, 32:] = COLORS[left], COLORS[right]
    np.save(directory / "pictures.npy", pictures)
    records = [{"captions": [f"{a} left of {b}"], "negatives": [f"{b} left of {a}"], "family": a} for a, b in pairs]
    (directory / "records.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    return Corpus(directory)


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus) -> BpeTokenizer:
    return BpeTokenizer.train([texts[0] for texts in corpus.captions * 3], vocab_size=200, length=8)


def test_the_loss_is_the_cross_entropy_over_true_and_false_captions_and_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    images = F.normalize(torch.randn(4, 8, generator=generator))
    texts = F.normalize(torch.randn(5, 8, generator=generator))
    expected = 0.0
    for own in range(3):
        by_image = [10 * images[own] @ text for text in texts]
        by_text = [10 * texts[own] @ image for image in images]
        expected -= (by_image[own] - torch.tensor(by_image).logsumexp(0)) / 6
        expected -= (by_text[own] - torch.tensor(by_text).logsumexp(0)) / 6
    torch.testing.assert_close(contrastive_loss(images, texts, 3, torch.tensor(10.0)), expected)


def test_a_batch_belongs_to_its_step(corpus: Corpus, tokenizer: BpeTokenizer) -> None:
    batches = Batches(corpus, corpus.pictures, tokenizer, RECIPE)
    one, again, other = batches[3], batches[3], batches[4]
    assert one.images.shape == (6, 3, 32, 32) and one.texts.shape == (12, 6) and one.pairs == 6
    assert torch.equal(one.images, again.images) and not torch.equal(one.images, other.images)
    assert torch.equal(one.texts[0], tokenizer.encode(corpus.captions[0][0])[:6])  # 6 of 6 pictures, in order
    assert torch.equal(one.texts[6], tokenizer.encode(corpus.negatives[0][0])[:6])


def test_a_drawing_comes_with_the_picture_whose_caption_it_missed(corpus: Corpus, tokenizer: BpeTokenizer) -> None:
    drawn = np.zeros((3, 64, 64, 3), np.uint8) + np.array([[[[10]]], [[[20]]], [[[30]]]], np.uint8)
    batches = Batches(corpus, corpus.pictures, tokenizer, replace(RECIPE, batch=3, misses=2, decoded=2), drawn)
    for step in range(8):
        images, texts, pairs = batches[step]
        assert (len(images), pairs) == (5, 3)
        captions = [row.tolist() for row in texts[:pairs]]
        for gray in images[pairs:].mean((1, 2, 3)) * 255 / 10:
            missed = corpus.captions[2 * (round(gray.item()) - 1)][0]  # drawings are of pictures 0, 2 and 4
            assert tokenizer.encode(missed)[:6].tolist() in captions


def test_a_picture_without_a_false_caption_adds_no_column(corpus: Corpus, tokenizer: BpeTokenizer) -> None:
    batches = Batches(corpus, corpus.pictures, tokenizer, RECIPE)
    batches.negatives[5] = batches.negatives[5][:0]
    assert len(batches[0].texts) == 11


def test_augmented_pictures_keep_their_sides_and_colors(corpus: Corpus) -> None:
    images = torch.from_numpy(corpus.pictures[:].transpose(0, 3, 1, 2) / np.float32(255))
    for seed in range(5):
        seen = augment(images, RECIPE, np.random.default_rng(seed))
        assert seen.min() >= 0 and seen.max() <= 1
        for side in (slice(0, 8), slice(24, 32)):
            expected = images[..., side.start * 2].mean(2)
            torch.testing.assert_close(seen[..., side].mean((2, 3)), expected, atol=0.02, rtol=0)


def test_common_words_do_not_count(corpus: Corpus, tokenizer: BpeTokenizer) -> None:
    captions = torch.stack([tokenizer.encode(texts[0]) for texts in corpus.captions])
    words = Words(captions, 4, tokenizer.bpe_size)
    everywhere = set.intersection(*(set(row.tolist()) for row in captions))
    assert all(words.rarity[i] == 0 for i in everywhere if i < tokenizer.bpe_size)
    red = tokenizer.encode("red")[1]
    assert words.rarity[red] == pytest.approx(np.log(1.5))  # in 4 of 6 captions
    assert words(torch.zeros(6, 4), captions).isfinite()


def test_training_learns_to_tell_left_from_right(corpus: Corpus, tokenizer: BpeTokenizer, tmp_path: Path) -> None:
    assert train_clip(RECIPE, tokenizer, corpus, corpus.pictures, corpus, tmp_path, None)
    metrics = json.loads((tmp_path / "clip_metrics.json").read_text())
    assert metrics["curve"][-1]["loss"] < metrics["curve"][0]["loss"] - 0.5
    ranker = ClipRanker.load(tmp_path, tokenizer)
    assert metrics["heldout"] == measure(ranker, corpus)
    assert metrics["heldout"]["told"]["all"] > 0.8


def test_a_run_goes_on_where_it_was_stopped(corpus: Corpus, tokenizer: BpeTokenizer, tmp_path: Path) -> None:
    assert not train_clip(RECIPE, tokenizer, corpus, corpus.pictures, corpus, tmp_path, minutes=0.01)
    stopped = json.loads((tmp_path / "clip_metrics.json").read_text())["steps"]
    assert stopped < RECIPE.steps and not (tmp_path / "clip.safetensors").exists()
    assert train_clip(RECIPE, tokenizer, corpus, corpus.pictures, corpus, tmp_path, None)
    assert json.loads((tmp_path / "clip_metrics.json").read_text())["steps"] == RECIPE.steps
