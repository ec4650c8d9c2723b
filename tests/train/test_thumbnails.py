"""Small copies of pictures: the right ones go through the VAE, once."""

import json
from pathlib import Path

import numpy as np
import torch

from dalle.train.corpus import Corpus
from dalle.train.thumbnails import thumbnails


class Painter(torch.nn.Linear):
    """An image tokenizer that paints code c as the gray c / 255."""

    def decode(self, tokens):
        assert tokens.shape[1:] == (2, 2)
        return (tokens / 255).repeat_interleave(32, 1).repeat_interleave(32, 2)[:, None].expand(-1, 3, -1, -1)


def test_each_nth_picture_is_kept_as_the_tokenizer_paints_it(tmp_path: Path):
    np.save(tmp_path / "pictures.npy", np.full((40, 64, 64, 3), 9, np.uint8))
    (tmp_path / "records.jsonl").write_text(
        40 * (json.dumps({"captions": ["x"], "negatives": [], "family": "x"}) + "\n")
    )
    corpus = Corpus(tmp_path)
    codes = np.broadcast_to(np.arange(100, 140)[:, None, None, None], (40, 2, 2, 1))
    corpus.write_codes([(codes, np.zeros_like(codes))])
    file = tmp_path / "small.npy"
    kept = thumbnails(corpus, 37, Painter(1, 1), every=2, size=8, file=file)  # type: ignore[arg-type]
    assert kept.shape == (37, 8, 8, 3)
    assert kept[:, 0, 0, 0].tolist() == [100 + i if i % 2 == 0 else 9 for i in range(37)]
    assert np.array_equal(thumbnails(corpus, 37, None, every=2, size=8, file=file), kept)  # type: ignore[arg-type]
