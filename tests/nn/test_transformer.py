"""The transformer: drawing with a cache equals reading all at once, state is the caller's, the loss is the paper's."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dalle.nn.patterns import PATTERNS
from dalle.nn.transformer import Loss, Transformer, TransformerConfig

CONFIG = TransformerConfig(
    text_vocab=11, text_len=4, image_vocab=13, grid=(3, 4), width=20, depth=2, heads=2, head_dim=8, hidden=24
)


def make(**changes: object) -> Transformer:
    """A net in which every weight matters: the layers' outputs, zero at first, are random here."""
    torch.manual_seed(0)
    net = Transformer(replace(CONFIG, **changes))  # type: ignore[arg-type]
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.eval().requires_grad_(False)


def tokens(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(CONFIG.text_vocab, (batch, CONFIG.text_len), generator=generator)
    return text, torch.randint(CONFIG.image_vocab, (batch, CONFIG.image_len), generator=generator)


def stepped(net: Transformer, text: Tensor, image: Tensor, prefix: int) -> Tensor:
    """(B, I - prefix, V) logits of tokens prefix … I-1: prefill, then one step for each token."""
    logits, state = net.prefill(text, image[:, :prefix])
    rows = [logits]
    for index in range(prefix, image.shape[1] - 1):
        assert state.position == index
        rows.append(net.step(image[:, index], state))
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("patterns", [*((name,) for name in PATTERNS), ("row", "column")])
def test_drawing_with_a_cache_equals_reading_all_at_once(patterns, shift):
    net = make(patterns=patterns, shift=shift)
    text, image = tokens(3)
    whole = net(text, image)
    assert whole.shape == (3, CONFIG.image_len, CONFIG.image_vocab)
    for prefix in range(CONFIG.image_len):
        torch.testing.assert_close(stepped(net, text, image, prefix), whole[:, prefix:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("patterns", [(name,) for name in PATTERNS])
def test_compiled_attention_reads_as_the_kernel_does(patterns):
    net = make(patterns=patterns)
    text, image = tokens(3)
    compiled = torch.compile(net.forward, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(text, image), net(text, image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shift", [False, True])
def test_nothing_looks_ahead(shift):
    net = make(shift=shift)
    text, image = tokens(1)
    whole = net(text, image)
    for index in range(CONFIG.image_len):
        changed = image.clone()
        changed[:, index] = (changed[:, index] + 1) % CONFIG.image_vocab
        same = (net(text, changed) == whole).all(2)[0]
        assert same[: index + 1].all() and not same[index + 1 :].any()


def test_token_shift_reaches_the_pixel_above_and_no_further():
    """Without attention, all that one position knows of others comes by the shift."""
    net = make(shift=True, depth=1)
    nn.init.zeros_(net.layers[0].attention.out.weight)
    text, image = tokens(1)
    whole = net(text, image)
    changed = image.clone()
    changed[:, 5] = (changed[:, 5] + 1) % CONFIG.image_vocab  # row 1, column 1
    differs = (net(text, changed) != whole).any(2)[0].nonzero().flatten().tolist()
    assert differs == [6, 7, 10]  # predicted by token 5 itself, by its right neighbour, by the one below
    changed = image.clone()
    changed[:, 3] = (changed[:, 3] + 1) % CONFIG.image_vocab  # the end of row 0: nothing to its right
    differs = (net(text, changed) != whole).any(2)[0].nonzero().flatten().tolist()
    assert differs == [4, 8]


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("patterns", [("full",), ("row", "column", "torus11")])
@pytest.mark.parametrize("choices", [{}, {"reversible": True}, {"hidden_token": 3}, {"pattern_start": 3}], ids=str)
def test_guesses_that_were_wrong_leave_no_trace(choices, patterns, shift):
    net = make(patterns=patterns, shift=shift, **choices)
    text, image = tokens(3)
    whole = net(text, image)
    for size in range(1, CONFIG.grid[1] + 1):
        _, state = net.prefill(text, image[:, :1])
        right = 0
        while state.position < CONFIG.image_len - 1:
            index = state.position
            guesses = image[:, index : min(index + size, CONFIG.image_len - 1)].clone()
            right = right % guesses.shape[1] + 1  # of the guesses; the others are wrong
            guesses[:, right:] = (guesses[:, right:] + 1) % CONFIG.image_vocab
            logits = net.ahead(guesses, state)
            expected = whole[:, index + 1 : index + 1 + right]
            torch.testing.assert_close(logits[:, :right], expected, atol=1e-5, rtol=1e-5)
            state.accept(right)
            assert state.position == index + right


@pytest.mark.parametrize("shift", [False, True])
def test_a_repeated_state_goes_on_like_states_of_their_own(shift):
    net = make(shift=shift, patterns=("full", "column"))
    text, image = tokens(2)
    more = tokens(6, seed=1)[1]
    _, state = net.prefill(text, image[:, :5])
    fanned = state.repeat(3)
    for index in range(5, CONFIG.image_len - 1):
        logits = net.step(more[:, index], fanned)
    repeated = torch.cat([image[:, :5].repeat_interleave(3, 0), more[:, 5:]], dim=1)
    expected = net(text.repeat_interleave(3, 0), repeated)[:, -1]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert state.position == 5 and fanned.position == CONFIG.image_len - 1


@pytest.mark.parametrize("shift", [False, True])
def test_a_step_changes_nothing_but_its_state(shift):
    net = make(shift=shift)
    text, image = tokens(2)
    weights = copy.deepcopy(net.state_dict())
    _, state = net.prefill(text, image[:, :3])
    twin, image_before = state.repeat(1), image.clone()
    first = net.step(image[:, 3], state)
    assert torch.equal(net.step(image[:, 3], twin), first)
    assert torch.equal(image, image_before)
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.state_dict().items())


def test_text_alone_is_enough():
    net = make()
    text, image = tokens(2)
    logits = net(text)
    assert logits.shape == (2, 1, CONFIG.image_vocab)
    torch.testing.assert_close(logits, net(text, image)[:, :1])
    torch.testing.assert_close(logits[:, 0], net.prefill(text)[0])


class Brightness:
    """Reads each of the grid's places as one pixel."""

    grid, vocab, size = CONFIG.grid, CONFIG.image_vocab, 4

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        return (images[:, 0] * (self.vocab - 1)).round().long()

    def decode(self, tokens: Tensor) -> Tensor:
        raise NotImplementedError


def test_pixels_are_read_by_the_tokenizer_and_can_be_learned_from():
    net = make().requires_grad_()
    text, image = tokens(2)
    pixels = (image.view(2, 1, *CONFIG.grid) / (CONFIG.image_vocab - 1)).expand(-1, 3, -1, -1)
    torch.testing.assert_close(net(text, pixels, tokenizer=Brightness()), net(text, image))
    torch.testing.assert_close(net(text, image.view(2, *CONFIG.grid)), net(text, image))
    net(text, pixels, return_loss=True, tokenizer=Brightness()).total.backward()
    assert net.image_embedding.weight.grad is not None
    with pytest.raises(ValueError, match="tokenizer"):
        net(text, pixels)


@pytest.mark.parametrize("patterns", [("full",), ("row", "column")])
def test_the_loss_is_one_eighth_text_and_seven_eighths_image(patterns):
    net = make(patterns=patterns, shift=True)
    text, image = tokens(2)
    loss = net(text, image, return_loss=True)
    assert isinstance(loss, Loss)
    stream = net.trunk(net.embed(text, image))  # (B, T + I, D): row p predicts row p + 1
    of_text = [-net.text_head(stream[b, p]).log_softmax(0)[text[b, p + 1]] for b in range(2) for p in range(3)]
    of_image = [-net.image_head(stream[b, 3 + i]).log_softmax(0)[image[b, i]] for b in range(2) for i in range(12)]
    torch.testing.assert_close(loss.text, sum(of_text) / 6)
    torch.testing.assert_close(loss.image, sum(of_image) / 24)
    torch.testing.assert_close(loss.total, loss.text / 8 + 7 / 8 * loss.image)


def test_the_loss_needs_the_whole_picture():
    text, image = tokens(1)
    for part in (None, image[:, :5], image[:, :-1]):
        with pytest.raises(ValueError, match="all 12 image tokens"):
            make()(text, part, return_loss=True)


def test_learning_goes_on_after_drawing():
    """Masks are made once and kept, whoever asks first."""
    net = make(patterns=("window5",), grid=(3, 3)).requires_grad_()
    text, image = tokens(1)
    net.prefill(text)
    net(text, image[:, :9], return_loss=True).total.backward()
    assert net.position.grad is not None


def test_a_new_net_adds_nothing_to_the_stream():
    net = Transformer(CONFIG)
    text, image = tokens(1)
    x = net.embed(text, image)
    torch.testing.assert_close(net.trunk(x), net.norm(x))
