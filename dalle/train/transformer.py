"""Stage two: the transformer over text and image tokens (paper §2.2)."""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dalle import checkpoint, config, images, sampling
from dalle.contracts import SamplingOptions
from dalle.errors import TrainingError
from dalle.models import pick_device
from dalle.nn.dvae import DVAE
from dalle.nn.transformer import SoftTargets, Transformer, TransformerConfig
from dalle.text import BpeTokenizer
from dalle.train.corpus import Corpus
from dalle.train.loop import Average, Means, Run, autocast, blend, cosine, load, set_lr


@dataclass(frozen=True)
class TransformerRecipe:
    """The net's sizes and how it is trained; vocabularies and the grid come from the two tokenizers."""

    width: int = 256
    depth: int = 8
    heads: int = 4
    patterns: tuple[str, ...] = ("full",)
    shift: bool = True
    steps: int = 4000
    batch: int = 16
    lr: float = 3e-3  # of embeddings, heads, norms and biases, which AdamW trains
    matrix_lr: float = 2e-2  # of the layers' matrices, which Muon trains
    weight_decay: float = 0.05
    warmup: float = 0.02  # share of the steps
    clip: float = 1.0  # norm of the gradient
    sharpness: float = 2.0  # power of the dVAE's posterior that image tokens are drawn from and compared with
    drop_caption: float = 0.1  # share of captions replaced by the empty one, for guidance
    bpe_dropout: float = 0.1
    decay: float = 0.998  # of the moving average
    share: float = 1.0  # of the weights after, in what is exported, where it starts from others: the rest are those
    precision: str = "bf16"
    compiled: bool = True  # torch.compile: a minute to begin with, a sixth of every step saved
    sample_every: int = 500  # steps between two sheets of samples
    seed: int = 0


@dataclass(frozen=True)
class SettleRecipe:
    """How a trained transformer comes to rest: the mean of more pictures in each step, and small steps.

    At the rates that it learns with, each update is mostly the noise of a small batch, and near the end that noise is
    what keeps the loss up.
    """

    steps: int = 400
    batch: int = 64
    rate: float = 0.15  # share of the learning rates
    warmup: float = 0.05
    decay: float = 0.98
    share: float = 1.0  # of the weights after, in what is exported

    def of(self, usual: TransformerRecipe) -> TransformerRecipe:
        """The recipe of a transformer's last steps."""
        return replace(
            usual,
            steps=self.steps,
            batch=self.batch,
            lr=self.rate * usual.lr,
            matrix_lr=self.rate * usual.matrix_lr,
            warmup=self.warmup,
            decay=self.decay,
            share=self.share,
        )


class Optimizers:
    """Muon for the matrices inside the layers, AdamW for all else, as one thing to step and save."""

    def __init__(self, net: Transformer, recipe: TransformerRecipe):
        inner = {name for name, p in net.named_parameters() if name.startswith("layers.") and p.ndim == 2}
        matrices = [p for name, p in net.named_parameters() if name in inner]
        others = [p for name, p in net.named_parameters() if name not in inner]
        self.muon = torch.optim.Muon(matrices, recipe.matrix_lr, weight_decay=recipe.weight_decay)
        self.adam = torch.optim.AdamW(others, recipe.lr, (0.9, 0.98), weight_decay=0.0)

    def step(self, factor: float) -> None:
        """One update at `factor` of the learning rates; clears the gradients."""
        for optimizer in (self.muon, self.adam):
            set_lr(optimizer, factor)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


