"""Every closed choice of the transformer: a cached step gives what a whole pass gives."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dalle.nn.rotary import rotate, turns
from dalle.nn.transformer import Transformer, TransformerConfig

PLAIN = TransformerConfig(20, text_len=7, image_vocab=12, grid=(5, 5), width=18, depth=2, heads=2, head_dim=8)
CHOICES = {
    "plain": {},
    "geglu": {"mlp": "geglu"},
    "gelu_tanh": {"mlp": "gelu_tanh"},
    "sandwich": {"sandwich": True},
    "head_norm": {"head_norm": True},
    "pattern_start": {"pattern_start": 6, "patterns": ("lap", "torus11", "column")},
    "rotary": {"rotary": 6, "patterns": ("full", "column")},
    "reversible": {"reversible": True, "shift": True, "patterns": ("row", "full")},
    "divide": {"divide_by_max": True},
    "blocks": {"patterns": ("full", "blocks")},
    "gate": {"patterns": ("gate", "window5")},
    "hidden": {"hidden_token": 3, "patterns": ("full", "row", "quadrant5"), "depth": 3},
    "hidden blocks": {"hidden_token": 3, "patterns": ("blocks", "full")},
    "all": {
        "mlp": "geglu",
        "sandwich": True,
        "rotary": 4,
        "reversible": True,
        "shift": True,
        "divide_by_max": True,
        "hidden_token": 3,
        "patterns": ("full", "row", "column", "window5", "blocks", "gate"),
        "depth": 6,
    },
}


@pytest.fixture(params=CHOICES.values(), ids=CHOICES.keys())
def model(request) -> Transformer:
    torch.manual_seed(0)
    net = Transformer(replace(PLAIN, **request.param)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for name, buffer in net.named_buffers():
        buffer.copy_(turns(torch.randn(buffer.shape[1:])) if name == "rotation" else torch.rand(buffer.shape) < 0.6)
    if "blocks" in net.config.patterns:
        net.blocks[:, :, 0] = True  # the beginning is always seen
    return net


def test_a_cached_step_equals_a_whole_pass(model):
    text = torch.randint(4, 20, (2, 7))
    text[0, 4:] = 3
    text[1, 2] = 3
    image = torch.randint(0, 12, (2, 25))
    whole = model(text, image)  # (B, I, V)
    for first in (0, 7):
        logits, state = model.prefill(text, image[:, :first])
        logits, state, wide = logits.repeat_interleave(2, 0), state.repeat(2), image.repeat_interleave(2, 0)
        for index in range(first, 25):
            torch.testing.assert_close(logits[::2], whole[:, index], atol=1e-4, rtol=1e-4)
            logits = model.step(wide[:, index], state) if index < 24 else logits


def test_every_choice_learns(model):
    text, image = torch.randint(0, 20, (2, 7)), torch.randint(0, 12, (2, 25))
    loss = model(text, image, return_loss=True)
    torch.testing.assert_close(loss.total, (loss.text + 7 * loss.image) / 8)
    loss.total.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_pattern_may_begin_before_the_image():
    torch.manual_seed(0)
    model = Transformer(replace(PLAIN, pattern_start=6, patterns=("column",), depth=1)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    text, image = torch.arange(7)[None], torch.randint(0, 12, (1, 25))
    before = model(text, image)
    with torch.no_grad():
        model.text_embedding.weight[6] += torch.randn(18)
    changed = (model(text, image) - before).abs().amax(-1)[0] > 1e-6  # rows that see the last text token, by cell
    assert changed.nonzero().flatten().tolist() == [0, 5, 10, 15, 20]


def test_a_hidden_token_does_not_reach_the_image():
    torch.manual_seed(0)
    model = Transformer(replace(PLAIN, hidden_token=3, depth=1)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    text = torch.randint(4, 20, (1, 7))
    text[0, 5] = 3
    before = model(text)
    with torch.no_grad():
        model.text_embedding.weight[3] += torch.randn(18)
    torch.testing.assert_close(model(text), before)
    with torch.no_grad():
        model.text_embedding.weight[text[0, 4]] += torch.randn(18)
    assert (model(text) - before).abs().max() > 1e-3


def test_the_loss_counts_what_it_is_told_to():
    torch.manual_seed(0)
    text, image = torch.tensor([[5, 6, 7, 0, 0, 0, 0]]), torch.randint(0, 12, (1, 25))
    model = Transformer(replace(PLAIN, uncounted_token=0, image_weight=None))
    text_logits, image_logits = model.logits(text, image)
    text_terms = F.cross_entropy(text_logits[0, :2], text[0, 1:3], reduction="sum")
    image_terms = F.cross_entropy(image_logits[0], image[0], reduction="sum")
    loss = model(text, image, return_loss=True)
    torch.testing.assert_close(loss.total, (text_terms + image_terms) / 27)


def test_the_first_image_token_may_be_learned_as_text():
    torch.manual_seed(0)
    text, image = torch.randint(0, 20, (2, 7)), torch.randint(0, 12, (2, 25))
    model = Transformer(replace(PLAIN, seam_to_text=True))
    text_logits, image_logits = model.logits(text, image)
    labels = torch.cat([text[:, 1:], image[:, :1]], dim=1)
    loss = model(text, image, return_loss=True)
    torch.testing.assert_close(loss.text, F.cross_entropy(text_logits.flatten(0, 1), labels.flatten()))
    rest = F.cross_entropy(image_logits[:, 1:].flatten(0, 1), image[:, 1:].flatten())
    torch.testing.assert_close(loss.image, rest)


def test_embeddings_may_learn_slowly():
    text, image = torch.randint(0, 20, (2, 7)), torch.randint(0, 12, (2, 25))
    gradients = []
    for share in (1.0, 0.1):
        torch.manual_seed(0)
        model = Transformer(replace(PLAIN, embedding_gradient=share))
        torch.nn.init.normal_(model.layers[0].mlp.down.weight, std=0.3)
        model(text, image, return_loss=True).total.backward()
        gradients.append([p.grad for p in (model.position, model.image_embedding.weight, model.image_head.weight)])
    (position, embedding, head), (slow_position, slow_embedding, same_head) = gradients
    torch.testing.assert_close(slow_position, 0.1 * position)
    torch.testing.assert_close(slow_embedding, 0.1 * embedding)
    torch.testing.assert_close(same_head, head)


def test_rotation_keeps_lengths_and_tells_only_distances():
    x, y = torch.randn(2, 4, 8)
    angles = (torch.arange(4)[:, None] * torch.tensor([1.0, 0.1, 0.01])).repeat_interleave(2, 1)  # (S, R)
    turned, other = rotate(x, turns(angles)), rotate(y, turns(angles))
    torch.testing.assert_close(turned.norm(dim=1), x.norm(dim=1))
    torch.testing.assert_close(turned[:, 6:], x[:, 6:])
    later = rotate(x[:1], turns(angles[2:3])) @ rotate(y[:1], turns(angles[3:4])).T
    torch.testing.assert_close(rotate(x[:1], turns(angles[:1])) @ rotate(y[:1], turns(angles[1:2])).T, later)
    assert (turned @ other.T - x @ y.T).abs().max() > 1e-3
