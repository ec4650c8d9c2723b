"""The classifier's two ways of seeing: every place in a few channels, and what a question attends to."""

import torch

from dalle.nn.classifier import Classifier, ClassifierConfig

CONFIG = ClassifierConfig({"noun": "noun", "noun2": "noun"}, {"noun": ("cat", "dog")}, size=128, width=4, hidden=6)
FIRST, LAST = 0, (CONFIG.size // 8) ** 2 - 1  # places: the upper left and the lower right corner


def attending(*places: int) -> Classifier:
    """A net that sees nothing but the one place that each question attends to."""
    torch.manual_seed(0)
    net = Classifier(CONFIG).eval().requires_grad_(False)
    net.hidden.weight.zero_()
    net.sought.weight.zero_()
    net.focus.normal_()
    for question, place in enumerate(places):
        net.place[question, place] = 1e4
    return net


def test_a_question_reads_the_place_that_it_attends_to_and_no_other():
    net = attending(FIRST, LAST)
    picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    changed = picture.clone()
    changed[..., 96:, 96:] = 0  # the lower right corner
    before, after = net(picture), net(changed)
    assert before["noun"].shape == (1, 2)
    assert torch.equal(before["noun"], after["noun"])
    assert not torch.allclose(before["noun2"], after["noun2"])


def test_what_is_attended_to_looks_the_same_wherever_it_is():
    net = attending(17 * 3, 17 * 8)  # two places on the diagonal
    net.hidden.bias.zero_()
    net.focus[1] = net.focus[0]
    picture = torch.full((1, 3, 128, 128), 0.5)
    picture[..., 24:32, 24:32] = picture[..., 64:72, 64:72] = 0.0
    read = net(picture)
    torch.testing.assert_close(read["noun"], read["noun2"])


def test_a_fresh_net_leaves_attention_to_be_learned():
    torch.manual_seed(0)
    net = Classifier(CONFIG).eval().requires_grad_(False)
    pictures = torch.rand(2, 3, 128, 128)
    before = net(pictures)["noun"]
    net.place.normal_()
    assert torch.equal(net(pictures)["noun"], before)  # its values begin at zero
