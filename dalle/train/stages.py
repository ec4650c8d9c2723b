"""The stages in order, and what one hands to the next: pictures, codes, a text vocabulary, weights."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dalle import checkpoint, config, lexicon
from dalle.errors import TrainingError
from dalle.families.native import CARD, Card, read_dvae, read_transformer
from dalle.judge import Judge, answers
from dalle.models import pick_device
from dalle.nn.dvae import DVAE
from dalle.nn.transformer import Transformer
from dalle.text import BpeTokenizer
from dalle.train.clip import train_clip
from dalle.train.corpus import Corpus, Source
from dalle.train.drawings import drawings
from dalle.train.feedback import Easel, train_feedback
from dalle.train.judge import JudgeRecipe, Lesson, train_judge
from dalle.train.polish import polish
from dalle.train.recipes import Recipe
from dalle.train.thumbnails import thumbnails
from dalle.train.tokenizer import tokenize, train_tokenizer
from dalle.train.transformer import TransformerRecipe, train_transformer
from dalle.worlds import World, WorldConfig
from dalle.worlds.folder import FolderSource, TarSource

TOKENIZERS = ("dvae.json", "reconstructions.png", "tokenizer.json", lexicon.FILE)  # their files, but for weights
CRITIC = "critic"  # the folder of the one whose feedback counts
FACTUAL = ("critic", "feedback", "judge")  # these learn from the facts behind the pictures of the world
_MAKERS = {  # which stage leaves a file that others need
    "dvae.json": "tokenizer",
    "tokenizer.json": "text",
    "transformer.json": "transformer",
    f"{CRITIC}/judge.json": "critic",
}
_NEEDS = {
    "polish": ("dvae.json",),
    "transformer": ("dvae.json", "tokenizer.json"),
    "settle": ("dvae.json", "tokenizer.json", "transformer.json"),
    "critic": ("dvae.json",),
    "feedback": tuple(_MAKERS),
    "clip": ("dvae.json", "tokenizer.json"),  # and the transformer, where it learns from drawings
    "judge": ("dvae.json",),
}
_MARKS = {  # what is there once a stage is finished
    "tokenizer": "dvae.json",
    "polish": "reconstructions.png",
    "transformer": "transformer.json",
    "settle": "settle.json",
    "critic": f"{CRITIC}/judge.json",
    "feedback": "feedback.json",
    "clip": "clip.json",
    "judge": "judge.json",
}
_IN_PLACE = ("settle", "feedback")  # they write over the weights of an earlier stage: the recipe is their mark


class Workshop:
    """One run of one recipe in one folder; every stage finds there what the earlier ones left.

    With `start`, the folder of a model, the nets go on from there; its tokenizers are taken as they are.
    """

    def __init__(self, recipe: Recipe, data: str, out: Path, minutes: float | None, start: Path | None = None):
        self.recipe, self.data, self.out, self.start = recipe, data, out, start
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        out.mkdir(parents=True, exist_ok=True)
        config.save(recipe, out / "recipe.json")
        if start is not None and not (out / "dvae.json").exists():
            for file in (*checkpoint.shards(start, "dvae"), *(start / name for name in TOKENIZERS)):
                shutil.copy(file, out)

    def complete(self, stage: str) -> bool:
        """Go on with a stage; True once it is finished. Raises TrainingError, before any picture is drawn, where an
        earlier stage has to come first.
        """
        if stage in _MARKS and (self.out / _MARKS[stage]).exists():
            return True
        self._check(stage)
        work: Callable[[], bool] = getattr(self, f"_{stage}")
        finished = work()
        if finished and stage in _IN_PLACE:
            config.save(getattr(self.recipe, stage), self.out / _MARKS[stage])
        return finished

    def _check(self, stage: str) -> None:
        """Raises TrainingError where a stage lacks what it learns from."""
        if stage in FACTUAL and self.data != "world":
            raise TrainingError("This stage learns from the facts behind the pictures of the world; a folder has none.")
        needs = _NEEDS.get(stage, ())
        if stage == "clip" and self.recipe.clip.drawn:
            needs += ("transformer.json",)
        for file in needs:
            place = self._latest if file == "transformer.json" else self.out
            if not (place / file).exists():
                raise TrainingError(
                    f"This stage needs {file}: run `python -m dalle train {_MAKERS[file]}` with the same --out first."
                )

    @cached_property
    def corpus(self) -> Corpus:
        return self._drawn("train", self.recipe.pictures, self.recipe.first)

    @cached_property
    def heldout(self) -> Corpus:
        return self._drawn("heldout", self.recipe.heldout)

    def _drawn(self, split: str, count: int, first: int = 0) -> Corpus:
        return Corpus.draw(self._source(split), count, self.out / "corpus" / split, first=first)

    def _source(self, split: str) -> Source:
        if self.data == "world":
            return World(self._world(split))
        size = self.recipe.tokenizer.net.size
        if Path(self.data).is_dir():
            return FolderSource(Path(self.data), split, size)
        return TarSource(self.data, split, size)

    def _world(self, split: str) -> WorldConfig:
        """The one to learn from ("train"), or to be measured in ("heldout")."""
        shown = self.recipe.shown if split == "train" else None
        return replace(shown or self.recipe.world, split=split)

    @property
    def _minutes(self) -> float | None:
        return None if self._deadline is None else max(0.0, (self._deadline - time.monotonic()) / 60)

    def _tokenizer(self) -> bool:
        return train_tokenizer(self.recipe.tokenizer, self.corpus, self.out, self._minutes)

    def _polish(self) -> bool:
        dvae = self._read_codes()
        return polish(self.recipe.polish, dvae, self.corpus, self.heldout, self.out, self._minutes)

    def _text(self) -> bool:
        if not (self.out / "tokenizer.json").exists():
            captions = [caption for captions in self.corpus.captions for caption in captions]
            text = BpeTokenizer.train(captions, self.recipe.text_vocab, self.recipe.text_len)
            text.save(self.out / "tokenizer.json")
            named = zip(self.corpus.captions, self.corpus.copied, strict=True)
            learned = [caption for captions, copied in named if not copied for caption in captions]
            config.save(lexicon.count_words(learned), self.out / lexicon.FILE)
        card = Card(self.recipe.title, self.recipe.text_len, self.recipe.options, agreement=self.recipe.agreement)
        config.save(card, self.out / CARD)
        return True

    def _transformer(self) -> bool:
        return self._learn(self.recipe.transformer, self.start, "transformer")

    def _settle(self) -> bool:
        return self._learn(self.recipe.settle.of(self.recipe.transformer), self._latest, "settle")

    def _learn(self, recipe: TransformerRecipe, start: Path | None, stage: str) -> bool:
        """Go on with the transformer by one of its recipes."""
        dvae, text = self._read_codes(), self._words()
        return train_transformer(recipe, self.corpus, self.heldout, text, dvae, self.out, self._minutes, start, stage)

    def _clip(self) -> bool:
        recipe, count, dvae = self.recipe.clip, len(self.corpus), self._read_codes()
        small = thumbnails(self.corpus, count, dvae, recipe.decoded, recipe.stored, self.out / "clip_pictures.npy")
        text = self._words()
        drawn = self._drawings(text, dvae)
        return train_clip(recipe, text, self.corpus, small, self.heldout, self.out, self._minutes, self.start, drawn)

    def _drawings(self, text: BpeTokenizer, dvae: DVAE) -> np.ndarray | None:
        """What the transformer makes of the captions of pictures that were seen through the VAE."""
        recipe = self.recipe.clip
        if not recipe.drawn:
            return None
        captions = [texts[0] for texts in self.corpus.captions[:: recipe.stride]][: recipe.drawn]
        device, file = pick_device("auto"), self.out / "clip_drawings.npy"
        net = self._read_transformer(device)
        return drawings(net, text, dvae.to(device), captions, self.recipe.options, recipe.stored, file)

    def _critic(self) -> bool:
        recipe, shown, heldout = self.recipe.critic, self._world("train"), self._world("heldout")
        dvae = self._read_codes()
        lesson = self._lesson(CRITIC, self.corpus, shown, recipe.pictures, recipe, dvae, self.recipe.first)
        exam = self._lesson("critic_exam", self.heldout, heldout, recipe.exam, recipe, dvae)
        return train_judge(recipe, [lesson], {"heldout": exam}, self.out / CRITIC, self._minutes)

    def _feedback(self) -> bool:
        recipe = self.recipe.feedback
        device = pick_device("auto")
        dvae = self._read_codes().to(device)
        world = World(replace(self._world("train"), families=recipe.families))
        critic = Judge.load(self.out / CRITIC, device)
        first = self.recipe.first + self.recipe.pictures  # captions of other pictures than it knows
        easel = Easel(recipe, world, first, self._words(), dvae, critic)
        net, usual = self._read_transformer(device), self.recipe.transformer
        return train_feedback(recipe, usual, self.corpus, self.heldout, easel, net, self.out, self._minutes)

    def _judge(self) -> bool:
        recipe, shown, heldout = self.recipe.judge, self._world("train"), self._world("heldout")
        other = replace(heldout, seed=heldout.seed + 1)  # not the pictures that models are measured on
        unseen = Corpus.draw(World(other), recipe.unseen, self.out / "corpus" / "unseen")
        dvae = self._read_codes(unseen)
        lessons = [
            self._lesson("judge_world", self.corpus, shown, recipe.pictures, recipe, dvae, self.recipe.first),
            self._lesson("judge_unseen", unseen, other, recipe.unseen, recipe, dvae),
        ]
        kinds = {"real": replace(recipe, decoded=0), "reconstructed": replace(recipe, decoded=1)}
        exams = {
            name: self._lesson(f"judge_{name}", self.heldout, heldout, recipe.exam, kind, dvae)
            for name, kind in kinds.items()
        }
        return train_judge(recipe, lessons, exams, self.out, self._minutes, self.start)

    def _lesson(
        self, name: str, corpus: Corpus, world: WorldConfig, count: int, recipe: JudgeRecipe, dvae: DVAE, first: int = 0
    ) -> Lesson:
        """The first pictures of a corpus, the world's from `first` on, and the answers that their facts give."""
        count = min(count, len(corpus))
        plans = map(World(world).plan, range(first, first + count))
        told = [answers(plan.family, plan.facts) for plan in plans]
        return Lesson(thumbnails(corpus, count, dvae, recipe.decoded, recipe.size, self.out / f"{name}.npy"), told)

    def _read_codes(self, *others: Corpus) -> DVAE:
        """The dVAE, once the tokens of all pictures are written beside them."""
        dvae = read_dvae(self.out)
        for corpus in (self.corpus, self.heldout, *others):
            if not corpus.has_codes:
                tokenize(dvae, corpus, self.recipe.tokenizer.precision)
        return dvae

    def _read_transformer(self, device: torch.device) -> Transformer:
        return read_transformer(self._latest, device)

    @property
    def _latest(self) -> Path:
        """Where the latest transformer is: this run's own, or the one that it goes on from."""
        if self.start is not None and not (self.out / "transformer.json").exists():
            return self.start
        return self.out

    def _words(self) -> BpeTokenizer:
        return BpeTokenizer.load(self.out / "tokenizer.json", self.recipe.text_len)
