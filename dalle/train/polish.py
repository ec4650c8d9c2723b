"""Stage one, last part: the decoder alone learns to paint from the codes as they will be drawn, hard argmax ones.

The relaxed ELBO shows the decoder noisy mixtures of codes, which it answers with caution, that is, with blur. The
encoder no longer changes here, so neither do the tokens that the transformer learns from: this stage can run at
any time after them. They may also be painted by a deeper net than they were learned with: what a token leaves open,
the tokens around it often tell, and whole pictures show all of them.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dalle import images
from dalle.errors import TrainingError
from dalle.models import pick_device
from dalle.nn.dvae import DVAE, pixels, reconstruction_loss
from dalle.train.corpus import Corpus, to_images
from dalle.train.loop import Average, Run, autocast, cosine, place, psnr, set_lr
from dalle.train.tokenizer import export


@dataclass(frozen=True)
class PolishRecipe:
    """How the decoder is finished, on whole pictures."""

    painting: tuple[int, ...] | None = None  # residual blocks that its groups grow to, innermost first; None: none
    steps: int = 3000
    batch: int = 4
    lr: float = 1e-3
    loss: str = "l1"
    decay: float = 0.998
    precision: str = "bf16"
    seed: int = 0


def polish(recipe: PolishRecipe, net: DVAE, corpus: Corpus, heldout: Corpus, out: Path, minutes: float | None) -> bool:
    """Train the decoder for at most `minutes`; True once the weights in `out` are replaced by the finished ones."""
    device = pick_device("auto")
    net = place(net if recipe.painting is None else grown(net, recipe.painting), device)
    decoder = net.decoder.requires_grad_(True)
    average = Average(decoder, recipe.decay)
    optimizer = torch.optim.AdamW(decoder.parameters(), recipe.lr, (0.9, 0.99))
    run = Run("polish", out, recipe.steps, minutes, {"net": decoder, "average": average.net, "optimizer": optimizer})
    average.updates = run.step
    tokens = corpus.tokens
    for step in run:
        set_lr(optimizer, cosine(run.share, floor=0.02))
        rng = np.random.default_rng((recipe.seed, step))
        chosen = rng.choice(len(tokens), min(recipe.batch, len(tokens)), replace=False)
        target = to_images(corpus.pictures[np.sort(chosen)]).to(device)
        codes = torch.from_numpy(tokens[np.sort(chosen)].astype(np.int64)).to(device)
        with autocast(device, recipe.precision):
            output = decoder(decoder.codebook(codes).permute(0, 3, 1, 2))
        loss = reconstruction_loss(recipe.loss, output, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        average.update(decoder)
        if step % 100 == 0:
            run.log(loss=loss, psnr=psnr(pixels(output.detach()), target).mean())
    if run.finished:
        decoder.load_state_dict(average.net.state_dict())
        _export(net.eval(), run, heldout, out)
    return run.finished


def grown(net: DVAE, painting: tuple[int, ...]) -> DVAE:
    """The same dVAE with more residual blocks in its decoder, which add nothing yet.

    Raises TrainingError for another number of groups, or fewer blocks than there are.
    """
    present = net.config.decoder_blocks
    if len(painting) != len(present) or any(more < less for less, more in zip(present, painting, strict=True)):
        raise TrainingError(f"The decoder has {present} residual blocks to its groups, and cannot grow to {painting}.")
    larger = DVAE(replace(net.config, painting=painting))
    larger.load_state_dict(net.state_dict(), strict=False)
    groups: Any = larger.decoder.groups
    for group, less in zip(groups, present, strict=True):
        for block in group[less:]:
            nn.init.zeros_(block.convs[-1].weight)
    return larger.requires_grad_(False)


def _export(net: DVAE, run: Run, heldout: Corpus, out: Path) -> None:
    export(net, out)
    run.summary["heldout"] = measure(net, heldout.pictures[:512])
    run.save()
    comparison(net, heldout.pictures[:16]).save(out / "reconstructions.png")
    print(json.dumps(run.summary))


@torch.no_grad()
def measure(net: DVAE, pictures: np.ndarray, batch: int = 16) -> dict[str, float]:
    """PSNR (mean and median, dB) and share of codes in use, on whole pictures (N, S, S, 3) through argmax codes."""
    scores, used = [], torch.zeros(net.vocab, dtype=torch.bool)
    for start in range(0, len(pictures), batch):
        original, decoded, tokens = _through(net, pictures[start : start + batch])
        used[tokens.flatten()] = True
        scores.append(psnr(decoded, original))
    all_scores = torch.cat(scores)
    return {
        "pictures": len(pictures),
        "psnr_mean": round(all_scores.mean().item(), 2),
        "psnr_median": round(all_scores.median().item(), 2),
        "codes_used": round(used.float().mean().item(), 4),
    }


def comparison(net: DVAE, pictures: np.ndarray, columns: int = 8) -> Image.Image:
    """Rows of originals, each above the row of their reconstructions."""
    original, decoded, _ = _through(net, pictures)
    rows = [part for pair in zip(original.split(columns), decoded.split(columns), strict=True) for part in pair]
    return images.grid(images.to_pictures(torch.cat(rows)), columns)


def _through(net: DVAE, pictures: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """(B, S, S, 3) uint8 -> originals and reconstructions, both (B, 3, S, S), and tokens (B, h, w), on the CPU."""
    original = to_images(pictures)
    tokens = net.encode(original.to(next(net.parameters()).device))
    return original, net.decode(tokens).cpu(), tokens.cpu()
