"""Stage three: a small CLIP of our own, the judge of the pictures (paper, section 2.6).

An open_clip model, trained with its in-batch softmax (Radford et al. 2021, section 2.3). Most captions have false
twins: the same nouns with colors, counts or relations exchanged, or one noun taken for another. The twins of the whole
batch are further wrong answers for every picture, so that neither a bag of words (Yuksekgonul et al. 2023) nor the
color alone is enough. In the same way, what the transformer drew of some of the captions are further wrong pictures.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dalle import checkpoint, config
from dalle.models import pick_device
from dalle.ranking import CONFIG, WEIGHTS, ClipRanker, Preprocess, build, open_clip
from dalle.text import BpeTokenizer
from dalle.train.augment import moved, softened
from dalle.train.corpus import Corpus, to_images
from dalle.train.loop import Average, Run, autocast, cosine, load, place, set_lr

RIVALS = 64  # captions that a picture's own one has to beat in recall@1
_MAX_SCALE = float(np.log(100))  # of the logits, as in the paper


@dataclass(frozen=True)
class ClipRecipe:
    """What is trained, how long and how fast."""

    image_size: int = 112  # pixels
    width: int = 32  # channels of the picture tower's first stage; they double from stage to stage
    stages: tuple[int, ...] = (1, 1, 1, 1)  # blocks of each
    text_width: int = 192
    text_layers: int = 2
    embed_dim: int = 192
    decoded: int = 2  # each such picture is seen as the VAE paints it
    drawn: int = 3520  # of these, so many have a caption that the transformer draws as well
    misses: int = 24  # such drawings in a batch
    context: int = 32  # text tokens read; a longer caption is cut
    steps: int = 1100
    batch: int = 128
    lr: float = 1e-3
    warmup: float = 0.05  # share of the steps
    weight_decay: float = 0.05
    shift: float = 0.06  # furthest move of a picture, as a share of its side, and its change of size
    blurred: float = 0.5  # share of the pictures that are softened, as a VAE's reconstructions are
    words: float = 1.0  # weight of the loss that names the words of the caption
    decay: float = 0.99  # of the moving average
    precision: str = "bf16"
    seed: int = 0

    @property
    def stride(self) -> int:
        """From one picture whose caption is drawn to the next: all of them were seen through the VAE, if any were."""
        return max(1, self.decoded)

    @property
    def stored(self) -> int:
        """Pixels along a side that the corpus is kept at: of which, zoomed in furthest, `image_size` are left."""
        return round(self.image_size / (1 - 2 * self.shift))


class Batch(NamedTuple):
    """Text i belongs to picture i, for as many as there are pairs; what lies behind them belongs to none."""

    images: Tensor  # (B + G, 3, S, S) in [0, 1]; the last G are drawings of texts among the B
    texts: Tensor  # (B + F, T)
    pairs: int  # B


class Batches:
    """Batch `step`: pictures, captions, drawings and false captions; the same step always gives the same."""

    def __init__(
        self,
        corpus: Corpus,
        pictures: np.ndarray,
        tokenizer: BpeTokenizer,
        recipe: ClipRecipe,
        drawn: np.ndarray | None = None,
    ):
        """`pictures` (N, S, S, 3) uint8 are those of the corpus, perhaps smaller; `drawn` (M, S, S, 3) is what was
        drawn of the captions of pictures 0, d, 2d …, where d is `recipe.stride`.
        """
        self.pictures, self.recipe = pictures, recipe
        self.drawn = pictures[:0] if drawn is None else drawn
        self.captions = [_encode(texts, tokenizer, recipe.context) for texts in corpus.captions]
        self.negatives = [_encode(texts, tokenizer, recipe.context) for texts in corpus.negatives]

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.recipe.seed, step))
        count = min(self.recipe.batch, len(self.pictures))
        misses = rng.choice(len(self.drawn), min(self.recipe.misses, count, len(self.drawn)), replace=False)
        missed = misses * self.recipe.stride
        others = rng.choice(len(self.pictures), count, replace=False)
        others = others[~np.isin(others, missed)][: count - len(missed)]
        chosen = np.sort(np.concatenate([missed, others]))
        true = torch.stack([row[rng.integers(len(row))] for row in (self.captions[i] for i in chosen)])
        texts = torch.cat([true, *(self.negatives[i] for i in chosen)])
        shown = np.concatenate([self.pictures[chosen], self.drawn[np.sort(misses)]])
        return Batch(augment(to_images(shown), self.recipe, rng), texts, count)


def _encode(texts: Sequence[str], tokenizer: BpeTokenizer, context: int) -> Tensor:
    rows = [tokenizer.encode(text)[:context] for text in texts]
    return torch.stack(rows) if rows else torch.empty(0, context, dtype=torch.int64)


def augment(images: Tensor, recipe: ClipRecipe, rng: np.random.Generator) -> Tensor:
    """Move and zoom each picture a little and soften some; colors stay.

    (B, 3, H, W) in [0, 1] -> (B, 3, image_size, image_size) in [0, 1]
    """
    return softened(moved(images, recipe.image_size, recipe.shift, rng), recipe.blurred, rng)


def model_config(recipe: ClipRecipe, tokenizer: BpeTokenizer) -> dict[str, Any]:
    """The open_clip config: a ResNet for pictures, since convolutions count and name things after far fewer pictures
    than attention. The text tower reads both ways and answers at [BOS], as no token ends a row.
    """
    return {
        "embed_dim": recipe.embed_dim,
        "vision_cfg": {
            "image_size": recipe.image_size,
            "width": recipe.width,
            "layers": list(recipe.stages),
            "head_width": 64,
            "patch_size": None,
        },
        "text_cfg": {
            "context_length": min(recipe.context, tokenizer.length),
            "vocab_size": tokenizer.vocab,
            "width": recipe.text_width,
            "heads": max(1, recipe.text_width // 64),
            "layers": recipe.text_layers,
            "no_causal_mask": True,
            "pool_type": "first",
        },
    }


def contrastive_loss(images: Tensor, texts: Tensor, pairs: int, scale: Tensor) -> Tensor:
    """open_clip's symmetric cross-entropy, with more captions and pictures than pairs.

    (B + G, E), (B + F, E) of length one, B, () -> (); caption i belongs to picture i, the last F and G to none.
    """
    per_image, per_text = open_clip().ClipLoss().get_logits(images, texts, scale)  # (B + G, B + F) and transposed
    own = torch.arange(pairs, device=images.device)
    return (F.cross_entropy(per_image[:pairs], own) + F.cross_entropy(per_text[:pairs], own)) / 2


class Words(nn.Module):
    """A second task for the pictures, in training alone: which word pieces does the caption have?

    Two towers that start from noise teach each other slowly; this teaches the picture tower from the first
    step (classification by subwords, Huang et al. 2024). A piece counts by its rarity: "a" hardly does.
    """

    rarity: Tensor  # (V,)

    def __init__(self, captions: Tensor, width: int, vocab: int):
        """`captions` (N, T) are all that there are; ids from `vocab` on are paddings."""
        super().__init__()
        self.head = nn.Linear(width, vocab)
        share = self._present(captions).mean(0)
        self.register_buffer("rarity", -share.clamp_min(1 / len(captions)).log())

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        """(B, E), (B, T) -> ()"""
        target = self._present(captions) * self.rarity  # (B, V)
        return F.cross_entropy(self.head(images), target / target.sum(1, keepdim=True).clamp_min(1e-6))

    def _present(self, captions: Tensor) -> Tensor:
        """(B, T) -> (B, V) ones and zeros."""
        vocab = self.head.out_features
        ones = torch.zeros(len(captions), vocab + 1, device=captions.device)
        return ones.scatter_(1, captions.clamp(max=vocab), 1.0)[:, :vocab]


def train_clip(
    recipe: ClipRecipe,
    tokenizer: BpeTokenizer,
    corpus: Corpus,
    pictures: np.ndarray,
    heldout: Corpus,
    out: Path,
    minutes: float | None,
    start: Path | None = None,
    drawn: np.ndarray | None = None,
) -> bool:
    """Train for at most `minutes`, from noise or from the CLIP in a folder; True once the schedule is complete and the
    weights are exported. `pictures` and `drawn` are those of `Batches`. Raises TrainingError where that CLIP has other
    sizes.
    """
    torch.manual_seed(recipe.seed)
    device = pick_device("auto")
    net = place(build(model_config(recipe, tokenizer)), device)
    if start is not None:
        load(net, checkpoint.read_tensors(start, Path(WEIGHTS).stem))
    average = Average(net, recipe.decay)
    batches, prepare = Batches(corpus, pictures, tokenizer, recipe, drawn), Preprocess(net)
    words = Words(torch.cat(batches.captions), recipe.embed_dim, tokenizer.bpe_size).to(device)
    learned = nn.ModuleList([net, words])
    optimizer = torch.optim.AdamW(_groups(learned, recipe.weight_decay), recipe.lr, (0.9, 0.98))
    parts = {"nets": learned, "average": average.net, "optimizer": optimizer}
    run = Run("clip", out, recipe.steps, minutes, parts)
    average.updates = run.step
    for step in run:
        set_lr(optimizer, cosine(run.share, recipe.warmup))
        images, texts, pairs = batches[step]
        images, texts = place(images, device), texts.to(device)
        with autocast(device, recipe.precision), _attention(device):
            seen, read = net.encode_image(prepare(images)), net.encode_text(texts)
        seen, read = seen.float(), read.float()
        named = words(seen[:pairs], texts[:pairs])
        loss = contrastive_loss(F.normalize(seen), F.normalize(read), pairs, net.logit_scale.exp())
        optimizer.zero_grad(set_to_none=True)
        (loss + recipe.words * named).backward()
        nn.utils.clip_grad_norm_(learned.parameters(), 1.0)
        optimizer.step()
        net.logit_scale.data.clamp_(max=_MAX_SCALE)
        average.update(net)
        if step % 50 == 0:
            run.log(loss=loss.item(), words=named.item(), scale=net.logit_scale.exp().item())
    if run.finished:
        export(average.net, recipe, tokenizer, run, heldout)
    return run.finished


def _attention(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """On a CPU plain matrix products beat the fused kernel by a quarter, as the rows are short."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()


