"""The CLIP class that comes with these models, saved as a bare state dict; its sizes are those of its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from dalle import checkpoint
from dalle.errors import CheckpointError
from dalle.families.dalle_pytorch import branches
from dalle.families.dalle_pytorch.branches import Tensors
from dalle.families.dalle_pytorch.captions import Pieces, pad
from dalle.nn.contrastive import Contrastive, ContrastiveConfig, TowerConfig
from dalle.ranking import resize

HEAD_DIM = 64  # of every model of this class
MARK = "to_visual_latent.weight"


class PairRanker:
    """A `Ranker`: the net, and the pieces that it reads sentences in."""

    def __init__(self, model: Contrastive, pieces: Pieces):
        self.model = model
        self._pieces = pieces

    @torch.inference_mode()
    def score(self, prompt: str, images: Tensor) -> Tensor:
        """str, (B, 3, H, W) in [0, 1] -> (B,) cosine similarities, higher is better."""
        config = self.model.config
        device = self.model.temperature.device
        tokens = pad(self._pieces.encode(prompt), config.text_len)[None].to(device)
        pictures = resize(images, config.size).to(device)
        return (self.model.embed_images(pictures) @ self.model.embed_texts(tokens).T)[:, 0]


def build(tensors: Mapping[str, Tensor], where: str, device: torch.device) -> Contrastive:
    """The net of a state dict. Raises CheckpointError naming the key that does not fit."""
    there = Tensors(tensors, where)
    text_vocab, text_width = _rows(there, "text_emb.weight")
    text_len, _ = _rows(there, "text_pos_emb.weight")
    latent, image_width = _rows(there, MARK)
    cells, _ = _rows(there, "visual_pos_emb.weight")
    _, inputs = _rows(there, "to_visual_embedding.weight")
    channels = next((c for c in (3, 4, 1) if c * math.isqrt(inputs // c) ** 2 == inputs), 0)
    side, patch = math.isqrt(cells), math.isqrt(inputs // max(channels, 1))
    if not channels or side * side != cells:
        raise CheckpointError(f"{where}: the patches of its pictures are not square.")
    out = {
        "token.weight": there.take("text_emb.weight", text_vocab, text_width),
        "text.position": there.take("text_pos_emb.weight", text_len, text_width),
        "text.out.weight": there.take("to_text_latent.weight", latent, text_width),
        "patch.weight": there.take("to_visual_embedding.weight", image_width, inputs),
        "patch.bias": there.take("to_visual_embedding.bias", image_width),
        "image.position": there.take("visual_pos_emb.weight", cells, image_width),
        "image.out.weight": there.take(MARK, latent, image_width),
        "temperature": there.take("temperature"),
    }
    text = _tower(there, "text_transformer", out, "text", text_width)
    image = _tower(there, "visual_transformer", out, "image", image_width)
    there.finish()
    config = ContrastiveConfig(text, text_vocab, text_len, image, side * patch, patch, latent, channels)
    return checkpoint.build(lambda: Contrastive(config), out, where, device, torch.float32)


def _rows(there: Tensors, name: str) -> tuple[int, int]:
    shape = there.shape(name)
    if len(shape) != 2 or 0 in shape:
        raise CheckpointError(f"{there.where}: {name} has the shape {shape}, which cannot be.")
    return shape[0], shape[1]


def _tower(there: Tensors, theirs: str, out: dict[str, Tensor], ours: str, width: int) -> TowerConfig:
    """The layers of one tower into `out`."""
    depth = inner = 0
    while there.any(f"{theirs}.layers.layers.{depth}."):
        prefix = f"{theirs}.layers.layers.{depth}."
        joint = next((n for n in there if n.startswith(prefix) and n.endswith("to_qkv.weight")), "")
        inner = _rows(there, joint)[0] // 3 if joint else 0
        branches.attention(there, f"{prefix}0.", out, f"{ours}.layers.{depth}.attention", width, inner)
        branches.mlp(there, f"{prefix}1.", out, f"{ours}.layers.{depth}.mlp", width)
        depth += 1
    if inner % HEAD_DIM or not inner:
        raise CheckpointError(f"{there.where}: its heads do not have {HEAD_DIM} channels each.")
    return TowerConfig(width, depth, inner // HEAD_DIM)
