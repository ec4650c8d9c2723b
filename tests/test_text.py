"""The text tokenizer: its row of tokens, what it folds, what it spells, and that no text breaks it."""

import pytest
import torch
from tokenizers import Tokenizer, models

from dalle.errors import CheckpointError
from dalle.text import BpeTokenizer

CAPTIONS = ["a red bird", "a blue bird on the beach", "a sign that says 'openai'", "the red bird's hat"] * 20
LENGTH = 16


@pytest.fixture(scope="module")
def tokenizer() -> BpeTokenizer:
    return BpeTokenizer.train(CAPTIONS, vocab_size=100, length=LENGTH)


def test_a_row_is_bos_pieces_and_the_paddings_of_the_positions_left(tokenizer):
    row = tokenizer.encode("a red bird")
    n = tokenizer.count("a red bird")
    assert row.shape == (LENGTH,) and row.dtype == torch.int64
    assert tokenizer.pieces("a red bird") == ["▁a", "▁red", "▁bird"] and n == 4
    assert row[0] == 0 and 1 not in row
    assert row[1:n].max() < tokenizer.bpe_size
    assert row[n:].tolist() == [tokenizer.bpe_size + p for p in range(n, LENGTH)]
    assert tokenizer.vocab == tokenizer.bpe_size + LENGTH


def test_the_empty_caption_is_the_null_caption(tokenizer):
    assert tokenizer.null.tolist() == [0, *range(tokenizer.bpe_size + 1, tokenizer.vocab)]
    assert tokenizer.encode(" \n ").equal(tokenizer.null) and tokenizer.count("") == 1


def test_what_is_too_long_is_cut(tokenizer):
    row = tokenizer.encode("red bird " * 1000)
    assert row.shape == (LENGTH,) and row.max() < tokenizer.bpe_size
    assert tokenizer.count("red bird " * 1000) == 2001


@pytest.mark.parametrize(
    "same", ["A  Red\tBIRD ", "a r\u0301ed bird", "a red\u00a0bird", "\x07a red bird", "a red bi\u200drd"]
)
def test_case_space_accents_and_invisible_characters_are_folded(tokenizer, same):
    assert tokenizer.encode(same).equal(tokenizer.encode("a red bird"))


@pytest.mark.parametrize("quotes", ["“{}”", "‘{}’", '"{}"', "«{}»"])
def test_quoted_words_are_spelled_whatever_the_quotes(tokenizer, quotes):
    assert tokenizer.pieces(f"a sign that says {quotes.format('red bird')}")[-10:] == [
        "▁'",
        *"red",
        "▁",
        *"bird'",
    ]


def test_a_quoted_word_is_set_where_it_will_stand_whatever_is_said_around_it(tokenizer):
    roomy = BpeTokenizer(Tokenizer.from_str(tokenizer._bpe.to_str()), length=40)
    letters = dict(zip(range(28, 36, 2), "bird", strict=True))  # of places 24 to 39
    for caption in ("a sign that says 'bird'", "‘Bird’ on the beach"):
        row, n = roomy.encode(caption), roomy.count(caption)
        for place in range(n, 40):
            spelled = letters.get(place)
            expected = roomy.bpe_size + place if spelled is None else roomy._bpe.token_to_id(spelled)
            assert row[place] == expected
    for caption in ("a red bird", "a sign that says 'redbirdhat'", "the red bird's hat " * 7 + "'bird'"):
        row, n = roomy.encode(caption), roomy.count(caption)
        assert row[n:].tolist() == [roomy.bpe_size + place for place in range(n, 40)]


def test_an_apostrophe_is_no_quote(tokenizer):
    assert tokenizer.pieces("the red bird’s hat")[1:3] == ["▁red", "▁bird's"]
    assert tokenizer.pieces("the red birds' hat")[1] == "▁red"
    assert tokenizer.pieces("a 'bird's' hat")[-9:-1] == ["▁'", *"bird's'"]


def test_typed_specials_are_plain_text(tokenizer):
    row = tokenizer.encode("[BOS] [UNK]")
    assert row.tolist().count(0) == 1


@pytest.mark.parametrize(
    "text", ["🍓👩‍🚀", "красная птица", "\x00\x01\x1b[31m", "\ud800", "'", "▁▁", "鳥" * 10_000, "ﷺ" * 500]
)
def test_any_text_encodes(tokenizer, text):
    row = tokenizer.encode(text)
    assert row.shape == (LENGTH,) and row.max() < tokenizer.vocab


def test_a_run_of_unknown_characters_is_one_unknown(tokenizer):
    assert tokenizer.encode("鳥鳥鳥 bird").tolist().count(1) == 1


def test_a_prompt_is_readable_when_some_letter_of_it_is_known(tokenizer):
    assert all(map(tokenizer.readable, ["a red bird", "7", "🍓 bird", "[UNK]"]))
    assert not any(map(tokenizer.readable, ["", "🍓", "красная птица", "鳥", "?!", "▁"]))


def test_dropout_respells_without_changing_the_sentence(tokenizer):
    dropped = tokenizer.with_dropout(0.5)
    spellings = {tuple(dropped.pieces("a red bird on the beach")) for _ in range(20)}
    assert len(spellings) > 1
    assert {"".join(pieces) for pieces in spellings} == {"▁a▁red▁bird▁on▁the▁beach"}
    assert tokenizer.pieces("a red bird") == ["▁a", "▁red", "▁bird"], "the original spells as before"
    assert dropped.null.equal(tokenizer.null)


def test_saving_and_loading_keeps_every_token(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.with_dropout(0.9).save(path)
    loaded = BpeTokenizer.load(path, LENGTH)
    for caption in {*CAPTIONS, "[BOS] 🍓 'openai'"}:
        assert loaded.encode(caption).equal(tokenizer.encode(caption))
    assert (loaded.vocab, loaded.length) == (tokenizer.vocab, LENGTH)


def test_training_twice_gives_the_same_vocabulary(tokenizer):
    again = BpeTokenizer.train(CAPTIONS, vocab_size=100, length=LENGTH)
    assert again.encode("the red bird's hat").equal(tokenizer.encode("the red bird's hat"))


def test_files_that_are_no_tokenizer_are_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        BpeTokenizer.load(path, LENGTH)
    path.write_text("{}")
    with pytest.raises(CheckpointError, match="not a tokenizer file"):
        BpeTokenizer.load(path, LENGTH)
    Tokenizer(models.BPE({"a": 0}, [])).save(str(path))
    with pytest.raises(CheckpointError, match="does not start with"):
        BpeTokenizer.load(path, LENGTH)
