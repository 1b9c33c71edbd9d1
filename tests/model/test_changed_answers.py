"""Answers while neurons are changed: many prompts and sets at once give what one prompt and one set give by hand."""

import pytest
import torch
from brute_force import edited_logits
from tiny_models import MODELS, assert_no_hooks, near, random_batch, tiny_model, weight_sums

from kn_utils.model import forward
from kn_utils.model.changed_answers import changed_answers, edited_answers
from kn_utils.model.interventions import edited_value_vectors
from kn_utils.model.layouts import value_vectors
from kn_utils.model.prompts import Prompt

FACTORS = {"suppress": 0, "amplify": 2}
SEPARATE = [(model_type, changes) for model_type, changes in MODELS if model_type != "albert"]


def some_prompts(lm):
    """Five prompts of two lengths."""
    batches = [random_batch(lm, 3, length=7), random_batch(lm, 2, length=9)]
    return [
        Prompt(None, 0, "", tuple(ids), position, target)
        for batch in batches
        for ids, position, target in zip(batch.ids.tolist(), batch.position.tolist(), batch.target.tolist(), strict=True)
    ]


def some_sets(lm):
    """Sets of neurons for each prompt: some empty, some alike, in all layers."""
    top = lm.n_layers - 1
    one, two, three = [(top, 3)], [(0, 5), (top, 40)], [(1, 7), (1, 8)]
    return [[one, [], two], [three], [], [[(top, neuron) for neuron in range(0, 48, 5)], three, one], [[], []]]


def answer_by_hand(lm, prompt, neurons, factor):
    """ln(P / (1 - P)) of the target, and the most probable token, from a pass of the whole prompt with a hook of its own."""
    logits = edited_logits(lm, torch.tensor(prompt.ids), prompt.position, neurons, factor)
    return float(logits.softmax(-1)[prompt.target].logit()), int(logits.argmax())


@pytest.mark.parametrize(
    "tokens, worth_a_pass",
    [
        (forward.TOKENS_AT_ONCE, 32),  # all sets of prompts of a length in a pass
        (forward.TOKENS_AT_ONCE, 1),  # those with the same lowest layer
        (14, 32),  # two of the shorter prompts
    ],
)
@pytest.mark.parametrize("model_type, changes", MODELS)
def test_every_answer_is_that_of_one_prompt_and_one_set(model_type, changes, tokens, worth_a_pass, monkeypatch):
    monkeypatch.setattr(forward, "TOKENS_AT_ONCE", tokens)
    monkeypatch.setattr("kn_utils.model.changed_answers.WORTH_A_PASS", worth_a_pass)
    lm = tiny_model(model_type, **changes)
    prompts, sets = some_prompts(lm), some_sets(lm)
    found = changed_answers(lm, prompts, [("suppress", sets), ("amplify", sets[::-1])])
    for operation, answers, of_round in zip(FACTORS, found, (sets, sets[::-1]), strict=True):
        assert [len(of_prompt) for of_prompt in answers] == [len(of_prompt) for of_prompt in of_round]
        for prompt, of_prompt, wanted in zip(prompts, answers, of_round, strict=True):
            for answer, neurons in zip(of_prompt, wanted, strict=True):
                odds, top = answer_by_hand(lm, prompt, neurons, FACTORS[operation])
                assert answer.log_odds == pytest.approx(odds, rel=1e-4 if model_type in ("gpt_neo", "gptj") else 1e-7, abs=1e-6)
                assert answer.top == top
    assert_no_hooks(lm)


@pytest.mark.parametrize("model_type, changes", SEPARATE)
def test_every_edit_gives_the_answers_of_a_model_with_these_weights(model_type, changes):
    lm = tiny_model(model_type, **changes)
    before, prompts = weight_sums(lm), some_prompts(lm)
    tokens = [(prompt.target, 9) for prompt in prompts]
    top = lm.n_layers - 1
    vector = torch.linspace(-1, 1, value_vectors(lm.downs[0]).shape[1], dtype=torch.float64)
    edits = [{(top, 3): vector}, {}, {(1, 3): -vector, (top, 0): vector}, {(0, 9): 2 * vector}]
    found = edited_answers(lm, prompts, tokens, edits)
    assert weight_sums(lm) == before
    for answers, vectors in zip(found, edits, strict=True):
        with edited_value_vectors(lm, vectors):
            for row, prompt in enumerate(prompts):
                logits = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position]
                shares = logits.softmax(-1)
                asked = torch.tensor(tokens[row])
                assert answers.top[row] == int(logits.argmax())
                torch.testing.assert_close(torch.tensor(answers.probability[row]), shares[asked].double(), **near(model_type))
                assert answers.rank[row].tolist() == [1 + int((shares > shares[token]).sum()) for token in asked]
                assert answers.log_odds[row].tolist() == pytest.approx(shares[asked].logit().tolist(), rel=1e-3, abs=1e-5)
    assert_no_hooks(lm)
    plain = forward.predict(lm, prompts, tokens)
    assert found[1].top.tolist() == plain.top.tolist()


def test_an_error_in_an_edit_leaves_the_model_as_it_was():
    lm = tiny_model("bert")
    before, prompts = weight_sums(lm), some_prompts(lm)
    with pytest.raises(ValueError, match="no neuron"):
        edited_answers(lm, prompts, [(5,)] * 5, [{(2, 0): torch.ones(32)}, {(7, 0): torch.ones(32)}])
    assert weight_sums(lm) == before
    assert_no_hooks(lm)
