"""The gallery as HTML: empty plates, plates that fill row by row, cards in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import exp, isfinite

import numpy as np
from PIL import Image

from dalle.contracts import Candidate, Request, ScoredBy, Update
from dalle.ui.parts import data_url, home, icon

_FIRST = 8  # plates shown before anything was drawn
_SHARPNESS = 100  # by which CLIP multiplies its cosines before a softmax (Radford et al. 2021, section 2.5)


@dataclass(frozen=True)
class Card:
    """A finished picture and where its files lie, seen from the page."""

    candidate: Candidate
    address: str  # of the PNG that is shown
    download: str


@dataclass(frozen=True)
class Scale:
    """What is said of a kind of score."""

    praise: str  # of the best picture
    judge: str  # who ranked
    hint: str  # {} is the score
    figure: str = "{:.3f}"  # how a score is written


_SCALES: dict[ScoredBy, Scale] = {
    "CLIP": Scale("CLIP’s choice", "CLIP", "CLIP's cosine similarity of sentence and picture: {}."),
    "likelihood": Scale(
        "The likeliest", "the model itself", "How likely the model itself finds this picture: {} nats per token."
    ),
    "CLIP and agreement": Scale(
        "First choice",
        "CLIP and agreement",
        "What CLIP thinks of this picture and how near it comes to the others, all of them guesses of one: {}"
        " standard deviations above the mean.",
        "{:+.2f}",
    ),
}


@dataclass(frozen=True)
class Batch:
    """What the cards of one drawing have in common."""

    prompt: str
    seed: int
    scores: tuple[float, ...]  # of all its pictures, shown or not
    scored_by: ScoredBy = "CLIP"
    outline: str = ""  # of the kept tokens, to lie over each picture
    folder: str = ""  # below that of the gallery, where its files lie

    @classmethod
    def of(cls, request: Request, cards: Sequence[Card], outline: str = "", folder: str = "") -> "Batch":
        found = (card.candidate.score for card in cards)
        scores = tuple(s for s in found if s is not None and isfinite(s))
        by = cards[0].candidate.scored_by if cards else "CLIP"
        return cls(request.prompt, request.seed, scores, by, outline, folder)

    @property
    def scale(self) -> Scale:
        return _SCALES[self.scored_by]

    def share(self, score: float) -> float:
        """The part of CLIP's vote that a picture gets: a softmax over the batch."""
        best = max(self.scores)
        return exp(_SHARPNESS * (score - best)) / sum(exp(_SHARPNESS * (other - best)) for other in self.scores)

    def height(self, score: float) -> float:
        """Where a score lies between the worst of the batch, 0, and the best, 1."""
        low, high = min(self.scores), max(self.scores)
        return (score - low) / (high - low) if high > low else 1.0


def empty(count: int = _FIRST) -> str:
    """Plates that wait for a sentence."""
    plates = '<li class="card"><div class="plate"></div><p class="caption">&nbsp;</p></li>' * count
    return f'<ol class="gallery" data-stage="empty" aria-hidden="true">{plates}</ol>'


def drawing(update: Update, request: Request, outline: str = "") -> str:
    """Every candidate as far as it is drawn; plates keep their place while they fill."""
    stage = "ranking" if update.stage == "ranking" else "sampling"
    rows, crowd = update.candidates[0].tokens.shape[0], density(len(update.candidates))
    plates = "".join(
        f'<li class="card" data-index="{c.index}" style="--drawn:{_drawn(c):.4f}">'
        f'<div class="plate">{_image(data_url(_seen(c.picture, crowd)), request.prompt, c.index)}{outline}</div>'
        f'<p class="caption">{_seed(request.seed, c.index)}</p></li>'
        for c in update.candidates
    )
    return f'<ol class="gallery {crowd}" data-stage="{stage}" style="--rows:{rows}">{plates}</ol>'


def finished(
    shown: Sequence[Card],
    rest: Sequence[Card],
    request: Request,
    link: str,
    sheet: str,
    archive: str,
    outline: str = "",
) -> str:
    """The ranked gallery; what was liked less is one click away. `link` is the recipe that draws it again."""
    batch = Batch.of(request, (*shown, *rest), outline)
    return (
        f'<section class="drawn" {recipe(link, request.prompt, request.seed)}>'
        f'<ol class="gallery" data-stage="done">{cards(shown, batch)}</ol>'
        f"{toolbar(sheet, archive, _order() if batch.scores and len(shown) > 1 else '')}"
        f"{_dropped(rest, batch, len(shown))}{_best_of((*shown, *rest), batch.scale)}</section>"
    )


def recipe(link: str, prompt: str, seed: int) -> str:
    """What the browser passes on and remembers of a drawing, as attributes; `link` draws it again."""
    return f'data-link="{escape(link)}" data-home="{escape(home())}" data-prompt="{escape(prompt)}" data-seed="{seed}"'


def toolbar(sheet: str, archive: str, order: str = "", shared: bool = True) -> str:
    """What is done with all of a wall; `shared` where there is a recipe."""
    share = '<button type="button" class="quiet" data-act="share">Copy link</button>'
    address = (
        '<label class="address" hidden><span>Anyone with this link can draw the same pictures:</span>'
        '<input type="text" readonly></label>'
    )
    return (
        f'<div class="toolbar">{order}{share * shared}'
        f'<a class="quiet" href="{escape(sheet)}" download="{escape(sheet.rpartition("/")[2])}">Sheet</a>'
        f'<a class="quiet" href="{escape(archive)}" download="pictures.zip">ZIP of all</a>{address * shared}</div>'
    )


