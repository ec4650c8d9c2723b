"""After stage two: the transformer learns from what a critic makes of its own drawings.

The next-token loss weighs all tokens alike, and it never shows the net where its own first tokens lead. Here every
caption is drawn several times. A critic, a classifier that was trained for this and has no part in any measurement,
reads each drawing, and the likelihood of those that show more of what was asked than their neighbours is raised, that
of the others lowered (REINFORCE against the mean of the group, as in GRPO, Shao et al. 2024, arXiv 2402.03300).
Pictures of the world stay in every batch: what the critic does not ask about is still learned from them. What comes out
is the mean of the weights before and after, which keeps more of what was known than either has gained or lost (Wortsman
et al. 2022, arXiv 2109.01903).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle import sampling
from dalle.contracts import ImageTokenizer, SamplingOptions
from dalle.judge import Answers, Judge, answers
from dalle.models import pick_device
from dalle.nn.transformer import Transformer
from dalle.text import BpeTokenizer
from dalle.train.corpus import Corpus
from dalle.train.drawings import for_many
from dalle.train.loop import Average, Means, Run, autocast, blend, cosine
from dalle.train.transformer import Batches, Optimizers, TransformerRecipe, export, heldout_loss, to
from dalle.worlds import World

_CLOSE = 0.1  # of scores: where drawings differ by less, the difference counts for less


@dataclass(frozen=True)
class FeedbackRecipe:
    """What is drawn, what of it is learned, and how fast."""

    families: Mapping[str, float] = field(
        default_factory=lambda: {  # all that are asked about, but birds, whose captions leave parts open, and words
            "object": 6.0,
            "relation": 5.0,
            "made_of": 4.0,
            "count": 2.5,
            "style": 2.0,
            "period": 2.0,
            "wearing": 1.5,
            "surface": 0.5,
        }
    )
    captions: int = 32  # drawn together
    samples: int = 8  # drawings of each
    learned: int = 4  # of these: the best half of that number, and the worst half
    temperature: float = 0.5  # to draw with, and of the likelihoods that are learned
    steps: int = 212
    batch: int = 32  # drawings in a step
    real: int = 16  # pictures of the world in a step
    weight: float = 3.0  # of the drawings' part of the loss
    lr: float = 4e-4
    matrix_lr: float = 3e-3
    warmup: float = 0.05  # share of the steps
    decay: float = 0.98  # of the moving average
    share: float = 0.5  # of the weights after, in what is exported

    @property
    def steps_a_round(self) -> int:
        """What one drawing of all captions is enough for."""
        return max(1, self.captions * self.learned // self.batch)


def advantages(scores: Tensor) -> Tensor:
    """How much better each drawing is than the others of its caption: (C, n) -> (C, n)."""
    centered = scores - scores.mean(1, keepdim=True)
    return centered / (centered.square().mean(1, keepdim=True).sqrt() + _CLOSE)


def extremes(gains: Tensor, count: int) -> Tensor:
    """The places of the best and the worst of each row, half of `count` each: (C, n) -> (C, count)."""
    order = gains.argsort(1, descending=True)
    half = count // 2
    return torch.cat([order[:, :half], order[:, order.shape[1] - half :]], dim=1)


class Lesson(NamedTuple):
    """N drawings to learn from."""

    captions: Tensor  # (N, T)
    tokens: Tensor  # (N, I)
    gains: Tensor  # (N,)


class Easel:
    """Draws captions of the world and asks the critic; drawing `index` of a run is always the same for the same net."""

    def __init__(
        self,
        recipe: FeedbackRecipe,
        source: World,
        first: int,
        text: BpeTokenizer,
        dvae: ImageTokenizer,
        critic: Judge,
    ):
        """`first` is the number of the source's first caption."""
        self.recipe, self.source, self.first = recipe, source, first
        self.text, self.dvae, self.critic = text, dvae, critic

    def draw(self, net: Transformer, index: int) -> tuple[Lesson, float]:
        """The lessons of round `index`, in an order of their own, and the mean score of its drawings."""
        recipe, device = self.recipe, next(net.parameters()).device
        start = self.first + index * recipe.captions
        plans = [self.source.plan(number) for number in range(start, start + recipe.captions)]
        wanted = [answers(plan.family, plan.facts) for plan in plans for _ in range(recipe.samples)]
        texts = torch.stack([self.text.encode(plan.caption) for plan in plans]).to(device)  # (C, T)
        prompts = texts.repeat_interleave(recipe.samples, 0)  # (C * n, T)
        tokens = self._tokens(net, prompts, index)  # (C * n, I)
        scores = self._seen(tokens, wanted).view(recipe.captions, recipe.samples)
        gains = advantages(scores)
        chosen = extremes(gains, recipe.learned)  # (C, learned)
        rows = (torch.arange(recipe.captions)[:, None] * recipe.samples + chosen).flatten()
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(index))]
        return Lesson(prompts[rows], tokens[rows], gains.flatten()[rows].to(device)), scores.mean().item()

    def _tokens(self, net: Transformer, prompts: Tensor, index: int) -> Tensor:
        options = SamplingOptions(temperature=self.recipe.temperature)
        (h, w), null = self.dvae.grid, self.text.null.to(prompts.device)
        drawn = sampling.draw_each(for_many(net), prompts, null, index, range(len(prompts)), options, h * w)
        return torch.stack(list(drawn), 1)

    @torch.inference_mode()
    def _seen(self, tokens: Tensor, wanted: Sequence[Answers], batch: int = 64) -> Tensor:
        """How much of what is wanted the critic sees: (N, I) tokens -> (N,)."""
        scores = []
        for start in range(0, len(tokens), batch):
            part = slice(start, start + batch)
            images = self.dvae.decode(tokens[part].view(-1, *self.dvae.grid))
            scores.append(self.critic.belief(images, wanted[part]))
        return torch.cat(scores)


