"""The discrete VAE: its shapes, the published sizes, and the losses against their formulas."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dalle.nn.dvae import DVAE, DVAEConfig, kl_to_uniform, map_pixels, pixels, reconstruction_loss

TINY = DVAEConfig(size=32, vocab=16, width=8, code_dim=4, groups=3, blocks=1)


def make(config: DVAEConfig = TINY) -> DVAE:
    torch.manual_seed(0)
    return DVAE(config).eval().requires_grad_(False)


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_the_published_sizes_give_the_published_counts():
    with torch.device("meta"):
        net = DVAE(DVAEConfig())
    assert sum(p.numel() for p in net.encoder.parameters()) == 53_786_240
    assert sum(p.numel() for p in net.decoder.parameters()) == 43_829_766
    assert (net.config.stride, net.grid, net.config.gain) == (8, (32, 32), 1 / 64)


@pytest.mark.parametrize(("groups", "stem", "stride"), [(3, 1, 4), (2, 2, 4), (3, 2, 8), (1, 4, 4)])
def test_a_picture_becomes_a_grid_and_a_grid_a_picture(groups, stem, stride):
    net = make(DVAEConfig(size=32, vocab=16, width=8, code_dim=4, groups=groups, blocks=2, stem=stem))
    side = 32 // stride
    assert net.config.stride == stride and net.grid == (side, side) and (net.vocab, net.size) == (16, 32)
    images = random(2, 3, 32, 32)
    tokens = net.encode(images)
    assert tokens.shape == (2, side, side) and tokens.dtype == torch.int64
    assert torch.equal(tokens, net.logits(images).argmax(1))
    decoded = net.decode(tokens)
    assert decoded.shape == images.shape and decoded.dtype == torch.float32
    assert decoded.min() >= 0 and decoded.max() <= 1


def test_the_decoder_may_be_deeper_where_it_sees_more():
    net = make(replace(TINY, painting=(3, 2, 1)))
    assert [len(group) for group in net.decoder.groups] == [3, 2, 1]
    assert [len(group) for group in net.encoder.groups] == [1, 1, 1]
    assert net.decode(torch.zeros(1, 8, 8, dtype=torch.int64)).shape == (1, 3, 32, 32)


def test_the_top_rows_decode_alone():
    net = make()
    tokens = torch.randint(16, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    whole = net.decode(tokens)
    top = net.decode(tokens[:, :7])
    assert top.shape == (2, 3, 28, 32)
    torch.testing.assert_close(top[:, :, :4], whole[:, :, :4])  # beyond the reach of what is missing


def test_a_token_is_read_from_its_own_place():
    net = make()
    images = random(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, :4, :4] = 1 - changed[:, :, :4, :4]
    far = (net.logits(changed) == net.logits(images)).all(1)[0]
    assert not far[0, 0] and far[-1, -1]


def test_a_nearly_hard_relaxation_is_the_codebook_row_of_the_likeliest_code():
    net = make()
    logits = 1000 * random(2, 16, 3, 3)
    expected = net.decoder.codebook(logits.argmax(1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(net.relax(logits, 0.01), expected)


def test_relaxed_codes_are_drawn_as_often_as_they_are_likely():
    """Gumbel's trick: at a low temperature the mixture is one code, drawn from the softmax."""
    net = make(DVAEConfig(size=32, vocab=4, width=8, code_dim=4, groups=3, blocks=1))
    net.decoder.codebook.weight.copy_(torch.eye(4))
    shares = torch.tensor([0.6, 0.3, 0.1, 0.0])
    torch.manual_seed(0)
    codes = net.relax(shares.log().clamp_min(-50).view(1, 4, 1, 1).expand(1, 4, 100, 100), 1e-3)
    torch.testing.assert_close(codes.sum(1), torch.ones(1, 100, 100))
    torch.testing.assert_close(codes.mean((0, 2, 3)), shares, atol=0.02, rtol=0)


def test_mapping_is_undone():
    images = random(2, 3, 4, 4)
    mapped = map_pixels(images)
    assert mapped.min() >= 0.1 and mapped.max() <= 0.9
    output = torch.cat([torch.logit(mapped), torch.zeros_like(mapped)], dim=1)
    torch.testing.assert_close(pixels(output), images)


def test_the_likelihood_is_the_logit_laplace_density():
    images, output = random(1, 3, 2, 2), torch.randn(1, 6, 2, 2, generator=torch.Generator().manual_seed(1))
    total = 0.0
    for c in range(3):
        for y in range(2):
            for x in range(2):
                pixel = 0.8 * images[0, c, y, x].item() + 0.1
                mean, scale = output[0, c, y, x].item(), math.exp(output[0, c + 3, y, x].item())
                spread = abs(math.log(pixel / (1 - pixel)) - mean) / scale
                total -= math.log(math.exp(-spread) / (2 * scale * pixel * (1 - pixel)))
    assert reconstruction_loss("logit_laplace", output, images).item() == pytest.approx(total / 12, rel=1e-5)


def test_the_likelihood_is_that_of_a_distribution():
    """Its density over all pixels sums to one, so that a sharper net cannot win by scale alone."""
    values = torch.linspace(1e-4, 1 - 1e-4, 20_001)
    mapped = values.view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    output = torch.tensor([0.3, 0.3, 0.3, -1.5, -1.5, -1.5]).view(1, 6, 1, 1)
    images = (mapped - 0.1) / 0.8  # the density lives on (0, 1), beyond the pixels' own range
    losses = torch.stack([reconstruction_loss("logit_laplace", output, image[None]) for image in images[::20]])
    assert torch.trapezoid(torch.exp(-losses), values[::20]).item() == pytest.approx(1, abs=0.02)


def test_the_plain_losses_look_at_pixels():
    images, output = random(2, 3, 4, 4), torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(1))
    gap = pixels(output) - images
    torch.testing.assert_close(reconstruction_loss("l1", output, images), gap.abs().mean())
    torch.testing.assert_close(reconstruction_loss("l2", output, images), gap.square().mean())
    with pytest.raises(ValueError, match="l3"):
        reconstruction_loss("l3", output, images)


def test_kl_is_zero_at_uniform_and_at_most_the_logarithm_of_the_codes():
    assert kl_to_uniform(torch.full((1, 16, 2, 2), 3.0)).item() == pytest.approx(0, abs=1e-6)
    sure = torch.zeros(1, 16, 2, 2)
    sure[:, 5] = 100
    assert kl_to_uniform(sure).item() == pytest.approx(math.log(16), rel=1e-6)
    logits = torch.randn(2, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    shares = logits.softmax(1)
    expected = sum((shares[:, v] * (shares[:, v] * 16).log()).mean() for v in range(16))
    assert kl_to_uniform(logits).item() == pytest.approx(expected.item(), rel=1e-5) and expected > 0


def test_convolutions_start_as_published():
    net = DVAE(DVAEConfig(size=32, vocab=64, width=32, code_dim=8, groups=2, blocks=1))
    for conv in (module for module in net.modules() if isinstance(module, nn.Conv2d)):
        fan_in = conv.weight[0].numel()
        assert conv.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.2)
        assert conv.bias is not None and not conv.bias.any()
