"""The prepacked step computes what the plain one does."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dalle import sampling
from dalle.contracts import SamplingOptions
from dalle.nn.prepacked import PackedLinear, Prepacked, _alike, can_prepack
from dalle.nn.transformer import Transformer, TransformerConfig

PLAIN = TransformerConfig(text_vocab=20, text_len=6, image_vocab=32, grid=(4, 4), width=16, depth=2, heads=2)
CONFIGS = {
    "plain": PLAIN,
    "tanh": replace(PLAIN, mlp="gelu_tanh"),
    "gated": replace(PLAIN, mlp="geglu", sandwich=True),
    "shifted": replace(PLAIN, patterns=("row", "column"), shift=True),
    "hidden": replace(PLAIN, hidden_token=3, patterns=("full", "row")),
    "reversible": replace(PLAIN, patterns=("full", "gate"), reversible=True, head_norm=True),
}


def net_of(config: TransformerConfig) -> Transformer:
    torch.manual_seed(0)
    net = Transformer(config).eval()
    for weights in net.parameters():
        nn.init.normal_(weights, std=0.2)
    return net


@pytest.fixture(autouse=True)
def packing_is_possible():
    if not can_prepack(net_of(PLAIN)):
        pytest.skip("this PyTorch cannot prepack weights")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_are_those_of_the_plain_step(config):
    net = net_of(config)
    packed = Prepacked(net)
    text, image = torch.randint(20, (2, 6)), torch.randint(32, (8, 10))
    text[0, 2] = 3
    (wanted, state), (found, ours) = net.prefill(text, image[:2, :3]), packed.prefill(text, image[:2, :3])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    state, ours = state.repeat(4), ours.repeat(4)
    for tokens in image[:, 3:].T:
        wanted = net.step(tokens, state)
        torch.testing.assert_close(packed.step(tokens, ours), wanted, atol=1e-5, rtol=1e-5)


def test_guided_candidates_with_kept_tokens_are_the_same():
    net, options = net_of(PLAIN), SamplingOptions(guidance=2.0, top_k=8)
    kept = torch.full((16,), -1)
    kept[:3], kept[9] = 5, 7
    text, null = torch.arange(6), torch.zeros(6, dtype=torch.long)
    drawn = [
        torch.stack(list(sampling.draw(model, text, null, 3, range(3), options, kept)))
        for model in (net, Prepacked(net))
    ]
    assert torch.equal(*drawn)
    assert len(drawn[0].unique()) > 4


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_sequence_has_the_same_bits_in_any_company(config):
    packed = Prepacked(net_of(config))
    if packed.lanes is not None:  # nothing is promised, and eight are computed at a time
        assert packed.lanes == net_of(config).lanes
        return
    text, image = torch.randint(20, (1, 6)), torch.randint(32, (70, 5))
    _, prompt = packed.prefill(text)
    together, alone = prompt.repeat(70), [prompt.repeat(1) for _ in range(3)]
    for tokens in image.T:
        logits = packed.step(tokens, together)
        for row, state in zip((0, 33, 69), alone, strict=True):
            assert torch.equal(packed.step(tokens[row : row + 1], state)[0], logits[row])


def test_a_function_that_heeds_its_company_is_found_out():
    rows = torch.arange(6.0)[:, None]
    assert _alike(lambda x: x * 2, rows)
    assert not _alike(lambda x: x * 2 if len(x) > 1 else x * 3, rows)
    assert not _alike(lambda x: x + x[0], rows)


def test_the_plain_net_stays_as_it_was_and_shares_what_is_not_packed():
    net = net_of(PLAIN)
    packed = Prepacked(net)._net
    assert not any(isinstance(module, PackedLinear) for module in net.modules())
    assert not any(isinstance(module, nn.Linear) for module in packed.modules())
    assert packed.image_embedding.weight is net.image_embedding.weight
    assert packed.layers[0].mlp_norm.weight is net.layers[0].mlp_norm.weight


def test_other_types_and_places_are_left_alone():
    assert not can_prepack(net_of(PLAIN).bfloat16())
    assert not can_prepack(net_of(PLAIN).to("meta"))
