"""Pictures in and out: safe reading of uploads, tensors, PNG files that say how they were made, grids."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from dalle import share
from dalle.errors import PictureError

if TYPE_CHECKING:  # the page reads pictures and must not wait for torch
    from torch import Tensor

    from dalle.contracts import Bundle, Candidate, Request

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000  # what the best telephones make; decoded it takes 150 MB
WHITE = (255, 255, 255)

_META_KEY = "dalle"
_SOFTWARE = "dalle"
_XMP = (  # the IPTC term by which search engines and galleries know pictures that a model drew
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    "</rdf:RDF></x:xmpmeta>"
)


def read_picture(source: Path | bytes) -> Image.Image:
    """The picture in a file or its bytes, as RGB: first frame, upright, transparent parts over white.

    Raises PictureError for anything that is no whole picture of at most `MAX_PIXELS` in one of `FORMATS`.
    """
    with _open(source) as image:
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # on damaged files the decoders raise nearly everything there is
            raise PictureError("The picture is damaged or incomplete. Please try another file.") from error


def square(picture: Image.Image, size: int) -> Image.Image:
    """The largest centred square of a picture, `size` pixels along each side."""
    return ImageOps.fit(picture, (size, size), method=Image.Resampling.LANCZOS)


def grid(pictures: Sequence[Image.Image], columns: int | None = None, gap: int = 8) -> Image.Image:
    """Pictures of one size side by side, row by row, on white; without `columns`, about as many as rows."""
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    columns = min(columns, len(pictures))
    width, height = pictures[0].width + gap, pictures[0].height + gap
    sheet = Image.new("RGB", (columns * width + gap, -(-len(pictures) // columns) * height + gap), WHITE)
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (gap + i % columns * width, gap + i // columns * height))
    return sheet


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """B pictures of one size -> (B, 3, H, W) float32 in [0, 1]."""
    import torch

    pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])  # (B, H, W, 3)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous()


def to_pictures(images: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1], of any float type, on any device -> B pictures."""
    import torch

    pixels = images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return [Image.fromarray(p) for p in pixels.permute(0, 2, 3, 1).cpu().numpy()]  # each (H, W, 3)


def metadata(request: Request, candidate: Candidate, bundle: Bundle) -> dict[str, Any]:
    """All that is needed to draw this candidate again, and how it was liked."""
    recipe = share.note(share.Recipe.of(request, bundle))
    return recipe | {"index": candidate.index, "score": candidate.score, "scored_by": candidate.scored_by}


def save_png(picture: Image.Image, path: Path, meta: Mapping[str, Any]) -> None:
    """Write a PNG that carries `meta` as JSON, its prompt as the title, and the mark of generated media."""
    info = PngImagePlugin.PngInfo()
    info.add_text(_META_KEY, json.dumps(dict(meta)))
    info.add_text("Software", _SOFTWARE)
    if title := _printable(str(meta.get("prompt", ""))):
        info.add_text("Title", title)
        info.add_text("Description", title)
    info.add_itxt("XML:com.adobe.xmp", _XMP)
    picture.save(path, format="PNG", pnginfo=info)


def save_lossy(picture: Image.Image, path: Path) -> None:
    """Write a JPEG or WebP, by the name of the file, with the mark of generated media and nothing else."""
    picture.save(path, quality=92, xmp=_XMP.encode())


def read_meta(source: Path | bytes) -> dict[str, Any]:
    """What `save_png` wrote beside the pixels; empty for any other picture. Raises PictureError."""
    with _open(source) as image:
        try:
            meta = json.loads(image.info.get(_META_KEY, "{}"))
        except (TypeError, ValueError, RecursionError):
            return {}
    return meta if isinstance(meta, dict) else {}


def _open(source: Path | bytes) -> Image.Image:
    """Read the header only, and refuse what would be unsafe or useless to decode."""
    if isinstance(source, Path) and not os.path.isfile(source):
        raise PictureError("There is no picture file of that name.")
    try:
        image = Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS)
    except Image.DecompressionBombError:
        raise PictureError(f"The picture is too large. {_LIMIT}") from None
    except UnidentifiedImageError:
        raise PictureError(
            "The file is not a picture that can be read here. Please use PNG, JPEG, WebP, GIF, BMP or TIFF."
        ) from None
    except Exception as error:
        raise PictureError("The picture file cannot be opened. Please try another file.") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        megapixels = image.width * image.height / 1e6
        raise PictureError(f"The picture is too large, {megapixels:.0f} megapixels. {_LIMIT}")
    return image


_LIMIT = f"Please use one of at most {MAX_PIXELS // 1_000_000} megapixels."


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":  # 16- and 32-bit greys, which Pillow's own conversion would clip to white
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I;16") else max(values.max(), 1.0)
        return Image.fromarray((values / top * 255).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, WHITE)
    return Image.alpha_composite(paper, layer).convert("RGB")


def _printable(text: str) -> str:
    """Text that a PNG can hold: no control characters, no lone surrogates."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
