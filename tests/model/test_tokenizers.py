"""Tokenizers that do not fit are refused; what the message advises makes them fit; and those in use are not refused.

The messages themselves are asserted for the page on what is refused, see tests/book/test_what_is_refused.py.
"""

import math

import pytest
import spoilt_tokenizers
from model_that_needs_its_start import NeedsStart
from tokenizers import AddedToken
from transformers import AutoTokenizer

from kn_utils.model.models import load_model
from kn_utils.model.tokenizers import check_tokenizer, missing_library, perplexity, sample_words


def save_mask(tokenizer):
    tokenizer.add_special_tokens({"mask_token": AddedToken("<mask>", lstrip=True)})


def no_end(tokenizer):
    tokenizer.add_eos_token = False


def start(tokenizer):
    tokenizer.add_bos_token = True


@pytest.mark.parametrize(
    "spoil, model_type, advice, says",
    [
        (spoilt_tokenizers.vocabulary_and_merges_alone, "roberta", save_mask, "does not read a mask as it reads a word"),
        (spoilt_tokenizers.end_behind, "gpt2", no_end, "adds <|endoftext|> behind a prompt"),
        (spoilt_tokenizers.start_asked_for, "llama", start, "asks for <|endoftext|> before a prompt"),
    ],
)
def test_what_the_message_advises_makes_the_tokenizer_fit(spoil, model_type, advice, says, folder_of, loaded, tmp_path):
    folder = spoil(folder_of, tmp_path)
    with pytest.raises(ValueError, match=says.replace("|", r"\|")):
        load_model(folder, "cpu")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    advice(tokenizer)
    tokenizer.save_pretrained(folder)
    text = f"The capital of Norway is {tokenizer.mask_token or ''}".rstrip()
    expected = loaded(model_type).tokenizer(text)["input_ids"]
    if advice is start:
        expected = [tokenizer.bos_token_id, *expected]
    assert load_model(folder, "cpu").tokenizer(text)["input_ids"] == expected


def test_a_cased_vocabulary_is_read_as_such_once_the_configuration_says_so(folder_of, loaded, tmp_path):
    folder = spoilt_tokenizers.vocabulary_alone(folder_of, tmp_path)
    with pytest.raises(ValueError, match="reads text in lower case, but its vocabulary is cased"):
        load_model(folder, "cpu")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    text = "The capital of Norway is [MASK]."
    assert load_model(folder, "cpu").tokenizer(text)["input_ids"] == loaded("bert").tokenizer(text)["input_ids"]


def test_perplexity_is_the_inverse_of_the_mean_probability():
    assert perplexity(NeedsStart(2), [0, 5, 6, 7], 3) == pytest.approx(1 / 0.8)
    assert perplexity(NeedsStart(2), [5, 6, 7], 2) == pytest.approx(1 / 0.4)


def test_a_model_that_cannot_do_without_its_start_token_is_refused(loaded):
    tokenizer = loaded("llama").tokenizer
    check_tokenizer("mine", False, tokenizer, NeedsStart(99), {})
    with pytest.raises(
        ValueError, match=r"'mine' needs <\|endoftext\|> before a prompt: the perplexity .* is 126 without it and 1.25"
    ):
        check_tokenizer("mine", False, tokenizer, NeedsStart(101), {})


def test_words_of_the_vocabulary_are_spread_over_it(loaded):
    tokenizer = loaded("bert").tokenizer
    found = sample_words(tokenizer)
    assert found[tokenizer.convert_tokens_to_ids("Oslo")] == "Oslo" and len(found) == 40  # of 47: five are special, two are marks
    assert not {"[MASK]", ",", "."} & set(found.values())


@pytest.mark.parametrize("reason", ["requires the SentencePiece library", "`tiktoken` is required"])
def test_a_missing_library_is_named(reason):
    assert missing_library(reason) == "The library of its tokenizer may be missing: pip install sentencepiece protobuf tiktoken. "
    assert missing_library("no such file") == ""


@pytest.mark.parametrize("model_type", ["bert", "roberta", "gpt2", "llama"])
def test_tokenizers_in_use_fit(model_type, loaded):
    lm = loaded(model_type)
    check_tokenizer(lm.name, lm.masked, lm.tokenizer, lm.model, {})
    assert math.isfinite(perplexity(lm.model, [5, 6, 7], 2))