class Batches:
    """Captions and image tokens; the same step always gives the same pictures (BPE dropout draws anew).

    Many codes look alike, so that which of them is the likeliest is noise, and a net that sees few pictures learns the
    noise by heart. Image tokens are therefore drawn from the dVAE's posterior, anew each time, with the posterior as
    the target: what the paper found to regularise "in the overparameterized regime" (§2.2).
    """

    def __init__(self, corpus: Corpus, text: BpeTokenizer, recipe: TransformerRecipe):
        self.corpus, self.recipe, self.text = corpus, recipe, text
        self.codes, self.odds = corpus.codes, corpus.odds
        self.noisy = text.with_dropout(recipe.bpe_dropout) if recipe.bpe_dropout else text

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, SoftTargets]:
        """(B, T) text and (B, I) image tokens, and their targets. Every picture is seen once before any is twice."""
        recipe, count = self.recipe, len(self.codes)
        epochs, places = np.divmod(step * recipe.batch + np.arange(recipe.batch), count)
        orders = {e: np.random.default_rng((recipe.seed, e)).permutation(count) for e in set(epochs.tolist())}
        chosen = [orders[epoch][place] for epoch, place in zip(epochs.tolist(), places, strict=True)]
        rng = np.random.default_rng((recipe.seed, step, recipe.batch))
        rows = [self._caption(index, rng) for index in chosen]
        codes = torch.from_numpy(self.codes[chosen].astype(np.int64)).flatten(1, 2)  # (B, I, K)
        odds = recipe.sharpness * torch.from_numpy(self.odds[chosen].astype(np.float32)).flatten(1, 2)
        dice = torch.from_numpy(rng.random(codes.shape[:2], np.float32))
        image = sampling.choose(odds.flatten(0, 1), codes.flatten(0, 1), dice.flatten()).view_as(dice)
        return torch.stack(rows), image, SoftTargets(codes, odds.softmax(-1))

    def _caption(self, index: int, rng: np.random.Generator) -> Tensor:
        if rng.random() < self.recipe.drop_caption:
            return self.text.null
        captions = self.corpus.captions[index]
        return self.noisy.encode(captions[rng.integers(len(captions))])


def train_transformer(
    recipe: TransformerRecipe,
    corpus: Corpus,
    heldout: Corpus,
    text: BpeTokenizer,
    dvae: DVAE,
    out: Path,
    minutes: float | None,
    start: Path | None = None,
    stage: str = "transformer",
) -> bool:
    """Train for at most `minutes`, from noise or from the net in a folder, which may have fewer layers; True once the
    schedule is complete and the weights are exported. The curve is named after the stage. Raises TrainingError where
    that net has other sizes.
    """
    torch.manual_seed(recipe.seed)
    device = pick_device("auto")
    sizes = TransformerConfig(
        text_vocab=text.vocab,
        text_len=text.length,
        image_vocab=dvae.vocab,
        grid=dvae.grid,
        width=recipe.width,
        depth=recipe.depth,
        heads=recipe.heads,
        patterns=recipe.patterns,
        shift=recipe.shift,
    )
    net = _begun(sizes, start).to(device)
    average = Average(net, recipe.decay)
    optimizers = Optimizers(net, recipe)
    parts: dict[str, Any] = {"net": net, "average": average.net, "optimizer": optimizers}
    before = copy.deepcopy(net) if start is not None and recipe.share < 1 else None
    if before is not None:
        parts["before"] = before  # a run that exports twice must not take its own weights for those before it
    run = Run(stage, out, recipe.steps, minutes, parts)
    average.updates = run.step
    batches = Batches(corpus, text, recipe)
    forward: Any = torch.compile(net.forward) if recipe.compiled else net.forward
    means = Means()
    for step in run:
        captions, tokens, targets = to(device, batches[step])
        with autocast(device, recipe.precision):
            loss = forward(captions, tokens, return_loss=True, targets=targets)
        loss.total.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
        optimizers.step(cosine(run.share, recipe.warmup))
        average.update(net)
        means.add(loss=loss.total, text=loss.text, image=loss.image, norm=norm)
        if step % 100 == 0:
            run.log(**means.take())
        if step and step % recipe.sample_every == 0:
            path = out / "samples" / f"{step:06d}.png"
            path.parent.mkdir(exist_ok=True)
            samples(average.net, text, dvae, heldout).save(path)
    if run.finished:
        run.summary["parameters"] = sum(p.numel() for p in net.parameters())
        final = average.net if before is None else blend(average.net, before, recipe.share)
        run.summary["heldout"] = heldout_loss(final, text, heldout, recipe)
        run.save()
        export(final, out)
    return run.finished


