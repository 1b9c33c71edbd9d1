"""Forward passes: the plain model's answers and activations at the prediction position, and no hook left behind."""

import math

import pytest
import torch
from brute_force import probability_at
from tiny_models import MODELS, VOCABULARY, assert_no_hooks, near, probabilities_at, random_batch, some_prompts, tiny_model

from kn_utils.model.forward import (
    TOKENS_AT_ONCE,
    activations,
    each_layer,
    log_odds,
    predict,
    probabilities,
    probability_of,
    prompts_at_once,
)
from kn_utils.model.gradients import scaled_gradients
from kn_utils.model.layouts import LAYER_BY_LAYER
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Prompt


@pytest.mark.parametrize("model_type, changes", MODELS)
def test_answers_and_activations_are_those_of_the_plain_model(model_type, changes):
    lm = tiny_model(model_type, **changes)
    ids, position = some_prompts(lm)
    answers, neurons = probabilities_at(lm, ids, position), activations(lm, ids, position)
    assert answers.shape == (3, VOCABULARY) and neurons.shape == (3, lm.n_layers, lm.n_neurons)
    for row, at in enumerate(position.tolist()):
        torch.testing.assert_close(answers[row], lm.model(ids[row, None]).logits[0, at].softmax(-1), **near(model_type))
        plain = [probability_at(lm, ids[row], at, 0, layer)[1] for layer in range(lm.n_layers)]
        torch.testing.assert_close(neurons[row], torch.stack(plain), **near(model_type))
    assert all((neurons[:, layer] != neurons[:, layer + 1]).any() for layer in range(lm.n_layers - 1))
    assert_no_hooks(lm)


@pytest.mark.parametrize("model_type, changes", MODELS)
def test_what_has_to_be_read_again_gives_the_same_answers(model_type, changes):
    lm = tiny_model(model_type, **changes)
    batch = random_batch(lm)
    suffix = prompt_suffix(lm, batch)
    assert suffix.ids.shape[1] == (batch.ids.shape[1] if lm.masked or lm.way == LAYER_BY_LAYER else 1)
    first, again = (probabilities(lm, suffix) for _ in range(2))
    torch.testing.assert_close(first, probabilities_at(lm, batch.ids, batch.position), **near(model_type))
    assert torch.equal(first, again)  # what was lent is as it was
    some = suffix.select(torch.tensor([1, 0]))
    of_some = probabilities(lm, some)
    torch.testing.assert_close(of_some, first[[1, 0]], **near(model_type))
    assert some.target.tolist() == batch.target[[1, 0]].tolist()


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_the_activations_are_those_that_attribution_starts_from(model_type):
    lm = tiny_model(model_type)
    batch = random_batch(lm)
    gradients = scaled_gradients(lm, prompt_suffix(lm, batch), [torch.ones(1, dtype=torch.float64)] * lm.n_layers)
    expected = torch.stack([layer.activation for layer in gradients.layers], dim=1)
    torch.testing.assert_close(activations(lm, batch.ids, batch.position), expected, **near(model_type))


@pytest.mark.parametrize("model_type", ["bert", "roberta", "modernbert", "llama", "opt"])
def test_the_vocabulary_projection_runs_at_one_position_alone(model_type):
    lm = tiny_model(model_type)
    ids, position = some_prompts(lm)
    shapes = []
    hook = lm.model.get_output_embeddings().register_forward_hook(lambda head, args, logits: shapes.append(logits.shape))
    probabilities_at(lm, ids, position)
    hook.remove()
    assert shapes == [(3, 1, VOCABULARY)]


@pytest.mark.parametrize("model_type, tokens", [("bert", 1), ("distilbert", 1), ("modernbert", 9), ("llama", 9)])
def test_the_last_layer_of_an_encoder_whose_attention_is_known_runs_at_one_position_alone(model_type, tokens):
    lm = tiny_model(model_type)
    ids, position = some_prompts(lm)
    shapes = []
    with each_layer(lm, 3, lambda layer, inner: shapes.append(tuple(inner.shape))):
        probabilities_at(lm, ids, position)
    assert shapes == [(3, 9, 48), (3, 9, 48), (3, tokens, 48)]


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_half_precision_logits_become_float32_probabilities(model_type):
    lm = tiny_model(model_type, torch.bfloat16)
    answers = probabilities_at(lm, *some_prompts(lm))
    assert answers.dtype == torch.float32
    torch.testing.assert_close(answers.sum(-1), torch.ones(3))


