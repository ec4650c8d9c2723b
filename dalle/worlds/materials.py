"""Unrelated concepts in one drawing: a thing made of another, a thing in the shape of another."""

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from dalle.worlds.colors import RGB, shade

_RESOLUTION = 192


def textured(body: Image.Image, material: Image.Image) -> Image.Image:
    """`body` filled with small copies of `material`; the body's light and shade stay. RGBA in and out."""
    body = _scaled(body, _RESOLUTION)
    fill = _tiling(body.size, material)
    pixels = np.asarray(body, np.float32)
    alpha = pixels[..., 3]
    light = pixels[..., :3].mean(-1)  # (H, W)
    relative = light / max(float(np.median(light[alpha > 128])), 24.0)
    shading = np.clip(0.2 + 0.8 * relative, 0.2, 1.15)[..., None]
    painted = np.asarray(fill, np.float32) * shading
    result = np.dstack([painted.clip(0, 255), alpha]).astype(np.uint8)
    return _outlined(Image.fromarray(result, "RGBA"), typical_color(material))


def shaped(content: Image.Image, mold: Image.Image) -> Image.Image:
    """`content` in the outline of `mold`: a silhouette in the content's color, and the content inside it."""
    mold = _scaled(mold, _RESOLUTION)
    color = typical_color(content)
    silhouette = mold.getchannel("A")
    image = Image.new("RGBA", mold.size, (*shade(color, 1.45), 255))
    inner = _scaled(content, round(_RESOLUTION * 0.72))
    center = _balance_point(silhouette)
    image.alpha_composite(_placed(inner, center, mold.size))
    image.putalpha(silhouette)
    return _outlined(image, shade(color, 0.8), width=9)


def typical_color(drawing: Image.Image) -> RGB:
    """The median color of the visible pixels of an RGBA drawing."""
    pixels = np.asarray(drawing)
    r, g, b = np.median(pixels[pixels[..., 3] > 128][:, :3], axis=0)
    return int(r), int(g), int(b)


def polygon(sides: int) -> Image.Image:
    """A regular polygon, standing on a side, as a black RGBA drawing."""
    side = 4 * _RESOLUTION  # drawn large, so that scaling smooths its edges
    middle, radius = side / 2, side / 2 - 4
    turn = math.pi / 2 + math.pi / sides
    angles = [turn + 2 * math.pi * corner / sides for corner in range(sides)]
    corners = [(middle + radius * math.cos(angle), middle + radius * math.sin(angle)) for angle in angles]
    image = Image.new("RGBA", (side, side))
    ImageDraw.Draw(image).polygon(corners, fill=(0, 0, 0, 255))
    return image.crop(image.getbbox())


def _scaled(drawing: Image.Image, side: int) -> Image.Image:
    scale = side / max(drawing.size)
    size = max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale))
    return drawing.resize(size, Image.Resampling.LANCZOS)


def _tiling(size: tuple[int, int], material: Image.Image) -> Image.Image:
    """Rows of overlapping copies, every second row shifted by half, over the material's own color. RGB."""
    step = _RESOLUTION // 5
    tile = _scaled(material, round(step * 1.3))
    image = Image.new("RGB", size, shade(typical_color(material), 0.6))
    for row, y in enumerate(range(-step // 2, size[1], step)):
        for x in range(-step + (row % 2) * step // 2, size[0], step):
            image.paste(tile, (x, y), tile)
    return image


def _outlined(drawing: Image.Image, color: RGB, width: int = 5) -> Image.Image:
    """A dark rim just inside the silhouette, so that a busy filling keeps a clear outline."""
    silhouette = drawing.getchannel("A")
    padded = Image.new("L", (drawing.width + 2 * width, drawing.height + 2 * width))
    padded.paste(silhouette, (width, width))
    core = padded.filter(ImageFilter.MinFilter(width)).crop(
        (width, width, width + drawing.width, width + drawing.height)
    )
    rim = ImageChops.subtract(silhouette, core)
    result = drawing.copy()
    result.paste((*shade(color, 0.45), 255), mask=rim)
    result.putalpha(silhouette)
    return result


def _balance_point(silhouette: Image.Image) -> tuple[int, int]:
    rows, columns = np.nonzero(np.asarray(silhouette))
    return int(columns.mean()), int(rows.mean())


def _placed(drawing: Image.Image, center: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    layer = Image.new("RGBA", size)
    layer.paste(drawing, (center[0] - drawing.width // 2, center[1] - drawing.height // 2))
    return layer
