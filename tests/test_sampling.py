"""Sampling: filters and choice against slow obvious ones, and candidates that do not know of each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from dalle import sampling
from dalle.contracts import SamplingOptions, TokenModel
from dalle.errors import SettingError
from dalle.nn.seq2seq import Seq2Seq, Seq2SeqConfig, StackConfig
from dalle.nn.transformer import Transformer, TransformerConfig

N = -math.inf


def random_logits(rows: int, codes: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(rows, codes, generator=torch.Generator().manual_seed(seed))


def test_the_table_depends_on_seed_and_candidate_alone():
    table = sampling.uniforms(5, range(4), 16)
    assert table.shape == (4, 16) and table.dtype == torch.float64
    assert table.min() >= 0 and table.max() < 1 and len(table.unique()) == 64
    assert torch.equal(sampling.uniforms(5, [2], 16), table[2:3])
    assert torch.equal(sampling.uniforms(5, [3, 1], 8), table[[3, 1], :8])
    others = torch.cat([table, sampling.uniforms(6, range(4), 16), sampling.uniforms(2**63 - 1, range(4), 16)])
    assert len(others.unique()) == 3 * 64


def test_large_seeds_share_no_picture_with_small_ones():
    """A seed of two machine words is not the one-word seed of another candidate."""
    assert not torch.equal(sampling.uniforms(7 + 3 * 2**32, [0], 8), sampling.uniforms(7, [3], 8))


def test_choice_is_the_inverse_of_the_cumulated_probabilities():
    logits = random_logits(40, 9)
    logits[:, 4] = N
    uniforms = sampling.uniforms(1, range(40), 1)[:, 0]
    for row, u, chosen in zip(logits, uniforms, sampling.choose(logits, None, uniforms), strict=True):
        weights = [math.exp(value) for value in row.tolist()]
        left = u.item() * sum(weights)
        expected = 0
        while left >= weights[expected]:
            left -= weights[expected]
            expected += 1
        assert chosen == expected


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2**-53])
def test_what_has_no_probability_is_never_chosen(u):
    logits = torch.tensor([[N, 0.0, N, N], [N, N, N, -80.0], [0.0, N, N, 0.0], [N, 0.0, 0.0, N]])
    chosen = sampling.choose(logits, None, torch.full((4,), u, dtype=torch.float64))
    assert logits[range(4), chosen].isfinite().all()


def test_choice_maps_back_to_the_codes_that_were_left():
    codes = torch.tensor([[7, 3], [5, 9]])
    u = torch.tensor([0.2, 0.9], dtype=torch.float64)
    assert sampling.choose(torch.zeros(2, 2), codes, u).tolist() == [7, 9]


def _slow_filter(row: list[float], options: SamplingOptions) -> dict[int, float]:
    """The codes that may be drawn, with their probabilities."""
    order = sorted(range(len(row)), key=lambda code: -row[code])
    if options.temperature == 0:
        return {order[0]: 1.0}
    order = order[: options.top_k or len(row)]
    weights = {code: math.exp((row[code] - row[order[0]]) / options.temperature) for code in order}
    total, held, left = sum(weights.values()), 0.0, {}
    for code, weight in weights.items():
        if held / total < options.top_p:
            left[code] = weight
        held += weight
    return {code: weight / sum(left.values()) for code, weight in left.items()}


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [0, 1, 5, 12, 50])
@pytest.mark.parametrize("top_p", [1.0, 0.8, 0.3, 1e-9])
def test_filters_leave_what_they_should(temperature, top_k, top_p):
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p)
    logits = random_logits(6, 12)
    left, codes = sampling.filter_logits(logits, options)
    codes = torch.arange(12).expand(6, 12) if codes is None else codes
    for row, values, names in zip(logits.tolist(), left.softmax(1), codes.tolist(), strict=True):
        shares = {code: share for code, share in zip(names, values.tolist(), strict=True) if share > 0}
        assert shares == pytest.approx(_slow_filter(row, options), rel=1e-4)


@pytest.mark.parametrize("top_k", [1, 7, 64])
def test_the_likeliest_of_many_codes_are_found(top_k):
    logits = random_logits(5, 1024).round(decimals=1)  # many are equal
    left, codes = sampling.filter_logits(logits, SamplingOptions(top_k=top_k))
    assert torch.equal(left, logits.topk(top_k).values)
    assert torch.equal(logits.gather(1, codes), left)
    assert all(len(row.unique()) == top_k for row in codes)


def test_filters_do_not_touch_what_they_are_given():
    logits = random_logits(2, 8)
    before = logits.clone()
    sampling.filter_logits(logits, SamplingOptions(temperature=0.5, top_k=3, top_p=0.5))
    sampling.choose(logits, None, torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert torch.equal(logits, before)


def test_codes_are_drawn_as_often_as_they_are_likely():
    shares = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05])
    count = 20_000
    chosen = sampling.choose(shares.log().expand(count, -1), None, sampling.uniforms(3, [0], count)[0])
    drawn = torch.bincount(chosen, minlength=5) / count
    assert drawn[1] == 0 and (drawn - shares).abs().max() < 4 * 0.5 / count**0.5


def test_guidance_goes_from_the_captionless_logits_past_the_captioned_ones():
    captioned, captionless = random_logits(3, 5, seed=1), random_logits(3, 5, seed=2)
    both = torch.cat([captioned, captionless])
    for scale in (0.0, 1.0, 2.5):
        expected = (1 - scale) * captionless + scale * captioned
        torch.testing.assert_close(sampling.guide(both, scale), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": 21.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"guidance": -1.0},
        {"guidance": 101.0},
        {"guidance": math.nan},
    ],
)
def test_settings_out_of_range_end_in_a_sentence(wrong):
    with pytest.raises(SettingError, match=r"^[A-Z].* must .*\.$"):
        sampling.check(SamplingOptions(**wrong), can_guide=True)


@pytest.mark.parametrize(
    "published", [{"guidance": 64.0, "temperature": 16.0, "top_k": 16384}, {"temperature": 0.01, "top_p": 0.95}]
)
def test_what_was_published_is_in_range(published):
    assert sampling.check(SamplingOptions(**published), can_guide=True) == SamplingOptions(**published)


def test_guidance_is_off_where_there_is_no_empty_caption():
    options = SamplingOptions(guidance=3.0, top_k=7)
    assert sampling.check(options, can_guide=True) == options
    assert sampling.check(options, can_guide=False) == replace(options, guidance=1.0)


TEXT, NULL = torch.tensor([1, 2, 3]), torch.tensor([0, 0, 0])
SIZES = TransformerConfig(
    text_vocab=8, text_len=3, image_vocab=512, grid=(3, 4), width=64, depth=2, heads=2, shift=True
)


@pytest.fixture(scope="module")
def net() -> Transformer:
    torch.manual_seed(0)
    net = Transformer(SIZES)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net.eval().requires_grad_(False)


def pair() -> Seq2Seq:
    torch.manual_seed(0)
    stack = StackConfig(depth=1, heads=2, hidden=48)
    sizes = Seq2SeqConfig(8, 3, 512, grid=(3, 4), width=32, encoder=stack, decoder=stack)
    return Seq2Seq(sizes).eval().requires_grad_(False)


FREE = torch.full((SIZES.image_len,), -1)
KEPT = FREE.clone()
KEPT[:5] = torch.tensor([5, 6, 7, 8, 9])
SCATTERED = KEPT.clone()
SCATTERED[[7, 8, 11]] = torch.tensor([100, 0, 511])


def drawn(net: TokenModel, candidates: Sequence[int], options: SamplingOptions, kept: Tensor = FREE) -> Tensor:
    """(n, I - r) tokens of candidates of seed 9."""
    return torch.stack(list(sampling.draw(net, TEXT, NULL, 9, candidates, options, kept)), dim=1)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kept", [FREE, KEPT, SCATTERED])
def test_drawing_equals_reading_the_whole_stream_anew_for_every_token(net, guidance, kept):
    options = SamplingOptions(guidance=guidance, temperature=0.9, top_k=100, top_p=0.95)
    table = sampling.uniforms(9, range(2), SIZES.image_len)
    image = torch.empty(2, 0, dtype=torch.long)
    while image.shape[1] < SIZES.image_len:
        logits = net(TEXT.expand(2, -1), image)[:, -1]
        captionless = net(NULL.expand(2, -1), image)[:, -1]
        logits = captionless + guidance * (logits - captionless)
        tokens = sampling.choose(*sampling.filter_logits(logits, options), table[:, image.shape[1]])
        given = kept[image.shape[1]]
        tokens = tokens if given < 0 else given.expand(2)
        image = torch.cat([image, tokens[:, None]], dim=1)
    start = 0 if kept is FREE else 5
    assert torch.equal(drawn(net, range(2), options, kept), image[:, start:])


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kept", [FREE, KEPT, SCATTERED])
@pytest.mark.parametrize("lookahead", [2, 3, 4])
def test_looking_ahead_draws_what_single_steps_draw(net, lookahead, kept, guidance):
    options = SamplingOptions(guidance=guidance, top_k=100)
    likely = torch.zeros(11, SIZES.image_len)
    told = torch.zeros_like(likely)
    tokens = sampling.draw(net, TEXT, NULL, 9, range(11), options, kept, told, lookahead)
    expected = sampling.draw(net, TEXT, NULL, 9, range(11), options, kept, likely)
    assert torch.equal(torch.stack(list(tokens)), torch.stack(list(expected)))
    torch.testing.assert_close(told, likely, atol=1e-4, rtol=1e-4)


def test_looking_ahead_takes_few_passes_where_guesses_are_right(net, monkeypatch):
    """All but the first and the last are given, and alike: after the first pass, all that is left takes three."""
    reads: list[int] = []

    def ahead(tokens, state):
        reads.append(tokens.shape[1])
        return Transformer.ahead(net, tokens, state)

    monkeypatch.setattr(net, "ahead", ahead)
    kept = torch.full_like(FREE, 7)
    kept[[0, -1]] = -1
    assert len(list(sampling.draw(net, TEXT, None, 9, range(2), SamplingOptions(), kept, None, 4))) == 12
    assert reads == [4, 4, 4, 2]


def test_looking_ahead_draws_pictures_as_often_as_they_are_likely():
    """All 81 pictures of four tokens, by their exact probabilities."""
    torch.manual_seed(0)
    sizes = replace(SIZES, image_vocab=3, grid=(2, 2), shift=True)
    small = Transformer(sizes).eval().requires_grad_(False)
    for parameter in small.parameters():
        nn.init.normal_(parameter, std=0.2)
    pictures = torch.cartesian_prod(*[torch.arange(3)] * 4)  # (81, 4)
    logits = small(TEXT.expand(81, -1), pictures)
    shares = logits.log_softmax(2).gather(2, pictures[:, :, None]).sum((1, 2)).exp()
    count, free = 4000, torch.full((4,), -1)
    tokens = torch.stack(list(sampling.draw(small, TEXT, None, 5, range(count), SamplingOptions(), free, None, 2)), 1)
    found = torch.bincount(tokens @ torch.tensor([27, 9, 3, 1]), minlength=81)
    assert shares.sum() == pytest.approx(1, abs=1e-4)
    chi_squared = ((found - count * shares) ** 2 / (count * shares)).sum()
    assert chi_squared < 80 + 4 * 160**0.5  # mean and standard deviation of 80 degrees of freedom


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kept", [FREE, SCATTERED])
@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_likelihoods_are_what_the_model_says_without_guidance_and_filters(net, kind, kept, guidance):
    model = net if kind == "decoder" else pair()
    options = SamplingOptions(guidance=guidance, temperature=0.7, top_k=50, top_p=0.9)
    told = torch.full((3, SIZES.image_len), torch.nan)
    tokens = torch.stack(list(sampling.draw(model, TEXT, NULL, 9, [6, 0, 3], options, kept, told)), dim=1)
    start = SIZES.image_len - tokens.shape[1]
    assert told[:, :start].isnan().all()
    whole = torch.cat([kept[:start].expand(3, -1), tokens], dim=1)  # (n, I)
    logits = model(TEXT.expand(3, -1), whole[:, :-1])  # (n, I, V)
    expected = logits.softmax(2).gather(2, whole[:, :, None])[:, :, 0].log()
    torch.testing.assert_close(told[:, start:], expected[:, start:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_candidate_is_the_same_in_any_company(net, guidance):
    options = SamplingOptions(guidance=guidance)
    sixteen = drawn(net, range(16), options)
    assert len(sixteen.unique(dim=0)) == 16
    for candidates in ([0], range(3), range(8), range(9, 11), [13, 2, 7]):
        assert torch.equal(drawn(net, candidates, options), sixteen[list(candidates)])


@dataclass
class Recorder:
    """A model that passes on to another and remembers the logits that it gave."""

    net: Transformer
    given: list[Tensor]
    vocab: int = SIZES.image_vocab
    lanes: int | None = 4

    def prefill(self, text: Tensor, image: Tensor | None = None):
        return self.net.prefill(text, image)

    def step(self, tokens: Tensor, state):
        self.given.append(self.net.step(tokens, state))
        return self.given[-1]


@pytest.mark.parametrize("candidates", [[0], range(3), [6, 1], range(4, 8), [11]])
def test_even_the_last_bit_of_the_logits_is_the_same_in_any_company(net, candidates):
    """Same bits, not merely close: a rounding error is enough to draw another token."""
    few, many = Recorder(net, []), Recorder(net, [])
    drawn(few, candidates, SamplingOptions())
    drawn(many, range(12), SamplingOptions())
    groups = sorted({candidate // 4 for candidate in candidates})
    assert len(few.given) == (SIZES.image_len - 1) * len(groups)  # no step for the token after the last
    assert {len(logits) for logits in few.given} == {4}
    for place, group in enumerate(groups):
        for one, other in zip(few.given[place :: len(groups)], many.given[group::3], strict=True):
            assert torch.equal(one, other)


def test_a_model_without_lanes_computes_nothing_that_nobody_asked_for(net):
    recorder = Recorder(net, [], lanes=None)
    drawn(recorder, [3, 1, 5], SamplingOptions())
    assert {len(logits) for logits in recorder.given} == {3}


def test_temperature_zero_takes_the_likeliest_for_every_candidate(net):
    tokens = drawn(net, range(2), SamplingOptions(temperature=0))
    assert torch.equal(tokens[0], tokens[1])
    logits = net(TEXT[None], tokens[:1])[0]  # (I, V)
    assert torch.equal(logits.argmax(1), tokens[0])


def test_closing_stops_before_the_next_step(net):
    recorder = Recorder(net, [])
    tokens = sampling.draw(recorder, TEXT, None, 0, range(2), SamplingOptions(), FREE)
    next(tokens), next(tokens)
    tokens.close()
    assert len(recorder.given) == 1