def _groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; gains, biases, positions and the scale of the logits do not."""
    named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    still = {name for name, p in named if p.ndim < 2 or "positional_embedding" in name}
    return [
        {"params": [p for name, p in named if name not in still], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name in still], "weight_decay": 0.0},
    ]


def export(net: nn.Module, recipe: ClipRecipe, tokenizer: BpeTokenizer, run: Run, heldout: Corpus) -> None:
    """Write `clip.json` and `clip.safetensors` (fp16), and measure what they hold."""
    stem, limit = Path(WEIGHTS).stem, sys.maxsize  # one file, as open_clip reads no more
    checkpoint.write_tensors(net.state_dict(), run.out, stem, torch.float16, limit)
    config.save(model_config(recipe, tokenizer), run.out / CONFIG)
    run.summary["recipe"] = config.to_json(recipe)
    run.summary["heldout"] = measure(ClipRanker.load(run.out, tokenizer), heldout)
    run.save()
    print(json.dumps(run.summary["heldout"]))


def measure(ranker: ClipRanker, corpus: Corpus, rivals: int = RIVALS) -> dict[str, Any]:
    """How well sentences and pictures find each other, all in all and by family.

    Recall@1: the share of pictures whose own caption scores highest among `rivals` captions, itself included.
    Told: the share of false captions that score lower than the true one.
    """
    images = torch.cat(list(_embedded(ranker, corpus)))  # (N, E)
    texts = ranker.embed_texts([captions[0] for captions in corpus.captions])  # (N, E)
    parts = zip(images.split(rivals), texts.split(rivals), strict=True)
    found = torch.cat([(i @ t.T).argmax(1) == torch.arange(len(i), device=i.device) for i, t in parts])
    twins = [index for index, negatives in enumerate(corpus.negatives) for _ in negatives]
    false = ranker.embed_texts([caption for negatives in corpus.negatives for caption in negatives])  # (F, E)
    told = ((texts[twins] - false) * images[twins]).sum(1) > 0
    return {
        "pictures": len(corpus),
        "rivals": rivals,
        "recall@1": _by_family(found, corpus.families),
        "told": _by_family(told, [corpus.families[index] for index in twins]),
    }


def _embedded(ranker: ClipRanker, corpus: Corpus, batch: int = 64) -> Iterator[Tensor]:
    for start in range(0, len(corpus), batch):
        yield ranker.embed_images(to_images(corpus.pictures[start : start + batch]))


def _by_family(right: Tensor, families: Sequence[str]) -> dict[str, float]:
    shares = {"all": right.float().mean().item()}
    for family in sorted(set(families)):
        members = torch.tensor([name == family for name in families], device=right.device)
        shares[family] = right[members].float().mean().item()
    return {name: round(share, 4) for name, share in shares.items()}
