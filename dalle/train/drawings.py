"""What a transformer draws of captions that it learned from: near misses, which those who rank have to tell from the
world's own pictures.

A ranker chooses among drawings, and one that never saw a bad drawing takes it for a good one. Where a caption has to
find its picture among drawings for the same caption, it learns how much likelier a picture is in the world than from
the model (Gutmann & Hyvärinen 2010), and the best of many samples by that measure is nearer to the world than the model
itself (Deng et al. 2020, arXiv 2004.11714).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dalle import sampling
from dalle.contracts import SamplingOptions, TokenModel
from dalle.native import Accelerator
from dalle.nn.dvae import DVAE
from dalle.nn.transformer import Transformer
from dalle.text import BpeTokenizer
from dalle.train.loop import autocast
from dalle.train.thumbnails import kept

_BATCH = 64


def drawings(
    net: Transformer,
    text: BpeTokenizer,
    dvae: DVAE,
    captions: Sequence[str],
    options: SamplingOptions,
    size: int,
    file: Path,
) -> np.ndarray:
    """(N, size, size, 3) uint8, one picture for each of N captions; kept in `file`."""
    device = next(net.parameters()).device
    prompts = torch.stack([text.encode(caption) for caption in captions]).to(device)  # (N, T)
    model, null = for_many(net), text.null.to(device)
    return kept(lambda chosen: _drawn(model, dvae, prompts, null, chosen, options), len(prompts), _BATCH, size, file)


def for_many(net: Transformer) -> TokenModel:
    """The fastest step that draws many sentences at once, with the weights as they are now: what a GPU has recorded
    takes the candidates of one sentence only.
    """
    return Accelerator(net).finish() if net.position.device.type == "cpu" else net


@torch.inference_mode()
def _drawn(
    model: TokenModel, dvae: DVAE, prompts: Tensor, null: Tensor, chosen: range, options: SamplingOptions
) -> Tensor:
    """(B, 3, H, W) in [0, 1]"""
    device, (h, w) = prompts.device, dvae.grid
    tokens = sampling.draw_each(model, prompts[chosen.start : chosen.stop], null, 0, chosen, options, h * w)
    grid = torch.stack(list(tokens), 1).view(-1, h, w)
    with autocast(device, "bf16"):
        return dvae.decode(grid).float()
