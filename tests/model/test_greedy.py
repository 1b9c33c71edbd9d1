"""Greedy sets against plain code: one hook, one pass, and differences in place of gradients."""

import itertools

import pytest
import torch
from tiny_models import assert_no_hooks, tiny_model

from kn_utils.data.facts import Fact
from kn_utils.model.greedy import greedy_order, logits_without, scores_without
from kn_utils.model.prompts import Prompt

MODELS = ["bert", "gpt2", "llama", "opt", "albert"]


def prompt_for(lm):
    return Prompt(Fact("P36", 0, "Norway", "Oslo"), 0, "", (5, 6, 7, 8, 9, 10, 11), 5 if lm.masked else 6, 20)


def plain_logits(lm, prompt, off, shift=None):
    """The logits with the neurons `off` at zero, and the neuron `shift[0]` then raised by `shift[1]`."""
    calls = []

    def change(module, args):
        layer = len(calls)
        calls.append(layer)
        inner = args[0].clone()
        flat = inner.view(len(prompt.ids), -1)
        for index in range(lm.n_neurons):
            if off[layer, index]:
                flat[prompt.position, index] = 0
        if shift and shift[0][0] == layer:
            flat[prompt.position, shift[0][1]] += shift[1]
        return (inner,)

    handles = [down.register_forward_pre_hook(change) for down in lm.downs]
    with torch.no_grad():
        logits = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position]
    for handle in handles:
        handle.remove()
    return logits


def plain_log_odds(lm, prompt, off, shift=None):
    return float(torch.logit(plain_logits(lm, prompt, off, shift).softmax(-1)[prompt.target]))


@pytest.mark.parametrize("model_type", MODELS)
def test_scores_are_activation_times_gradient_with_neurons_off(model_type):
    lm = tiny_model(model_type)
    prompt, off = prompt_for(lm), torch.zeros(lm.n_layers, lm.n_neurons, dtype=torch.bool)
    off[0, 3] = off[1, 5] = True
    found = scores_without(lm, prompt, off)
    assert found[off].tolist() == [0, 0]
    plain = scores_without(lm, prompt, torch.zeros_like(off))
    assert (found - plain)[2].abs().max() > 1e-6  # what is off below changes the layers above
    for neuron in ((0, 1), (1, 2), (2, 7)):
        step = 1e-2
        slope = (plain_log_odds(lm, prompt, off, (neuron, step)) - plain_log_odds(lm, prompt, off, (neuron, -step))) / (2 * step)
        activation = kept_activation(lm, prompt, off, neuron)
        assert float(found[neuron]) == pytest.approx(activation * slope, rel=2e-2, abs=1e-5)
    assert_no_hooks(lm)


def kept_activation(lm, prompt, off, neuron):
    """The activation of a neuron while others are off: how far it must be lowered to be zero."""
    calls = []

    def keep(module, args):
        flat = args[0].view(len(prompt.ids), -1)
        flat[prompt.position, off[len(calls)]] = 0
        calls.append(float(flat[prompt.position, neuron[1]]))

    handles = [down.register_forward_pre_hook(keep) for down in lm.downs]
    with torch.no_grad():
        lm.model(torch.tensor([prompt.ids]))
    for handle in handles:
        handle.remove()
    return calls[neuron[0]]


@pytest.mark.parametrize("model_type", MODELS)
def test_sets_are_zero_at_the_prediction_position(model_type):
    lm = tiny_model(model_type)
    prompt = prompt_for(lm)
    sets = torch.rand(3, lm.n_layers, lm.n_neurons, generator=torch.Generator().manual_seed(0)) < 0.3
    sets[2] = False
    for row, off in zip(logits_without(lm, prompt, sets), sets, strict=True):
        torch.testing.assert_close(row, plain_logits(lm, prompt, off), rtol=1e-9, atol=1e-12)


def test_the_order_takes_the_best_candidates_and_scores_the_others_again():
    lm = tiny_model("bert")
    prompt, candidates = prompt_for(lm), torch.rand(3, lm.n_neurons, generator=torch.Generator().manual_seed(1)) < 0.5
    order = greedy_order(lm, prompt, candidates, (1, 3, 6))
    expected, off = [], torch.zeros_like(candidates)
    for count in (1, 2, 3):
        score = scores_without(lm, prompt, off)
        left = [place for place in itertools.product(range(3), range(lm.n_neurons)) if candidates[place] and not off[place]]
        best = sorted(left, key=lambda place, score=score: -float(score[place]))[:count]
        expected += best
        for place in best:
            off[place] = True
    assert [divmod(place, lm.n_neurons) for place in order] == expected
    assert order != greedy_order(lm, prompt, candidates, (6,))  # without a second look