def cards(some: Sequence[Card], batch: Batch, first: int = 1) -> str:
    """Cards as list items, the first of them with rank `first`."""
    return "".join(_card(card, rank, batch) for rank, card in enumerate(some, first))


def density(count: int) -> str:
    """The class of a gallery with that many cards: many of them are small."""
    return "crowd" if count > 32 else "group" if count > 12 else ""


def _card(card: Card, rank: int, batch: Batch) -> str:
    c, address = card.candidate, escape(card.address)
    best = rank == 1 and len(batch.scores) > 1
    praise = f"<em>{batch.scale.praise}</em>" if best else ""
    name = f"{batch.folder}{batch.seed}-{c.index}"
    return (
        f'<li class="card{" best" if best else ""}" data-index="{c.index}" data-rank="{rank}" data-name="{name}">'
        f'<a class="plate" href="{address}" target="_blank" aria-label="Picture {rank}, in full size">'
        f"{_image(address, batch.prompt, c.index)}{batch.outline}</a>"
        f'<p class="caption"><b class="rank">{rank}</b>{_score(c.score, batch)}'
        f"{_seed(batch.seed, c.index, praise)}</p>"
        f'<div class="acts">{_act("star", f"Star picture {rank}", "aria-pressed=false")}'
        f'<a class="act save" href="{escape(card.download)}" download title="Download"'
        f' aria-label="Download picture {rank}">{icon("save")}</a>'
        f"{_act('reuse', f'Use the prompt, seed and settings of picture {rank} again')}"
        f"{_act('vary', f'Vary picture {rank}: keep all but a corner')}"
        f"{_act('continue', f'Continue picture {rank}: keep its top rows')}</div></li>"
    )


def _act(name: str, label: str, state: str = "") -> str:
    return (
        f'<button type="button" class="act" data-act="{name}" title="{name.capitalize()}" aria-label="{label}"'
        f" {state}>{icon(name)}</button>"
    )


def _seed(seed: int, index: int, praise: str = "") -> str:
    return f'<span class="seed"><span><i>seed </i>{seed} · {index}</span>{praise}</span>'


def _score(score: float | None, batch: Batch) -> str:
    if score is None or not isfinite(score):
        return ""
    figure = batch.scale.figure.format(score)
    hint, share = batch.scale.hint.format(figure), ""
    if batch.scored_by == "CLIP":
        hint += f" Among these pictures it would give this one {batch.share(score):.0%} of its votes."
        share = f'<span class="share">{batch.share(score):.0%}</span>'
    return (
        f'<span class="score" title="{hint} Scores compare pictures of one prompt only."'
        f' style="--height:{batch.height(score):.3f}"><span>{figure}</span>'
        f'<span class="bar"></span>{share}</span>'
    )


def _order() -> str:
    return (
        '<div class="choice order" role="group" aria-label="Order of the pictures">'
        '<button type="button" data-order="rank" aria-pressed="true">Best first</button>'
        '<button type="button" data-order="index" aria-pressed="false">As drawn</button></div>'
    )


def _dropped(rest: Sequence[Card], batch: Batch, shown: int) -> str:
    if not rest:
        return ""
    title = f"{len(rest)} more" + (f" that {batch.scale.judge} ranked lower" if batch.scores else "")
    return (
        f'<details class="dropped"><summary>{title}</summary>'
        f'<ol class="gallery" data-stage="done">{cards(rest, batch, shown + 1)}</ol></details>'
    )


def _best_of(drawn: Sequence[Card], scale: Scale) -> str:
    """What ranking is worth: the best of the first 1, 2, 4, … pictures, as in figure 6 of the paper."""
    if len(drawn) < 2 or any(card.candidate.score is None for card in drawn):
        return ""
    counts = [2**power for power in range(len(drawn).bit_length()) if 2**power < len(drawn)]
    figures = "".join(_best_of_first(count, drawn, scale) for count in (*counts, len(drawn)))
    return f'<figure class="best-of"><figcaption>The best of the first …</figcaption><ol>{figures}</ol></figure>'


def _best_of_first(count: int, drawn: Sequence[Card], scale: Scale) -> str:
    best = max((c for c in drawn if c.candidate.index < count), key=lambda card: card.candidate.score or 0.0)
    return (
        f'<li><img src="{escape(best.address)}" alt="" decoding="async">'
        f"<b>{count}</b><span>{scale.figure.format(best.candidate.score)}</span></li>"
    )


def _seen(picture: Image.Image, crowd: str) -> Image.Image:
    """A picture no larger than it is shown: many of them travel to the browser several times."""
    return picture.reduce(2) if crowd else picture


def _drawn(candidate: Candidate) -> float:
    """The part of a picture above the first row with a token that is yet to be drawn."""
    missing = np.any(candidate.tokens < 0, axis=1)  # (h,)
    return float(missing.argmax() / missing.size) if missing.any() else 1.0


def _image(source: str, prompt: str, index: int) -> str:
    return f'<img src="{source}" alt="{escape(prompt)}, picture {index}" decoding="sync">'
