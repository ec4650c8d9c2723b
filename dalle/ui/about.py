"""What the model is: its numbers, what it was measured to draw, how programs call it, and its card."""

from html import escape
from importlib.util import find_spec
from pathlib import Path

from dalle import measured, modelcard
from dalle.contracts import Bundle
from dalle.ui.parts import home
from dalle.ui.studios import Offer

MCP = find_spec("mcp") is not None  # assistants can call the page, where the package for it is installed

_ROOT = Path(__file__).resolve().parents[2]


def sheet(bundle: Bundle, device: str, offer: Offer | None) -> str:
    """All about a model that is ready on a device, but for its card."""
    return f"{_facts(bundle, device, offer)}{_measured(bundle.place)}{_for_programs(bundle)}"


def model_card(bundle: Bundle) -> str:
    """What its folder says of a model that comes with the program, as Markdown; empty for what strangers wrote."""
    ours = bundle.place is not None and bundle.place.is_relative_to(_ROOT / "assets")
    return modelcard.read(bundle.place) if ours else ""


def _facts(bundle: Bundle, device: str, offer: Offer | None) -> str:
    (h, w), size = bundle.images.grid, bundle.images.size
    rows = {
        "Model": f"{bundle.title} ({bundle.name})",
        "Picture": f"{size} × {size} pixels, {h} × {w} = {h * w} tokens out of {bundle.images.vocab:,}",
        "Sentence": f"up to {bundle.text.length} tokens{_language(offer)}",
        "Device": device.upper(),
        "Ranking": _ranking(bundle),
        "Licence": offer.licence if offer and offer.licence else "not known here",
        "Fingerprint": bundle.fingerprint,
    }
    if offer and offer.note:
        rows["Note"] = offer.note
    return (
        '<dl class="facts">'
        + "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
        + "</dl>"
    )


def _ranking(bundle: Bundle) -> str:
    if not bundle.ranker:
        return "by its own likelihood: this model has no CLIP"
    return "CLIP, and their agreement where a picture or a word is given" if bundle.agreement else "CLIP"


def _language(offer: Offer | None) -> str:
    return f" of {' or '.join(offer.languages)}" if offer and offer.languages else ""


def _measured(place: Path | None) -> str:
    """What a model was measured to draw, by a judge or else by CLIP, where its folder tells."""
    if figures := measured.by_judge(place):
        how = "How often a judge that has no part in the drawing sees in a picture what the caption says"
    elif figures := measured.by_clip(place):
        how = f"How often CLIP finds the caption of a picture among {figures.among}"
    else:
        return ""
    lines = "".join(
        f"<tr{' class=all' * (row.family == 'all')}><th>{escape(row.kind)}</th>"
        f'<td><span class="bar" style="--share:{row.ranked:.3f}"></span></td>'
        f"<td>{row.ranked:.0%}</td><td>{row.random:.0%}</td><td>{row.real:.0%}</td></tr>"
        for row in figures.rows
    )
    return (
        f'<h3>What it draws, measured</h3><p class="note">{how}, for captions that training never saw: for the best of'
        f" {figures.samples} pictures, for a random one, and for the true picture.</p>"
        f'<table class="measured"><thead><tr><th>Kind of caption</th><td></td><th>Best of {figures.samples}</th>'
        f"<th>Random</th><th>True</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def _for_programs(bundle: Bundle) -> str:
    """A snippet that works as it is; a script of the page puts its address in."""
    code = escape(
        "from gradio_client import Client\n\n"
        'client = Client("ADDRESS")\n'
        'files, scores = client.predict("a red bird", samples=8, keep=4, seed=1, api_name="/generate")'
    ).replace("ADDRESS", f'<span data-address="{escape(home())}">http://localhost:7860/</span>')
    mcp = (
        f'Assistants call it by MCP at <code><span data-address="{escape(home())}"></span>gradio_api/mcp/</code>.'
        if MCP
        else "With <code>pip install 'gradio[mcp]'</code> the page also serves MCP, for assistants."
    )
    return (
        f'<h3>For programs</h3><pre tabindex="0" aria-label="Python" role="region"><code>{code}</code></pre>'
        f'<p class="note">The same seed and settings give the same files. {mcp}</p>'
    )
