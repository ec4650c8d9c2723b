"""A whole model folder with random weights, made in a second: for tests where trained weights are not at hand."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from dalle import checkpoint, config, ranking
from dalle.contracts import SamplingOptions
from dalle.families.native import Card
from dalle.nn.dvae import DVAE, DVAEConfig
from dalle.nn.transformer import Transformer, TransformerConfig
from dalle.text import BpeTokenizer

TEXT_LEN = 32


def make(place: Path) -> Path:
    """Tokenizer, dVAE (8 pixels to a token, 8 x 8 tokens), transformer and CLIP, as training would export them."""
    torch.manual_seed(0)
    text = BpeTokenizer.train(["a red bird", "a blue strawberry", "an avocado walking a dog"] * 2, 80, TEXT_LEN)
    text.save(place / "tokenizer.json")
    dvae = DVAEConfig(size=64, vocab=32, width=8, code_dim=8, blocks=1)
    transformer = TransformerConfig(text.vocab, TEXT_LEN, dvae.vocab, (8, 8), width=16, depth=2, heads=2)
    _save(DVAE(dvae), dvae, place, "dvae")
    _save(Transformer(transformer), transformer, place, "transformer")
    clip = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": TEXT_LEN, "vocab_size": text.vocab, "width": 32, "heads": 2, "layers": 1},
    }
    config.save(clip, place / ranking.CONFIG)
    save_file(ranking.build(clip).state_dict(), place / ranking.WEIGHTS)
    config.save(Card("Random", TEXT_LEN, SamplingOptions(guidance=1.5)), place / "model.json")
    return place


def _save(net: torch.nn.Module, sizes: object, place: Path, stem: str) -> None:
    config.save(sizes, place / f"{stem}.json")
    checkpoint.write_tensors(net.state_dict(), place, stem, torch.float32)
