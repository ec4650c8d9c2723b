"""Recipes: all that draws a gallery again, as a link that people pass on and as the note inside a PNG file.

A link spells the words and numbers out, so that a reader sees what it will do. Kept tokens are packed: a bit for each
place of the grid, then as many bits for each kept token as the largest one needs. A checksum at the end tells a link
that lost a piece on its way from one that is whole.
"""

import base64
import binascii
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

import numpy as np

from dalle.contracts import Bundle, Request, SamplingOptions
from dalle.errors import LinkError

MAX_LENGTH = 30_000  # characters of a link; browsers and servers take at least as many
_MAX_PROMPT, _MAX_COUNT, _MAX_SEED = 2000, 4096, 2**63 - 1
CHECK = "check"  # the part that tells a link from any other query
_PARTS = (  # in the order in which a link tells them
    *("prompt", "seed", "samples", "keep", "guidance", "temperature", "top_k", "top_p"),
    *("model", "fingerprint", "kept", "sweep"),
)
_COUNT = 8  # pictures of a recipe that does not say how many


@dataclass(frozen=True)
class Sweep:
    """A template's sentence, drawn once with each value of one slot."""

    template: str  # its id
    values: Mapping[str, str]  # of its slots
    axis: str  # the slot


@dataclass(frozen=True)
class Recipe:
    """What draws a gallery again, with the same bits on the same kind of device."""

    prompt: str
    model: str
    fingerprint: str  # of the model's weights
    seed: int
    samples: int
    keep: int
    options: SamplingOptions
    kept: np.ndarray | None = field(default=None, compare=False)  # (h, w) tokens, -1 where free
    sweep: Sweep | None = None  # then `prompt` is its title

    @classmethod
    def of(cls, request: Request, bundle: Bundle, sweep: Sweep | None = None) -> Self:
        """The recipe of what a model is asked for."""
        return cls(
            prompt=request.prompt,
            model=bundle.name,
            fingerprint=bundle.fingerprint,
            seed=request.seed,
            samples=request.samples,
            keep=request.keep or request.samples,
            options=request.options or bundle.options,
            kept=request.kept,
            sweep=sweep,
        )


def link(recipe: Recipe) -> str:
    """The query of an address, without its question mark."""
    kept = None if recipe.kept is None else pack(recipe.kept)
    sweep = None if recipe.sweep is None else json.dumps(asdict(recipe.sweep), separators=(",", ":"))
    query = _query({**vars(recipe), **asdict(recipe.options), "kept": kept, "sweep": sweep})
    return f"{query}&{CHECK}={_checksum(query)}"


def follow(query: str) -> Recipe:
    """The recipe of a link's query, whatever else an address holds. Raises LinkError."""
    if len(query) > MAX_LENGTH:
        raise LinkError("This link is too long to be one of this page.")
    told = dict(parse_qsl(query, keep_blank_values=True))
    if _checksum(_query(told)) != told.get(CHECK):
        raise LinkError("This link lost a part on its way. Please ask for it again and copy all of it.")
    return _recipe(told, told)


