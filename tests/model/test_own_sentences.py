"""A reader's own sentences: prompts as those of a data set, and one clear error for each that cannot be asked."""

import pytest
import torch

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.own_sentences import MASK, answer_prompts, best_answers, sentence_list, sentence_prompts, token_texts
from kn_utils.model.prompts import encode

CAPITAL = "The capital of Norway is [MASK]."
TWO = [CAPITAL, "[MASK] is the capital of Norway."]


@pytest.mark.parametrize(
    "sentences", [" a [MASK] |b [MASK].", "a [MASK]\nb [MASK].\n", ["a [MASK]", "b [MASK].", "a [MASK] ", ""]]
)
def test_sentences_are_a_list_or_a_text_with_a_bar_or_line_breaks_and_each_counts_once(sentences):
    assert sentence_list(sentences) == ["a [MASK]", "b [MASK]."]


@pytest.mark.parametrize("model_type, sentences", [("bert", TWO), ("roberta", TWO), ("gpt2", [CAPITAL]), ("llama", [CAPITAL])])
def test_prompts_are_those_of_a_data_set_with_these_templates(loaded, model_type, sentences):
    lm = loaded(model_type)
    templates = [sentence.replace(MASK, "[Y]").replace("Norway", "[X]") for sentence in sentences]
    fact = Fact("P36", 0, "Norway", "Oslo")
    of_data_set = encode(lm, Dataset("tiny", {"P36": [fact]}, {"P36": templates}, {"P36": "P36"}, None), [fact])
    found = answer_prompts(lm, sentences, " Oslo ")
    same = [(prompt.text, prompt.ids, prompt.position, prompt.target) for prompt in of_data_set]
    assert [(prompt.text, prompt.ids, prompt.position, prompt.target) for prompt in found] == same
    assert [(prompt.text, prompt.ids, prompt.position) for prompt in sentence_prompts(lm, sentences)] == [row[:3] for row in same]


@pytest.mark.parametrize("sentence", ["The capital of Norway is", CAPITAL, "The capital of Norway is [MASK]"])
def test_a_decoders_sentence_ends_before_the_answer_or_with_the_mask(loaded, sentence):
    [prompt] = answer_prompts(loaded("gpt2"), sentence, "Oslo")
    assert prompt.text == "The capital of Norway is" and prompt.position == len(prompt.ids) - 1
    assert loaded("gpt2").tokenizer.decode([prompt.target]) == " Oslo"


def test_a_sentence_that_differs_in_blanks_alone_is_an_error(loaded):
    with pytest.raises(
        ValueError, match="'The capital of Norway  is .MASK..' has the same tokens as a sentence before it: leave it out"
    ):
        answer_prompts(loaded("bert"), [CAPITAL, CAPITAL.replace(" is", "  is")], "Oslo")


def test_the_models_own_mask_is_a_mask_too(loaded):
    lm = loaded("roberta")
    assert answer_prompts(lm, CAPITAL.replace(MASK, "<mask>"), "Oslo") == answer_prompts(lm, CAPITAL, "Oslo")


def test_placeholders_of_data_sets_are_text(loaded):
    assert sentence_prompts(loaded("bert"), "The [X] of Norway is [MASK].")[0].text == "The [X] of Norway is [MASK]."


@pytest.mark.parametrize(
    "model_type, sentences, answer, says",
    [
        ("bert", "", "Oslo", "there is no sentence: write one or several, with [MASK] in place of the answer and | between them"),
        ("bert", " | ", "Oslo", "there is no sentence"),
        ("bert", [CAPITAL, "Norway"], "Oslo", "'Norway' has no mask, which tiny-bert-"),
        ("bert", "Norway", "Oslo", "write [MASK] in place of the answer"),
        (
            "bert",
            "[MASK] is [MASK].",
            "Oslo",
            "'[MASK] is [MASK].' has 2 masks, and one answer is predicted at a time: leave one [MASK]",
        ),
        ("bert", CAPITAL, " ", "answer is ' ': give the word that belongs in place of [MASK]"),
        ("bert", CAPITAL, "San Marino", "answer 'San Marino' is 2 tokens of tiny-bert-"),
        ("bert", CAPITAL, "San Marino", "San + Marino; it must be one token. Choose another one; the best answers of tiny-bert-"),
        ("bert", CAPITAL, "Osloo", "is not in the vocabulary of tiny-bert-"),
        ("bert", CAPITAL, "Osloo", " (did you mean Oslo?); it must be one token"),
        ("bert", "The " * 63 + "[MASK].", "Oslo", "has 67 tokens, and tiny-bert-"),
        ("bert", "The " * 63 + "[MASK].", "Oslo", "reads at most 64: shorten it"),
        ("gpt2", CAPITAL, "San Marino", "is 2 tokens of tiny-gpt2-"),
        ("gpt2", "[MASK] is the capital of Norway.", "Oslo", "goes on behind [MASK], and tiny-gpt2-"),
        ("gpt2", "Norway has a capital.", "Oslo", "reads from left to right: end the sentence before the answer"),
        ("gpt2", "[MASK].", "Oslo", "begins with the answer, and tiny-gpt2-"),
        ("gpt2", "[MASK] [MASK]", "Oslo", "has 2 masks"),
    ],
)
def test_what_cannot_be_asked_is_one_line_that_says_what_to_do(loaded, model_type, sentences, answer, says):
    with pytest.raises(ValueError) as failure:
        answer_prompts(loaded(model_type), sentences, answer)
    assert says in str(failure.value) and "\n" not in str(failure.value)


def test_another_answer_is_named_as_the_reader_knows_it(loaded):
    with pytest.raises(ValueError, match="^instead 'San Marino' is 2 tokens"):
        answer_prompts(loaded("bert"), CAPITAL, "San Marino", "instead")


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_best_answers_are_the_most_probable_tokens(loaded, model_type):
    lm = loaded(model_type)
    [prompt] = sentence_prompts(lm, CAPITAL)
    probability = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position].softmax(-1)
    best = probability.argsort(descending=True)[:3].tolist()
    found = best_answers(lm, prompt, 3)
    assert [word for word, _ in found] == token_texts(lm, best)
    assert [value for _, value in found] == pytest.approx(probability[best].tolist(), rel=1e-5)
    assert len(best_answers(lm, prompt, 10**6)) == len(probability)


def test_a_token_of_blanks_is_shown_as_in_python(loaded):
    lm = loaded("gpt2")
    assert token_texts(lm, lm.tokenizer("\n Oslo")["input_ids"]) == [r"'\n'", "Oslo"]
