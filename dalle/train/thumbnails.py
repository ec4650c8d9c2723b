"""Small copies of a corpus' pictures, some of them as the discrete VAE paints them: all that a model draws comes
through its decoder, and those who look at drawings should have seen its hand.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dalle.nn.dvae import DVAE
from dalle.ranking import resize
from dalle.train.corpus import Corpus, to_images
from dalle.train.loop import autocast, place
from dalle.train.rows import Rows

_BATCH = 32


def thumbnails(corpus: Corpus, count: int, dvae: DVAE, every: int, size: int, file: Path) -> np.ndarray:
    """(count, size, size, 3) uint8, the first pictures, each `every`-th (0: none) through the VAE; kept in `file`.

    Raises DataError where the corpus has no codes for it.
    """
    return kept(lambda chosen: _shown(corpus, chosen, dvae, every), count, _BATCH, size, file)


def kept(show: Callable[[range], Tensor], count: int, batch: int, size: int, file: Path) -> np.ndarray:
    """(count, size, size, 3) uint8, small copies of the (B, 3, H, W) pictures in [0, 1] that `show` gives for a range
    of at most `batch` numbers; from `file` where it exists, and otherwise written there.
    """
    if not file.exists():
        small = Rows(file, count, np.uint8)
        for start in tqdm(range(0, count, batch), file.stem):
            small.add(shrunk(show(range(start, min(start + batch, count))), size))
        small.finish()
    return np.load(file, mmap_mode="r")


def shrunk(images: Tensor, size: int) -> np.ndarray:
    """(B, 3, H, W) in [0, 1] -> (B, size, size, 3) uint8."""
    return resize(images, size).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


@torch.inference_mode()
def _shown(corpus: Corpus, chosen: range, dvae: DVAE, every: int) -> Tensor:
    """(B, 3, H, W) in [0, 1]"""
    device = next(dvae.parameters()).device
    images = place(to_images(corpus.pictures[chosen.start : chosen.stop]), device)
    if every:
        tokens = torch.from_numpy(corpus.tokens[chosen.start : chosen.stop : every].astype(np.int64))
        with autocast(device, "bf16"):
            images[::every] = dvae.decode(tokens.to(device))
    return images
