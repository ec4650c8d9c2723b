"""Drawings of many captions at once: each is what the caption alone would give, and they are drawn only once."""

from pathlib import Path

import numpy as np
import torch

from dalle import sampling
from dalle.contracts import SamplingOptions
from dalle.families.native import read_dvae, read_transformer
from dalle.text import BpeTokenizer
from dalle.train.drawings import drawings
from dalle.train.recipes import RECIPES
from dalle.train.thumbnails import shrunk

CAPTIONS = ["a red bird", "two blue stars", "a dog to the left of a cat"]
OPTIONS = SamplingOptions(guidance=1.5, temperature=0.5, top_k=16)


def test_each_caption_gets_the_picture_that_it_would_get_alone(tiny_model: Path, tmp_path: Path):
    net, dvae = read_transformer(tiny_model), read_dvae(tiny_model)
    text = BpeTokenizer.load(tiny_model / "tokenizer.json", RECIPES["tiny"].text_len)
    drawn = drawings(net, text, dvae, CAPTIONS, OPTIONS, 32, tmp_path / "drawings.npy")
    assert drawn.shape == (3, 32, 32, 3) and drawn.dtype == np.uint8
    free = torch.full((dvae.grid[0] * dvae.grid[1],), -1)
    for index, caption in enumerate(CAPTIONS):
        tokens = torch.stack(list(sampling.draw(net, text.encode(caption), text.null, 0, [index], OPTIONS, free)), 1)
        with torch.inference_mode():
            alone = shrunk(dvae.decode(tokens.view(1, *dvae.grid)), 32)
        assert np.abs(alone[0].astype(int) - drawn[index]).mean() < 2  # of 255; many are decoded in half precision


def test_drawings_are_made_once(tiny_model: Path, tmp_path: Path):
    net, dvae, file = read_transformer(tiny_model), read_dvae(tiny_model), tmp_path / "drawings.npy"
    text = BpeTokenizer.load(tiny_model / "tokenizer.json", RECIPES["tiny"].text_len)
    np.save(file, np.zeros((3, 8, 8, 3), np.uint8))
    assert not drawings(net, text, dvae, CAPTIONS, OPTIONS, 8, file).any()