def log_likelihood(net: Transformer, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of (B, T) text and (B, I) image tokens: (B,) mean log-likelihoods of these, in nats to a token."""

    def mean(text: Tensor, tokens: Tensor) -> Tensor:
        logits = net.logits(text, tokens)[1].float() / temperature  # (B, I, V)
        each = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
        return -each.view(tokens.shape).mean(1)

    return mean


def train_feedback(
    recipe: FeedbackRecipe,
    usual: TransformerRecipe,
    corpus: Corpus,
    heldout: Corpus,
    easel: Easel,
    net: Transformer,
    out: Path,
    minutes: float | None,
) -> bool:
    """Train for at most `minutes` from a trained net on, which `usual` was the recipe of; True once the schedule is
    complete and the weights are exported.
    """
    torch.manual_seed(usual.seed)
    device = pick_device("auto")
    net = net.to(device).train().requires_grad_(True)
    before = copy.deepcopy(net)
    average = Average(net, recipe.decay)
    usual = replace(usual, batch=recipe.real, lr=recipe.lr, matrix_lr=recipe.matrix_lr)
    optimizers = Optimizers(net, usual)
    parts = {"net": net, "before": before, "average": average.net, "optimizer": optimizers}
    run = Run("feedback", out, recipe.steps, minutes, parts)
    average.updates = run.step
    batches, means = Batches(corpus, easel.text, usual), Means()
    forward: Any = net.forward
    likelihood = log_likelihood(net, recipe.temperature)
    if usual.compiled:
        forward, likelihood = torch.compile(forward), torch.compile(likelihood)
    lesson: Lesson | None = None
    for step in run:
        index, part = divmod(step, recipe.steps_a_round)
        if part == 0 or lesson is None:
            lesson, score = easel.draw(net, index)
        captions, tokens, gains = (rows[part * recipe.batch : (part + 1) * recipe.batch] for rows in lesson)
        with autocast(device, usual.precision):
            text, image, targets = to(device, batches[step])
            real = forward(text, image, return_loss=True, targets=targets)
            told = likelihood(captions, tokens)  # (B,)
        reward = (gains * told).mean()
        (real.total - recipe.weight * reward).backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), usual.clip)
        optimizers.step(cosine(run.share, recipe.warmup))
        average.update(net)
        means.add(image=real.image, likelihood=told.mean(), reward=reward, norm=norm)
        if part == recipe.steps_a_round - 1:
            run.log(score=score, **means.take())
    if run.finished:
        final = blend(average.net, before, recipe.share)
        run.summary["heldout"] = heldout_loss(final, easel.text, heldout, usual)
        run.save()
        export(final, out)
    return run.finished
