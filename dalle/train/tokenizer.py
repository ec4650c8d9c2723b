"""Stage one: the discrete VAE, trained on the relaxed ELBO (paper §2.1).

Starting 8,192 codes from noise takes the paper's millions of steps. Here the same net begins as a plain
autoencoder; k-means over its bottleneck then gives the codebook, and the encoder's output layer is set so that its
logits rank the codes by their distance. The relaxed ELBO takes over from that warm start.
"""

import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dalle import checkpoint, config
from dalle.models import pick_device
from dalle.nn.dvae import DVAE, DVAEConfig, kl_to_uniform, map_pixels, pixels, reconstruction_loss
from dalle.train.corpus import Corpus, to_images
from dalle.train.loop import Average, Run, autocast, cosine, halves, place, psnr, set_lr

LIKELIEST = 8  # codes kept of each place


@dataclass(frozen=True)
class TokenizerRecipe:
    """How long, how fast and on what the dVAE is trained."""

    net: DVAEConfig = field(default_factory=DVAEConfig)
    steps: int = 6000
    warm_share: float = 0.5  # of the steps, spent as a plain autoencoder
    batch: int = 16
    crop: int = 128  # pixels; a crop of a picture teaches as much as a whole one and costs a quarter
    lr: float = 2e-3
    loss: str = "logit_laplace"  # or "l1", "l2"
    kl_weight: float = 1e-4
    hot: float = 1.0  # Gumbel temperature at the start of the relaxation
    cold: float = 1 / 16  # and at its end (appendix A.2)
    sharpness: float = 16.0  # logits per mean squared distance between neighbouring codes, at the warm start
    decay: float = 0.998  # of the moving average
    precision: str = "bf16"
    seed: int = 0

    @property
    def warm_steps(self) -> int:
        return int(self.steps * self.warm_share)


class Crops:
    """Batches of crops, aligned to the token grid; the same step always gives the same batch."""

    def __init__(self, pictures: np.ndarray, recipe: TokenizerRecipe):
        self.pictures, self.recipe = pictures, recipe

    def __getitem__(self, step: int) -> Tensor:
        rng = np.random.default_rng((self.recipe.seed, step))
        crop, stride = self.recipe.crop, self.recipe.net.stride
        places = (self.pictures.shape[1] - crop) // stride + 1
        batch = []
        for index in rng.integers(len(self.pictures), size=self.recipe.batch):
            tries = [tuple(rng.integers(places, size=2) * stride) for _ in range(2)]
            pieces = [self.pictures[index, y : y + crop, x : x + crop] for y, x in tries]
            batch.append(max(pieces, key=lambda piece: piece[::8, ::8].std()))  # not the empty sky
        return to_images(np.stack(batch))  # (B, 3, crop, crop)


def train_tokenizer(recipe: TokenizerRecipe, corpus: Corpus, out: Path, minutes: float | None) -> bool:
    """Train for at most `minutes`; True once the schedule is complete and the weights are exported."""
    torch.manual_seed(recipe.seed)
    device = pick_device("auto")
    net = place(DVAE(recipe.net), device)
    bottleneck = nn.Conv2d(recipe.net.widths[-1], recipe.net.code_dim, 1).to(device)
    average = Average(net, recipe.decay)
    optimizer = torch.optim.AdamW([*net.parameters(), *bottleneck.parameters()], recipe.lr, (0.9, 0.99))
    parts = {"net": net, "bottleneck": bottleneck, "average": average.net, "optimizer": optimizer}
    run = Run("tokenizer", out, recipe.steps, minutes, parts)
    average.updates = max(0, run.step - recipe.warm_steps)
    crops = Crops(corpus.pictures, recipe)
    for step in run:
        if step == recipe.warm_steps:
            start_codes(net, bottleneck, [crops[recipe.steps + i].to(device) for i in range(48)], recipe)
            average.restart(net)
        set_lr(optimizer, cosine(run.share, floor=0.02))
        images = place(crops[step], device)
        with autocast(device, recipe.precision):
            if step < recipe.warm_steps:
                codes = bottleneck(net.encoder.features(map_pixels(images)))
                kl = images.new_zeros(())
            else:
                logits = net.logits(images)
                codes = net.relax(logits, temperature(recipe, step))
                kl = kl_to_uniform(logits[:, :, ::2, ::2])  # a quarter of the positions tells it well enough
            output = net.decoder(codes)
        loss = reconstruction_loss(recipe.loss, output, images)
        optimizer.zero_grad(set_to_none=True)
        (loss + recipe.kl_weight * kl).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update(net)
        if step % 100 == 0:
            run.log(loss=loss, psnr=psnr(pixels(output.detach()), images).mean(), kl=kl)
    if run.finished:
        export(average.net, out)
    return run.finished


