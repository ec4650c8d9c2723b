"""Reading whatever people upload, and PNG files that remember how they were made."""

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from dalle import images, share
from dalle.contracts import Bundle, Candidate, Request, SamplingOptions
from dalle.errors import PictureError

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
RED, BLUE = (250, 5, 5), (5, 5, 250)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(size: tuple[int, int] = (64, 48)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def near(pixel: tuple[int, ...], color: tuple[int, ...], tolerance: int = 12) -> bool:
    return max(abs(a - b) for a, b in zip(pixel, color, strict=True)) <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_reads_as_rgb(kind):
    picture = images.read_picture(encoded(Image.new("RGB", (40, 30), RED), kind))
    assert (picture.mode, picture.size) == ("RGB", (40, 30)) and near(picture.getpixel((20, 15)), RED)


def test_a_file_reads_like_its_bytes(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(noise()))
    assert images.read_picture(path).tobytes() == images.read_picture(path.read_bytes()).tobytes()


def test_an_animation_gives_its_first_frame():
    data = encoded(Image.new("RGB", (8, 8), RED), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)])
    assert near(images.read_picture(data).getpixel((4, 4)), RED)


def test_a_turned_photo_is_set_upright():
    photo = Image.new("RGB", (60, 20), RED)
    photo.paste(BLUE, (0, 0, 30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held turned right: show it a quarter turn clockwise
    picture = images.read_picture(encoded(photo, "JPEG", exif=exif, quality=95, subsampling=0))
    assert picture.size == (20, 60)
    assert near(picture.getpixel((10, 5)), BLUE) and near(picture.getpixel((10, 55)), RED)


def test_print_colors_become_screen_colors():
    data = encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95)
    assert near(images.read_picture(data).getpixel((8, 8)), RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_lie_over_white(mode):
    layer = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    layer.paste((0, 0, 0, 255), (0, 0, 4, 8))
    image = layer.quantize(4) if mode == "P" else layer.convert(mode)
    picture = images.read_picture(encoded(image))
    assert picture.getpixel((1, 4)) == (0, 0, 0) and picture.getpixel((6, 4)) == (255, 255, 255)


def test_half_transparent_is_mixed_with_white():
    assert near(
        images.read_picture(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))).getpixel((1, 1)),
        (127,) * 3,
        1,
    )


def test_sixteen_bits_keep_their_shades():
    shades = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    picture = images.read_picture(encoded(Image.fromarray(shades)))
    assert np.asarray(picture)[..., 0].ravel().tolist() == list(range(256))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (640, 3)])
def test_odd_sizes_become_squares(size):
    picture = images.square(images.read_picture(encoded(Image.new("RGB", size, RED))), 32)
    assert picture.size == (32, 32) and picture.getpixel((16, 16)) == RED


def test_the_square_is_cut_from_the_middle():
    wide = Image.new("RGB", (90, 30), RED)
    wide.paste(BLUE, (30, 0, 60, 30))
    assert set(np.asarray(images.square(wide, 30)).reshape(-1, 3).sum(0)) == {5 * 900, 250 * 900}


def scrambled() -> bytes:
    data = bytearray(encoded(noise()))
    data[60:-60] = bytes(len(data) - 120)
    return bytes(data)


