"""Which model draws: one line under the prompt that opens into a list."""

from collections.abc import Sequence
from html import escape

from dalle.ui.studios import Offer


def markup(offers: Sequence[Offer], chosen: str, title: str, device: str) -> str:
    """The line, and what can be chosen; models that are not here say what they need."""
    now = next((offer for offer in offers if offer.name == chosen), Offer(chosen, title))
    lines = "".join(_line(offer, offer.name == chosen, title) for offer in offers)
    return (
        f'<details class="picker"><summary><span class="by">drawn by</span> <b>{escape(title)}</b>'
        f'<span class="badge">{escape(device.upper())}</span>'
        f'<span class="tongue">{escape(" and ".join(now.languages))}</span></summary>'
        f"<fieldset><legend>Which model draws</legend>{lines}"
        '<p class="note">Others join when the page is started with their names:'
        " <code>python app.py --model emoji NAME</code>; their files come from the Hugging Face Hub.</p>"
        "</fieldset></details>"
    )


def _line(offer: Offer, chosen: bool, title: str) -> str:
    about = " · ".join(filter(None, (" and ".join(offer.languages), offer.licence)))
    need = "" if offer.here else f'<span class="need">{_need(offer)}</span>'
    state = "checked" if chosen else "" if offer.here else "disabled"
    return (
        f'<label><input type="radio" name="model" value="{escape(offer.name)}" {state}>'
        f"<span><b>{escape(title if chosen else offer.title)}</b>{need}"
        f"<small>{escape(about)}{'. ' if about and offer.note else ''}{escape(offer.note)}</small></span></label>"
    )


def _need(offer: Offer) -> str:
    return f"needs a download of {escape(offer.size)}" if offer.size else "not here"
