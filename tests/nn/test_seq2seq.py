"""The encoder-decoder: what it remembers changes nothing, and padding is not looked at."""

import pytest
import torch

from dalle.nn.seq2seq import Seq2Seq, Seq2SeqConfig, StackConfig

CONFIG = Seq2SeqConfig(
    text_vocab=20,
    text_len=6,
    image_vocab=11,
    grid=(3, 4),
    width=16,
    encoder=StackConfig(depth=2, heads=2, hidden=24),
    decoder=StackConfig(depth=3, heads=4, hidden=20),
)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Seq2Seq(CONFIG).eval()


def sentences(count: int = 2) -> torch.Tensor:
    text = torch.randint(2, 20, (count, 6), generator=torch.Generator().manual_seed(1))
    text[0, 4:] = CONFIG.padding
    return text


def tokens(count: int = 2, length: int = CONFIG.image_len - 1) -> torch.Tensor:
    return torch.randint(0, 11, (count, length), generator=torch.Generator().manual_seed(2))


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("primed", [0, 5, 11])
def test_step_by_step_equals_all_at_once(net, primed):
    text, image = sentences(), tokens()
    whole = net(text, image)
    assert whole.shape == (2, 12, 11)
    logits, state = net.prefill(text, image[:, :primed])
    close(logits, whole[:, primed])
    for index in range(primed, image.shape[1]):
        close(net.step(image[:, index], state), whole[:, index + 1])


def test_a_prompt_is_read_once_for_many_candidates(net):
    text, image = sentences(), tokens(6)
    _, state = net.prefill(text)
    fan = state.repeat(3)
    for index in range(2):
        logits = net.step(image[:, index], fan)
    close(logits, net(text.repeat_interleave(3, 0), image[:, :2])[:, -1])
    close(net.step(image[:2, 0], state), net(text, image[:2, :1])[:, -1])  # the first state is as it was


def test_the_decoder_looks_at_the_sentence_but_not_at_its_padding(net):
    text, image = sentences(1), tokens(1)
    before = net(text, image)
    with torch.no_grad():
        padding = net.text_embedding.weight[CONFIG.padding].clone()
        net.text_embedding.weight[CONFIG.padding] += 1
        close(net(text, image), before)
        net.text_embedding.weight[CONFIG.padding] = padding
    text[0, 2] = 3 if text[0, 2] != 3 else 4
    assert (net(text, image) - before).abs().max() > 1e-2


def test_what_comes_later_is_not_seen(net):
    text, image = sentences(), tokens()
    other = image.clone()
    other[:, 6:] = (other[:, 6:] + 1) % 11
    close(net(text, image)[:, :7], net(text, other)[:, :7])
    assert not torch.allclose(net(text, image)[:, 7], net(text, other)[:, 7])
