"""What the model is: its numbers, and the model card of the README."""

import re
from html import escape
from pathlib import Path

from dalle.contracts import Bundle

_README = Path(__file__).resolve().parents[2] / "README.md"


def facts(bundle: Bundle, device: str) -> str:
    """The numbers of a model that is ready on a device."""
    (h, w), size = bundle.images.grid, bundle.images.size
    rows = {
        "Model": f"{bundle.title} ({bundle.name})",
        "Picture": f"{size} × {size} pixels, {h} × {w} = {h * w} tokens out of {bundle.images.vocab:,}",
        "Sentence": f"up to {bundle.text.length} tokens",
        "Device": device.upper(),
        "Ranking": "CLIP" if bundle.ranker else "none: this model has no CLIP",
        "Fingerprint": bundle.fingerprint[:16],
    }
    return (
        '<dl class="facts">'
        + "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
        + "</dl>"
    )


def model_card() -> str:
    """The README's section of that name, as Markdown; empty where there is none."""
    text = _README.read_text(encoding="utf-8") if _README.exists() else ""
    found = re.search(r"^## Model card\s*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""