BAD = {
    "empty": (b"", "not a picture"),
    "text": (b"I am not a picture at all.\n" * 40, "not a picture"),
    "vector": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a picture"),
    "icon": (encoded(Image.new("RGB", (32, 32), RED), "ICO"), "not a picture"),
    "header only": (encoded(noise())[:40], "damaged|not a picture|cannot be opened"),
    "truncated PNG": (encoded(noise())[:-3000], "damaged"),
    "truncated JPEG": (encoded(noise((400, 400)), "JPEG")[:9000], "damaged"),
    "truncated WebP": (encoded(noise(), "WEBP")[:-300], "damaged|not a picture|cannot be opened"),
    "truncated BMP": (encoded(noise(), "BMP")[:-3000], "damaged"),
    "truncated TIFF": (encoded(noise(), "TIFF")[:3000], "damaged|not a picture|cannot be opened"),
    "scrambled PNG": (scrambled(), "damaged"),
    "100 megapixels": (encoded(Image.new("1", (10_000, 10_000))), "100 megapixels"),
    "400 megapixels": (encoded(Image.new("1", (20_000, 20_000))), "too large"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_end_in_a_sentence(name, tmp_path):
    data, words = BAD[name]
    path = tmp_path / "upload.png"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(PictureError, match=words) as caught:
            images.read_picture(source)
        assert str(caught.value).endswith(".") and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("path", [Path("nowhere.png"), Path("."), Path("/dev/null"), Path("x" * 5000)])
def test_what_is_no_file_ends_in_a_sentence(path):
    with pytest.raises(PictureError, match="no picture file"):
        images.read_picture(path)


def test_pictures_survive_the_way_through_tensors():
    pictures = [noise(), Image.new("RGB", (64, 48), RED)]
    tensor = images.to_tensor(pictures)
    assert tensor.shape == (2, 3, 48, 64) and tensor.dtype == torch.float32
    assert tensor.min() >= 0 and tensor.max() == 1
    assert [p.tobytes() for p in images.to_pictures(tensor)] == [p.tobytes() for p in pictures]


def test_values_out_of_range_are_clamped_and_half_precision_is_read():
    tensor = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.bfloat16).view(1, 3, 1, 1)
    assert images.to_pictures(tensor)[0].getpixel((0, 0)) == (0, 128, 255)


def test_a_grid_shows_the_pictures_row_by_row():
    colors = [(i * 40, 0, 0) for i in range(5)]
    sheet = images.grid([Image.new("RGB", (10, 20), c) for c in colors], columns=3, gap=2)
    assert sheet.size == (2 + 3 * 12, 2 + 2 * 22)
    assert [sheet.getpixel((7 + i % 3 * 12, 12 + i // 3 * 22)) for i in range(5)] == colors
    assert sheet.getpixel((31, 34)) == images.WHITE
    assert images.grid([noise()], columns=4, gap=0).tobytes() == noise().tobytes()


def test_a_png_remembers_how_it_was_made(tmp_path):
    path = tmp_path / "1.png"
    meta = {"prompt": "ein «Vögel» 鳥\x00\n🐦\ud800", "model": "emoji", "seed": 3, "index": 5, "score": 0.25}
    picture = noise()
    images.save_png(picture, path, meta)
    assert images.read_meta(path) == images.read_meta(path.read_bytes()) == meta
    assert images.read_picture(path).tobytes() == picture.tobytes()
    with Image.open(path) as image:
        assert image.info["Title"] == image.info["Description"] == "ein «Vögel» 鳥  🐦"
        (description,) = ElementTree.fromstring(image.info["xmp"]).iter(f"{RDF}Description")
    assert [value.rpartition("/")[2] for value in description.attrib.values()] == [
        "",
        "trainedAlgorithmicMedia",
    ]


def test_other_pictures_have_no_metadata():
    assert images.read_meta(encoded(noise())) == {}
    info = images.PngImagePlugin.PngInfo()
    info.add_text("dalle", "[1, 2")
    assert images.read_meta(encoded(noise(), pnginfo=info)) == {}
    with pytest.raises(PictureError):
        images.read_meta(b"nothing")


@pytest.mark.parametrize("note", ["[" * 100_000, "{", "[1]"])
def test_damaged_metadata_is_none(note):
    info = images.PngImagePlugin.PngInfo()
    info.add_text("dalle", note)
    assert images.read_meta(encoded(noise(), pnginfo=info)) == {}


def test_metadata_names_all_that_draws_the_picture_again():
    own = SamplingOptions(guidance=3.0)
    bundle = Bundle("emoji", "Emoji", None, None, None, None, own, fingerprint="abc")  # type: ignore[arg-type]
    candidate = Candidate(4, noise(), np.zeros((2, 2), np.int64), score=0.5)
    request = Request("a red bird", seed=7, kept=np.array([[5, -1], [-1, -1]]))
    meta = images.metadata(request, candidate, bundle)
    assert (meta["seed"], meta["index"], meta["model"], meta["fingerprint"]) == (7, 4, "emoji", "abc")
    assert meta["settings"]["guidance"] == 3.0
    assert (share.recall(meta).kept == request.kept).all()
    chosen = images.metadata(Request("x", options=SamplingOptions(top_k=9)), candidate, bundle)
    assert chosen["settings"]["top_k"] == 9 and chosen["kept"] is None
