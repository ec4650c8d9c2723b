"""OpenAI's dVAE: the pickled modules as published, against what the authors' code makes of them.

`DALLE_GOLDEN=DIR` takes a larger set of the same layout.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dalle import models, torchfile
from dalle.errors import CheckpointError, ModelError
from dalle.families import openai_dvae

CPU = torch.device("cpu")
OWN = Path(__file__).parents[1] / "golden" / "openai_dvae"
GOLDEN = Path(os.environ.get("DALLE_GOLDEN") or OWN.parent) / "openai_dvae"
NAMES = [path.name.removesuffix("_encoder.pkl") for path in sorted(GOLDEN.glob("*_encoder.pkl"))]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def folder(name: str, at: Path, halves: tuple[str, ...] = ("encoder", "decoder")) -> Path:
    """The halves as a person would keep them."""
    for half in halves:
        shutil.copyfile(GOLDEN / f"{name}_{half}.pkl", at / f"{half}.pkl")
    return at


def expected(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(np.atleast_1d(arrays[key])) for key in arrays}


def test_codes_and_pictures_are_those_of_the_authors(name, tmp_path):
    place, wanted = folder(name, tmp_path), expected(name)
    assert openai_dvae.detect(place)
    dvae = openai_dvae.load(place, CPU).images
    torch.testing.assert_close(dvae.logits(wanted["image"]), wanted["encoder_logits"], atol=1e-4, rtol=0)
    assert torch.equal(dvae.encode(wanted["image"]), wanted["indices"])
    torch.testing.assert_close(dvae.decode(wanted["indices"]), wanted["reconstruction"], atol=1e-4, rtol=0)
    top = dvae.decode(wanted["indices"][:, :2])
    assert top.shape[2:] == (16, wanted["image"].shape[3])


def test_a_missing_half_is_named(name, tmp_path):
    place = folder(name, tmp_path, ("encoder",))
    assert openai_dvae.detect(place)
    with pytest.raises(CheckpointError, match="decoder is missing"):
        openai_dvae.load(place, CPU)
    found = models.inspect(str(place / "encoder.pkl"))
    assert (found.family, found.missing) == ("openai_dvae", ("decoder",)) and found.files[0].parameters > 1000


def test_halves_that_do_not_belong_together(tmp_path):
    shutil.copyfile(OWN / "dvae_hid4_blk1_zip_encoder.pkl", tmp_path / "encoder.pkl")
    shutil.copyfile(OWN / "dvae_hid8_legacy_decoder.pkl", tmp_path / "decoder.pkl")
    with pytest.raises(CheckpointError, match=r"decoder\.pkl with encoder\.pkl .*decoder\."):
        openai_dvae.load(tmp_path, CPU)


def flava(name: str) -> str:
    """The same tensor in the copy of the encoder that comes with FLAVA."""
    for group in range(1, 5):
        name = name.replace(f"group_{group}.", f"group_{group}.group.")
    name = name.replace("res_path.", "res_path.path.")
    return name[:-1] + {"w": "weight", "b": "bias"}[name[-1]]


def test_an_encoder_with_other_names(name, tmp_path):
    folder(name, tmp_path, ("decoder",))
    encoder = torchfile.state_dict(torchfile.read(GOLDEN / f"{name}_encoder.pkl", openai_dvae.SHELLS))
    torch.save({flava(key): tensor for key, tensor in encoder.items()}, tmp_path / "pytorch_model.bin")
    wanted = expected(name)
    assert torch.equal(openai_dvae.load(tmp_path, CPU).images.encode(wanted["image"]), wanted["indices"])


def test_other_weights_are_not_taken_for_it(tmp_path):
    for content in (
        {"state_dict": {"input.weight": torch.ones(2)}},
        {f"blocks.group_1.block_{'9' * 5000}.w": torch.ones(2)},
    ):
        torch.save(content, tmp_path / "model.pt")
        assert not openai_dvae.detect(tmp_path)
    assert not openai_dvae.detect(tmp_path / "nothing")


def test_it_serves_as_an_image_tokenizer_and_is_no_whole_model(name, tmp_path):
    place = str(folder(name, tmp_path))
    assert models.load_images(place, CPU).size == 256
    with pytest.raises(ModelError, match="no transformer and no text tokenizer"):
        models.load(place, CPU)


def test_inspection(name, tmp_path):
    found = models.inspect(str(folder(name, tmp_path)))
    assert (found.family, found.missing) == ("openai_dvae", ("transformer", "text tokenizer", "CLIP"))
    assert found.sizes["image tokenizer"]["codes"] == expected(name)["encoder_logits"].shape[1]
    assert [file.types for file in found.files] == [("float32",)] * 2


def test_a_damaged_file_is_named(name, tmp_path):
    path = folder(name, tmp_path) / "encoder.pkl"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"encoder\.pkl is damaged"):
        models.inspect(str(tmp_path))


def halves(width: int, blocks: int, code_dim: int, vocab: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Encoder and decoder of any sizes, with the names of their authors."""
    dice = torch.Generator().manual_seed(blocks)

    def conv(name: str, n_in: int, n_out: int, kernel: int) -> dict[str, Tensor]:
        weight = torch.randn(n_out, n_in, kernel, kernel, generator=dice) / (kernel * n_in**0.5)
        return {f"{name}.w": weight, f"{name}.b": torch.randn(n_out, generator=dice) * 0.1}

    def groups(n_in: int, widths: list[int], kernels: tuple[int, ...]) -> dict[str, Tensor]:
        tensors = {}
        for group, n_out in enumerate(widths, start=1):
            for block in range(1, blocks + 1):
                at, sizes = f"blocks.group_{group}.block_{block}", [n_in, *[n_out // 4] * 3, n_out]
                tensors |= conv(f"{at}.id_path", n_in, n_out, 1) if n_in != n_out else {}
                for number, kernel in enumerate(kernels, start=1):
                    tensors |= conv(f"{at}.res_path.conv_{number}", *sizes[number - 1 : number + 1], kernel)
                n_in = n_out
        return tensors

    widths = [width, 2 * width, 4 * width, 8 * width]
    encoder = conv("blocks.input", 3, width, 7) | groups(width, widths, (3, 3, 3, 1))
    decoder = conv("blocks.input", vocab, code_dim, 1) | groups(code_dim, widths[::-1], (1, 3, 3, 3))
    return encoder | conv("blocks.output.conv", widths[-1], vocab, 1), decoder | conv("blocks.output.conv", width, 6, 1)


def slowly(tensors: dict[str, Tensor], x: Tensor, blocks: int, resample: Callable[[Tensor], Tensor]) -> Tensor:
    """One half, written out; three of its groups are followed by a change of resolution."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = tensors[f"{name}.w"]
        return F.conv2d(x, weight, tensors[f"{name}.b"], padding=(weight.shape[2] - 1) // 2)

    x = conv("blocks.input", x)
    for group in range(1, 5):
        for block in range(1, blocks + 1):
            at, y = f"blocks.group_{group}.block_{block}", x
            for number in range(1, 5):
                y = conv(f"{at}.res_path.conv_{number}", y.relu())
            x = (conv(f"{at}.id_path", x) if f"{at}.id_path.w" in tensors else x) + y / (4 * blocks) ** 2
        x = resample(x) if group < 4 else x
    return conv("blocks.output.conv", x.relu())


@pytest.mark.parametrize("sizes", [(6, 1, 5, 10), (4, 3, 32, 7), (9, 2, 1, 300)])
def test_other_sizes(tmp_path, sizes):
    encoder, decoder = halves(*sizes)
    torch.save(encoder, tmp_path / "a.pt")
    torch.save(decoder, tmp_path / "b.pt")
    dvae = openai_dvae.load(tmp_path, CPU).images
    pictures = torch.rand(1, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    logits = slowly(encoder, 0.8 * pictures + 0.1, sizes[1], lambda x: F.max_pool2d(x, 2))
    torch.testing.assert_close(dvae.logits(pictures), logits, atol=1e-5, rtol=1e-5)
    codes = logits.argmax(1)
    assert torch.equal(dvae.encode(pictures), codes)
    one_hot = F.one_hot(codes, sizes[3]).permute(0, 3, 1, 2).float()
    stats = slowly(decoder, one_hot, sizes[1], lambda x: F.interpolate(x, scale_factor=2.0))
    drawn = ((stats[:, :3].sigmoid() - 0.1) / 0.8).clamp(0, 1)
    torch.testing.assert_close(dvae.decode(codes), drawn, atol=1e-5, rtol=1e-5)