def deepened(net: Transformer, depth: int) -> Transformer:
    """The same transformer with more layers, which stand evenly spread among its own and add nothing yet.

    Raises TrainingError for fewer layers, or where they take turns with several attention patterns.
    """
    present = net.config.depth
    if depth == present:
        return net
    if depth < present or len(net.config.patterns) > 1:
        raise TrainingError(f"The transformer to start from has {present} layers, and cannot grow to {depth}.")
    deeper = Transformer(replace(net.config, depth=depth))
    for place, layer in enumerate(net.layers):
        deeper.layers[place * depth // present] = layer
    kept = {name: value for name, value in net.state_dict().items() if not name.startswith("layers.")}
    deeper.load_state_dict(kept, strict=False)
    return deeper


def _begun(sizes: TransformerConfig, start: Path | None) -> Transformer:
    """A net of these sizes: a fresh one, or the one in a folder. Raises TrainingError where that cannot have them."""
    if start is None:
        return Transformer(sizes)
    present = config.load(TransformerConfig, start / "transformer.json")
    net = Transformer(replace(sizes, depth=present.depth))
    load(net, checkpoint.read_tensors(start, "transformer"))
    return deepened(net, sizes.depth)


@torch.no_grad()
def heldout_loss(net: Transformer, text: BpeTokenizer, heldout: Corpus, recipe: TransformerRecipe) -> dict[str, float]:
    """Cross entropies on pictures and captions that training never saw, in nats to a token; the image part is never
    below the entropy of its targets, which is told as well.
    """
    device, batch = next(net.parameters()).device, min(recipe.batch, len(heldout))
    batches = Batches(heldout, text, replace(recipe, batch=batch, drop_caption=0, bpe_dropout=0))
    sums: Counter[str] = Counter()
    steps = len(heldout) // batch
    for step in range(steps):
        captions, tokens, targets = to(device, batches[step])
        with autocast(device, recipe.precision):
            loss = net(captions, tokens, return_loss=True, targets=targets)
        sums.update({name: value.item() for name, value in loss._asdict().items()})
        sums["entropy"] += torch.special.entr(targets.weights).sum(-1).mean().item()
    return {name: round(value / steps, 4) for name, value in sums.items()}


def to(device: torch.device, batch: tuple[Tensor, Tensor, SoftTargets]) -> tuple[Tensor, Tensor, SoftTargets]:
    """A batch of `Batches` on a device."""
    captions, tokens, targets = batch
    return captions.to(device), tokens.to(device), SoftTargets(*(part.to(device) for part in targets))


def samples(
    net: Transformer, text: BpeTokenizer, dvae: DVAE, heldout: Corpus, count: int = 8, each: int = 2
) -> Image.Image:
    """A sheet to look at while it trains: `each` pictures under one another for the first held-out captions."""
    h, w = dvae.grid
    device = next(net.parameters()).device
    free = torch.full((h * w,), -1)
    options = SamplingOptions(top_k=64)
    columns: list[Tensor] = []
    for captions in heldout.captions[:count]:
        drawn: Iterator[Tensor] = sampling.draw(
            net, text.encode(captions[0]).to(device), None, 0, range(each), options, free
        )
        columns.append(dvae.decode(torch.stack(list(drawn), dim=1).view(each, h, w)))  # (each, 3, S, S)
    pictures = images.to_pictures(torch.stack(columns, dim=1).flatten(0, 1).cpu())
    return images.grid(pictures, columns=count)


def export(net: Transformer, out: Path) -> None:
    """Write `transformer.json` and the weights, in fp16."""
    checkpoint.write_tensors(net.state_dict(), out, "transformer", torch.float16)
    config.save(net.config, out / "transformer.json")
