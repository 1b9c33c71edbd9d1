"""Neurons by half of the templates against a mean prompt by prompt."""

import pytest
import torch

from kn_utils.model.attribution import integrated_gradients
from kn_utils.model.controls import template_halves
from kn_utils.model.half_neurons import QUADRATURE, other_half, scores_by_half, strongest_neurons
from kn_utils.model.prompts import stack, usable_prompts


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_scores_are_means_over_a_half(loaded, tiny_dataset, model_type):
    lm = loaded(model_type)
    prompts = [prompt for fact in tiny_dataset.facts["P36"][:2] for prompt in usable_prompts(lm, tiny_dataset, fact)]
    halves = template_halves(lm, tiny_dataset, "P36")
    found = scores_by_half(lm, prompts, halves)
    assert len(found) == 4
    for (fact, half), scores in found.items():
        chosen = [prompt for prompt in prompts if prompt.fact == fact and halves[prompt.index] == half]
        single = [integrated_gradients(lm, stack([prompt], lm.device), QUADRATURE).score[0].double() for prompt in chosen]
        expected = sum(score / score.max() for score in single) / len(single)
        torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-4)
        rest = other_half([prompt for prompt in prompts if prompt.fact == fact], halves, half)
        assert {prompt.index for prompt in rest} == {i for i, other in halves.items() if other != half}


def test_strongest_neurons_by_hand():
    scores = torch.tensor([[0.1, 0.5, 0.0], [0.5, 0.9, -1.0]])
    assert strongest_neurons(scores, 3) == [(1, 1), (0, 1), (1, 0)]