def temperature(recipe: TokenizerRecipe, step: int) -> float:
    """Gumbel temperature, falling exponentially from hot to cold over the first 3/4 of the relaxation."""
    share = min(1.0, (step - recipe.warm_steps) / (0.75 * (recipe.steps - recipe.warm_steps)))
    return recipe.hot * (recipe.cold / recipe.hot) ** share


@torch.no_grad()
def start_codes(net: DVAE, bottleneck: nn.Conv2d, batches: list[Tensor], recipe: TokenizerRecipe) -> None:
    """Give the net a codebook of k-means centres, and output logits of minus the squared distance to each."""
    vectors = torch.cat([_bottleneck_vectors(net, bottleneck, images) for images in batches])  # (N, D)
    centers = kmeans(vectors, recipe.net.vocab, rounds=8, seed=recipe.seed)  # (V, D)
    gaps = torch.cdist(centers[:512], centers).square().topk(2, largest=False).values[:, 1]
    scale = recipe.sharpness / gaps.mean().clamp_min(1e-8)
    weight, bias = bottleneck.weight.flatten(1), bottleneck.bias  # (D, C), (D,)
    assert bias is not None and net.encoder.output.bias is not None
    net.decoder.codebook.weight.copy_(centers)
    net.encoder.output.weight.copy_((2 * scale * centers @ weight)[:, :, None, None])
    net.encoder.output.bias.copy_(scale * (2 * centers @ bias - centers.square().sum(1)))


def _bottleneck_vectors(net: DVAE, bottleneck: nn.Conv2d, images: Tensor) -> Tensor:
    codes = bottleneck(net.encoder.features(map_pixels(images)))  # (B, D, h, w)
    return codes.permute(0, 2, 3, 1).flatten(0, 2)


def kmeans(vectors: Tensor, k: int, rounds: int, seed: int) -> Tensor:
    """Lloyd's algorithm from randomly chosen, distinct points; empty clusters move to the worst-served points.

    (N, D) -> (k, D)
    """
    generator = torch.Generator().manual_seed(seed)
    vectors = vectors.float()
    unique = torch.unique((vectors * 64).round(), dim=0) / 64  # flat areas repeat one vector many times
    pool = unique if len(unique) >= k else vectors
    order = torch.randperm(len(pool), generator=generator).to(vectors.device)
    centers = pool[order[torch.arange(k) % len(pool)]].clone()
    for _ in range(rounds):
        distance, nearest = _nearest(pool, centers)
        sums = torch.zeros_like(centers).index_add_(0, nearest, pool)
        counts = torch.bincount(nearest, minlength=k)
        centers = sums / counts.clamp_min(1)[:, None]
        empty = (counts == 0).nonzero().flatten()
        worst = distance.topk(min(len(empty), len(pool))).indices
        centers[empty[: len(worst)]] = pool[worst]
    return centers


def _nearest(vectors: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to, and index of, the nearest centre: (N, D), (k, D) -> (N,), (N,)."""
    found = []
    for part in vectors.split(4096):
        score = torch.addmm(centers.square().sum(1), part, centers.T, alpha=-2)  # (n, k)
        least, index = score.min(1)
        found.append((least + part.square().sum(1), index))
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])


def export(net: DVAE, out: Path) -> None:
    """Write `dvae.json` and the weights in fp16."""
    checkpoint.write_tensors(net.state_dict(), out, "dvae", torch.float16)
    config.save(net.config, out / "dvae.json")


def tokenize(net: DVAE, corpus: Corpus, precision: str = "fp32", batch: int = 32) -> None:
    """Write the likeliest codes of every picture of the corpus beside it.

    With `precision` "bf16" the features are taken in half precision, two to three times as fast on a CPU that can. The
    logits are not: they are large and many codes nearly tie, so that half of all places would get another code.
    """
    device, count = next(net.parameters()).device, min(LIKELIEST, net.vocab)
    net = place(copy.deepcopy(net), device)
    if halves(device, precision):
        net = net.to(torch.bfloat16)
        net.encoder.output.float()

    def read(start: int) -> tuple[np.ndarray, np.ndarray]:
        codes, odds = net.likeliest(place(to_images(corpus.pictures[start : start + batch]), device), count)
        return codes.cpu().numpy(), odds.cpu().numpy()

    corpus.write_codes(map(read, range(0, len(corpus), batch)))