@pytest.mark.parametrize("model_type", ["bert", "albert", "gpt2"])
@pytest.mark.parametrize("read", [probabilities_at, activations])
def test_no_hook_is_left_when_a_pass_fails(model_type, read):
    lm = tiny_model(model_type)
    ids, position = some_prompts(lm)
    expected = read(lm, ids, position)
    for wrong in ((ids + VOCABULARY, position), (ids, position + 9)):  # fails before the first hook runs, and inside one
        with pytest.raises(IndexError):
            read(lm, *wrong)
        assert_no_hooks(lm)
    assert torch.equal(read(lm, ids, position), expected)


@pytest.mark.parametrize("model_type, changes", [("bert", {}), ("opt", {}), *MODELS[-2:]])
def test_each_layer_is_visited_in_turn_in_every_pass(model_type, changes):
    lm = tiny_model(model_type, **changes)
    ids, _ = some_prompts(lm)
    visits = []
    with each_layer(lm, len(ids), lambda layer, inner: visits.append((layer, tuple(inner.shape)))):
        seen = [lm.model(ids).logits for _ in range(2)]
    assert visits == [(layer, (3, 9, lm.n_neurons)) for layer in range(lm.n_layers)] * 2
    assert torch.equal(seen[0], lm.model(ids).logits) and torch.equal(seen[1], seen[0])
    assert_no_hooks(lm)


def test_what_a_visit_returns_takes_the_activations_place():
    lm = tiny_model("gpt2")
    ids, _ = some_prompts(lm)
    with each_layer(lm, len(ids), lambda layer, inner: torch.zeros_like(inner) if layer == 1 else None):
        found = lm.model(ids).logits
    with torch.no_grad():
        lm.downs[1].weight.zero_()
    torch.testing.assert_close(found, lm.model(ids).logits, **near("gpt2"))


def test_prompts_at_once():
    assert [prompts_at_once(length) for length in (1, 8, TOKENS_AT_ONCE, TOKENS_AT_ONCE + 1)] == [TOKENS_AT_ONCE, 256, 1, 1]


def log_odds_by_hand(logits, token):
    """ln P - ln(1 - P) with 1 - P as the sum of the others, in float64."""
    largest = max(logits)
    shares = [math.exp(value - largest) for value in logits]
    return math.log(shares[token]) - math.log(sum(share for other, share in enumerate(shares) if other != token))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_odds_are_those_by_hand_even_where_the_probability_rounds_to_one(dtype):
    torch.manual_seed(0)
    logits = torch.randn(4, 9, dtype=dtype)
    logits[1, 5], logits[2, 5], logits[3, 5] = 40, -60, 17.5
    assert logits[1].softmax(-1)[5] == 1  # the other tokens are lost here
    found = log_odds(logits, torch.tensor([[5, 0]] * 4))
    for row, of_row in zip(logits.tolist(), found.tolist(), strict=True):
        assert of_row == pytest.approx([log_odds_by_hand(row, token) for token in (5, 0)], rel=1e-6)
    assert 35 < found[1, 0] < 45 and found[2, 0] < -55


def test_log_odds_of_a_large_vocabulary_are_exact_to_rounding():
    torch.manual_seed(0)
    logits = 3 * torch.randn(1, 50_000) - 20
    logits[0, 7] = 12
    for token in (7, 8):
        exact = log_odds_by_hand(logits[0].tolist(), token)
        assert float(log_odds(logits, torch.tensor([[token]]))) == pytest.approx(exact, abs=1e-5)


def test_probability_and_log_odds_belong_together():
    shares = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64)
    odds = log_odds(shares.log(), torch.tensor([[0, 1, 2]]))
    assert odds[0].tolist() == pytest.approx([math.log(1 / 9), math.log(1 / 4), math.log(7 / 3)])
    assert probability_of(odds.numpy())[0].tolist() == pytest.approx([0.1, 0.2, 0.7])
    assert probability_of([800.0, -800.0]).tolist() == [1, 0]


def test_answers_have_log_odds_of_every_given_token():
    lm = tiny_model("bert")
    prompts = [Prompt(None, 0, "", tuple(ids), at, 0) for ids, at in (([5, 6, 7], 1), ([8, 9, 5, 6], 2), ([7, 8, 9], 0))]
    found = predict(lm, prompts, [[3, 9]] * 3)
    for prompt, odds, shares in zip(prompts, found.log_odds, found.probability, strict=True):
        logits = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position].tolist()
        assert odds.tolist() == pytest.approx([log_odds_by_hand(logits, token) for token in (3, 9)], abs=1e-5)
        assert shares.tolist() == pytest.approx(probability_of(odds).tolist(), rel=1e-5)
