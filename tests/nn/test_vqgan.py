"""The VQGAN: sizes read off its tensors, odd grids, and its parts against slow obvious ones."""

from dataclasses import replace

import pytest
import torch

from dalle.errors import CheckpointError, ModelError
from dalle.nn.vqgan import VQGAN, VQGANConfig, sizes, unhaar

CONFIG = VQGANConfig(
    size=16, vocab=24, code_dim=6, latent=8, stem=32, widths=(64, 32), blocks=1, attention=(1,), gumbel=False
)
CHOICES = {
    "nearest": CONFIG,
    "likeliest": replace(CONFIG, gumbel=True),
    "draws only": replace(CONFIG, encoder=False, stem=64),
    "wavelet": replace(CONFIG, wavelet=True, gumbel=True),
    "attention everywhere": replace(CONFIG, attention=(0, 1), blocks=2),
}


@pytest.mark.parametrize("config", CHOICES.values(), ids=CHOICES.keys())
def test_sizes_are_read_off_the_tensors(config):
    assert sizes(VQGAN(config).state_dict(), size=16) == config


def test_tensors_of_another_net_are_refused():
    with pytest.raises(CheckpointError, match=r"decoder\.up\.0"):
        sizes({"weight": torch.zeros(3, 3)}, size=16)
    tensors = VQGAN(CONFIG).state_dict() | {"quantize.embedding.weight": torch.zeros(3)}
    with pytest.raises(CheckpointError, match="shapes"):
        sizes(tensors, size=16)


@pytest.mark.parametrize("name", ["nearest", "likeliest", "wavelet"])
def test_pictures_and_codes_of_any_shape(name):
    net = VQGAN(CHOICES[name])
    h, w = net.grid
    tokens = torch.randint(24, (2, h - 3, w))
    pictures = net.decode(tokens)
    assert pictures.shape == (2, 3, (h - 3) * net.size // h, net.size)
    assert pictures.min() >= 0 and pictures.max() <= 1
    codes = net.encode(pictures)
    assert codes.shape == tokens.shape and codes.dtype == torch.int64


def test_the_nearest_row_is_taken_and_the_first_of_equals():
    net = VQGAN(CONFIG)
    rows = net.quantize.rows.data
    rows[7] = rows[3]
    x = torch.randn(2, 6, 4, 4)
    x[0, :, 0, 0] = rows[7]
    slow = torch.cdist(x.permute(0, 2, 3, 1).reshape(-1, 6), rows).argmin(1).view(2, 4, 4)
    codes = net.quantize(x)
    assert codes[0, 0, 0] == 3
    assert torch.equal(codes, slow)


def test_a_net_without_encoder_says_so():
    with pytest.raises(ModelError, match="no encoder"):
        VQGAN(CHOICES["draws only"]).encode(torch.zeros(1, 3, 16, 16))


def test_wavelet_bands_become_pixels():
    bands = torch.randn(2, 12, 3, 5)
    pixels = unhaar(bands)
    for color in range(3):
        low, (a, b, c) = bands[:, color], bands[:, 3 + 3 * color : 6 + 3 * color].unbind(1)
        corners = {(0, 0): low + a + b + c, (1, 0): low - a + b - c, (0, 1): low + a - b - c, (1, 1): low - a - b + c}
        for (row, column), value in corners.items():
            torch.testing.assert_close(pixels[:, color, row::2, column::2], value / 2)