def note(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a picture's file tells it: without the number of samples, since no picture depends on it."""
    return {
        "prompt": recipe.prompt,
        "model": recipe.model,
        "fingerprint": recipe.fingerprint,
        "seed": recipe.seed,
        "settings": asdict(recipe.options),
        "kept": None if recipe.kept is None else pack(recipe.kept),
    }


def recall(told: Mapping[str, Any]) -> Recipe:
    """The recipe of a picture's note, with as many samples as it takes to meet that picture again.

    Raises LinkError.
    """
    settings = told.get("settings")
    if "prompt" not in told or not isinstance(settings, Mapping):
        raise LinkError("This picture does not tell how it was made: its prompt and settings were left out.")
    count = max(_COUNT, _whole(told, "index", 0, _MAX_COUNT - 1) + 1)
    return _recipe({"samples": count, "keep": count, **told}, settings)


def pack(kept: np.ndarray) -> str:
    """(h, w) tokens, -1 where free -> base64url of h, w, the bits of a token, the places and the tokens."""
    h, w = kept.shape
    mask = kept.flatten() >= 0  # (h*w,)
    tokens = kept.flatten()[mask].astype(np.int64)  # (n,)
    width = max(1, int(tokens.max(initial=0)).bit_length())
    bits = tokens[:, None] >> np.arange(width - 1, -1, -1) & 1  # (n, width)
    packed = bytes([h, w, width]) + np.packbits(mask).tobytes() + np.packbits(bits.astype(bool)).tobytes()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def unpack(text: str) -> np.ndarray:
    """What `pack` packed. Raises LinkError."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        h, w, width = packed[:3]
    except (ValueError, binascii.Error):
        raise _broken() from None
    places = 3 + math.ceil(h * w / 8)
    if not (h and w and 1 <= width <= 32) or len(packed) < places:
        raise _broken()
    mask = _bits(packed[3:places], h * w).astype(bool)  # (h*w,)
    count = int(mask.sum())
    if len(packed) != places + math.ceil(count * width / 8):
        raise _broken()
    bits = _bits(packed[places:], count * width).reshape(count, width)
    kept = np.full(h * w, -1, np.int64)
    kept[mask] = bits.astype(np.int64) @ (1 << np.arange(width - 1, -1, -1))
    return kept.reshape(h, w)


def _recipe(told: Mapping[str, Any], settings: Mapping[str, Any]) -> Recipe:
    """A recipe from words and numbers that came from outside; what a number may be is the engine's to say."""
    samples = _whole(told, "samples", 1, _MAX_COUNT)
    kept, sweep = told.get("kept"), told.get("sweep")
    return Recipe(
        prompt=_words(told, "prompt", _MAX_PROMPT),
        model=_words(told, "model", 200),
        fingerprint=_words(told, "fingerprint", 200),
        seed=_whole(told, "seed", 0, _MAX_SEED),
        samples=samples,
        keep=_whole(told, "keep", 1, samples),
        options=SamplingOptions(
            guidance=float(_number(settings, "guidance")),
            temperature=float(_number(settings, "temperature")),
            top_k=_whole(settings, "top_k", 0, _MAX_SEED),
            top_p=float(_number(settings, "top_p")),
        ),
        kept=unpack(kept) if isinstance(kept, str) else None,
        sweep=_sweep(sweep) if isinstance(sweep, str) else None,
    )


def _sweep(text: str) -> Sweep:
    try:
        told = json.loads(text)
        sweep = Sweep(told["template"], dict(told["values"]), told["axis"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _broken() from None
    if not all(isinstance(word, str) for word in (sweep.template, sweep.axis, *sweep.values.values())):
        raise _broken()
    return sweep


def _words(told: Mapping[str, Any], name: str, most: int) -> str:
    words = told.get(name)
    if not isinstance(words, str) or len(words) > most:
        raise _broken()
    return words


def _number(told: Mapping[str, Any], name: str) -> int | float:
    """A number, whole where it is written so."""
    try:
        text = str(told[name])
        value = int(text) if text.isdecimal() else float(text)
        if math.isfinite(value):
            return value
    except (KeyError, ValueError, OverflowError):
        pass
    raise _broken()


def _whole(told: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = _number(told, name)
    if value != int(value) or not low <= value <= high:
        raise _broken()
    return int(value)


def _bits(packed: bytes, count: int) -> np.ndarray:
    """(count,) the first bits of some bytes."""
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count)


def _query(told: Mapping[str, Any]) -> str:
    """The parts of a recipe in their order, and nothing else that an address may hold."""
    parts = {name: told[name] for name in _PARTS if told.get(name) is not None}
    return urlencode(parts, errors="replace")  # a lone surrogate cannot travel


def _checksum(query: str) -> str:
    return f"{zlib.crc32(query.encode()):08x}"


def _broken() -> LinkError:
    return LinkError("This recipe is damaged, or was made by another program: its parts do not fit together.")
