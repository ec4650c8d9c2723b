"""Solids drawn by hand: cube, sphere, cylinder, cone, pyramid. They take any color."""

from collections.abc import Callable

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from dalle.worlds.colors import RGB, shade

_SIZE = 256
_Points = list[tuple[float, float]]


def _cube(color: RGB) -> Image.Image:
    image = Image.new("RGBA", (_SIZE, _SIZE))
    draw = ImageDraw.Draw(image)
    top: _Points = [(8, 70), (70, 12), (248, 12), (186, 70)]
    side: _Points = [(186, 70), (248, 12), (248, 186), (186, 244)]
    draw.rectangle((8, 70, 186, 244), fill=color)
    draw.polygon(top, fill=shade(color, 1.35))
    draw.polygon(side, fill=shade(color, 0.7))
    edge = shade(color, 0.5)
    for line in (top + top[:1], side + side[:1], [(8, 70), (8, 244), (186, 244)]):
        draw.line(line, fill=edge, width=5, joint="curve")
    return image


def _sphere(color: RGB) -> Image.Image:
    mask = Image.new("L", (_SIZE, _SIZE))
    ImageDraw.Draw(mask).ellipse((8, 8, 248, 248), fill=255)
    image = Image.new("RGBA", (_SIZE, _SIZE), (*shade(color, 0.62), 255))
    for inset, factor in ((0, 0.75), (22, 0.88), (44, 1.0), (66, 1.12)):
        light = Image.new("L", (_SIZE, _SIZE))
        ImageDraw.Draw(light).ellipse((8 + inset * 0.3, 8 + inset * 0.3, 236 - inset, 236 - inset), fill=255)
        image.paste((*shade(color, factor), 255), mask=light.filter(ImageFilter.GaussianBlur(9)))
    ImageDraw.Draw(image).ellipse((66, 52, 108, 88), fill=(*shade(color, 1.8), 255))
    image.putalpha(mask)
    return image


def _striped(color: RGB, mask: Image.Image) -> Image.Image:
    """A body lit from the left: light, plain and dark vertical bands, seen through `mask`."""
    image = Image.new("RGBA", (_SIZE, _SIZE), (*color, 255))
    light, dark = Image.new("L", (_SIZE, _SIZE)), Image.new("L", (_SIZE, _SIZE))
    ImageDraw.Draw(light).rectangle((66, 0, 104, _SIZE), fill=230)
    ImageDraw.Draw(dark).rectangle((170, 0, _SIZE, _SIZE), fill=230)
    image.paste((*shade(color, 1.35), 255), mask=light.filter(ImageFilter.GaussianBlur(16)))
    image.paste((*shade(color, 0.65), 255), mask=dark.filter(ImageFilter.GaussianBlur(22)))
    image.putalpha(ImageChops.multiply(mask, image.getchannel("A")))
    return image


def _cylinder(color: RGB) -> Image.Image:
    mask = Image.new("L", (_SIZE, _SIZE))
    draw = ImageDraw.Draw(mask)
    draw.rectangle((36, 40, 220, 216), fill=255)
    draw.ellipse((36, 184, 220, 248), fill=255)
    draw.ellipse((36, 8, 220, 72), fill=255)
    image = _striped(color, mask)
    ImageDraw.Draw(image).ellipse((36, 8, 220, 72), fill=(*shade(color, 1.3), 255), outline=shade(color, 0.8), width=3)
    return image


def _cone(color: RGB) -> Image.Image:
    mask = Image.new("L", (_SIZE, _SIZE))
    draw = ImageDraw.Draw(mask)
    draw.polygon([(128, 8), (228, 216), (28, 216)], fill=255)
    draw.ellipse((28, 186, 228, 248), fill=255)
    return _striped(color, mask)


def _pyramid(color: RGB) -> Image.Image:
    image = Image.new("RGBA", (_SIZE, _SIZE))
    draw = ImageDraw.Draw(image)
    draw.polygon([(118, 12), (12, 224), (164, 246)], fill=shade(color, 1.1))
    draw.polygon([(118, 12), (164, 246), (246, 190)], fill=shade(color, 0.65))
    return image


SHAPES: dict[str, Callable[[RGB], Image.Image]] = {
    "cube": _cube,
    "sphere": _sphere,
    "cylinder": _cylinder,
    "cone": _cone,
    "pyramid": _pyramid,
}
SHAPE_WORDS = {"cube": ("cube", "block"), "sphere": ("sphere",)}
