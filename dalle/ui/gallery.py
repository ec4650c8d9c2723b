"""The gallery as HTML: empty plates, plates that fill row by row, cards in CLIP's order."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

from dalle.contracts import Candidate, Update
from dalle.ui.parts import data_url

_FIRST = 8  # plates shown before anything was drawn


@dataclass(frozen=True)
class Card:
    """A finished picture and where its PNG lies, seen from the page."""

    candidate: Candidate
    address: str


def empty(count: int = _FIRST) -> str:
    """Plates that wait for a sentence."""
    plates = '<li class="card"><div class="plate"></div><p class="caption">&nbsp;</p></li>' * count
    return f'<ol class="gallery" data-stage="empty" aria-hidden="true">{plates}</ol>'


def drawing(update: Update, prompt: str, seed: int) -> str:
    """Every candidate as far as it is drawn; plates keep their place while they fill."""
    stage = "ranking" if update.stage == "ranking" else "sampling"
    cards = "".join(
        f'<li class="card" data-index="{c.index}">'
        f'<div class="plate">{_image(data_url(c.picture), prompt, c.index)}</div>'
        f'<p class="caption">{_seed(seed, c.index)}</p></li>'
        for c in update.candidates
    )
    return (
        f'<ol class="gallery" data-stage="{stage}"'
        f' style="--rows:{update.rows};--drawn:{update.row / max(1, update.rows):.4f}">{cards}</ol>'
    )


def finished(kept: Sequence[Card], dropped: Sequence[Card], sheet: str, prompt: str, seed: int) -> str:
    """The ranked gallery; what CLIP liked less is one click away."""
    scores = [c.candidate.score for c in (*kept, *dropped) if c.candidate.score is not None]
    span = (min(scores), max(scores)) if scores else None
    markup = (
        f'<ol class="gallery" data-stage="done">{_cards(kept, 1, span, prompt, seed)}</ol>'
        f'<p class="takeaway"><a href="{escape(sheet)}" download="grid.png">Download all as one sheet</a></p>'
    )
    if dropped:
        rest = _cards(dropped, len(kept) + 1, span, prompt, seed)
        title = f"{len(dropped)} more" + (" that CLIP ranked lower" if scores else "")
        markup += (
            f'<details class="dropped"><summary>{title}</summary>'
            f'<ol class="gallery" data-stage="done">{rest}</ol></details>'
        )
    return markup


def _cards(cards: Sequence[Card], first: int, span: tuple[float, float] | None, prompt: str, seed: int) -> str:
    return "".join(_card(card, rank, span, prompt, seed) for rank, card in enumerate(cards, first))


def _card(card: Card, rank: int, span: tuple[float, float] | None, prompt: str, seed: int) -> str:
    c, address = card.candidate, escape(card.address)
    best = rank == 1 and c.score is not None
    return (
        f'<li class="card{" best" if best else ""}" data-index="{c.index}">'
        f'<a class="plate" href="{address}" target="_blank">{_image(address, prompt, c.index)}</a>'
        f'<p class="caption"><b class="rank">{rank}</b>{_score(c.score, span)}'
        f'<a class="save" href="{address}" download="{seed}-{c.index}.png"'
        f' aria-label="Download picture {rank} as PNG">PNG</a>'
        f"{_seed(seed, c.index, best)}</p></li>"
    )


def _seed(seed: int, index: int, best: bool = False) -> str:
    praise = "<em>CLIP\u2019s choice</em>" if best else ""
    return f'<span class="seed"><span><i>seed </i>{seed} · {index}</span>{praise}</span>'


def _score(score: float | None, span: tuple[float, float] | None) -> str:
    if score is None or span is None or not isfinite(score):
        return ""
    low, high = span
    share = (score - low) / (high - low) if high > low else 1.0
    hint = "Cosine similarity of sentence and picture by CLIP. It compares pictures of one prompt only."
    return f'<span class="score" title="{hint}" style="--share:{share:.3f}">{score:.3f}</span>'


def _image(source: str, prompt: str, index: int) -> str:
    return f'<img src="{source}" alt="{escape(prompt)}, picture {index}" decoding="sync">'
