"""Controls by hand-made examples; against plain loops in `tests/chapters/test_modify_activation.py`."""

import numpy as np
import pandas as pd
import pytest
import torch
from brute_force import probability_at
from tiny_models import tiny_model

from kn_utils.data.facts import Fact
from kn_utils.model.controls import matched_neurons, mean_activations, named_neurons, neurons_by_half, template_halves
from kn_utils.model.prompts import Prompt

ACTIVATION = np.array([[5.0, 4.8, 0.1, -5.0, 5.1, 4.9], [1.0, 1.5, 0.5, 3.0, 3.1, 3.2]])


def test_a_matched_neuron_has_the_nearest_activation_with_its_sign():
    assert matched_neurons([(0, 0)], ACTIVATION, []) == [(0, 4)]  # 5.1 and 4.9 are as near: the lower index
    assert matched_neurons([(0, 3)], ACTIVATION, []) == [(0, 2)]  # not 5.0
    assert matched_neurons([(1, 3), (1, 4)], ACTIVATION, []) == [(1, 5), (1, 1)]  # none twice, none of both
    assert matched_neurons([(1, 0)], ACTIVATION, [(0, 1), (1, 2)]) == [(1, 1)]
    assert matched_neurons([], ACTIVATION, [(0, 1)]) == []


def test_named_neurons_are_not_taken_and_a_crowded_layer_has_no_match():
    named = [(0, index) for index in (0, 1, 2, 4, 5)]
    assert matched_neurons([(0, 0)], ACTIVATION, named) == [(0, 3)]
    assert matched_neurons([(0, 0), (0, 1)], ACTIVATION, named) is None
    assert ACTIVATION[0, 0] == 5  # as it was


def scores(*rows):
    columns = ["fact", "prompt", "method", "layer", "neuron", "score"]
    return pd.DataFrame(rows, columns=columns).astype({"score": "float32"})


def test_named_are_all_neurons_of_attribution():
    rows = [(0, 0, "attribution", 1, 2, 0.5), (0, 1, "attribution", 1, 2, 0.1), (0, 1, "attribution", 0, 3, 0.1)]
    found = named_neurons(scores(*rows, (0, 0, "activation", 5, 5, 9), (2, 0, "attribution", 1, 1, 1)))
    assert found == {0: {(1, 2), (0, 3)}, 2: {(1, 1)}}


def test_each_half_chooses_its_own_neurons_by_shares_of_the_largest_score():
    rows = [
        (0, 0, "attribution", 1, 1, 100),  # share 1
        (0, 0, "attribution", 1, 2, 60),
        (0, 2, "attribution", 1, 2, 1),  # 0.6 + 1 is more than 1 + 0.5, though 61 is less than 100.5
        (0, 2, "attribution", 1, 1, 0.5),
        (0, 2, "attribution", 0, 7, 0.5),
        (0, 1, "attribution", 2, 9, 4),
        (0, 1, "attribution", 2, 8, 4),
        (0, 3, "attribution", 0, 3, 2),
        (0, 3, "activation", 0, 1, 99),
        (4, 0, "attribution", 0, 0, 1),
    ]
    halves = {0: 0, 1: 1, 2: 0, 3: 1}
    found = neurons_by_half(scores(*rows), halves, {0: 2, 4: 3})
    assert found == {(0, 0): [(1, 2), (1, 1)], (0, 1): [(0, 3), (2, 8)], (4, 0): [(0, 0)]}
    assert neurons_by_half(scores(*rows), halves, {0: 1})[0, 0] == [(1, 2)]


@pytest.mark.parametrize("model_type, halves", [("bert", {0: 0, 1: 1, 2: 0, 3: 1, 4: 0}), ("gpt2", {0: 0, 2: 1, 4: 0})])
def test_halves_alternate_over_templates_that_the_model_can_use(model_type, halves, tmp_path):
    templates = {"P36": ["[X] is [Y].", "[Y] is [X].", "[X] was [Y]", "In [Y] is [X]", "[X] has [Y] ."]}

    class Data:
        pass

    Data.templates = templates
    assert template_halves(tiny_model(model_type), Data, "P36") == halves


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_activations_are_means_over_the_prompts_of_each_fact(model_type):
    lm = tiny_model(model_type)
    first, second = Fact("P36", 0, "Peru", "Lima"), Fact("P36", 1, "Norway", "Oslo")
    last = (1, 3, 2) if lm.masked else (2, 3, 2)
    texts = ((first, (5, 6, 7)), (second, (8, 9, 5, 6)), (first, (7, 8, 9)))
    prompts = [Prompt(fact, 0, "", ids, at, 0) for (fact, ids), at in zip(texts, last, strict=True)]
    found = mean_activations(lm, prompts)
    assert set(found) == {first, second}
    for fact, mean in found.items():
        assert mean.shape == (lm.n_layers, lm.n_neurons)
        own = [prompt for prompt in prompts if prompt.fact == fact]
        for layer in range(lm.n_layers):
            each = [probability_at(lm, torch.tensor(prompt.ids), prompt.position, 0, layer)[1] for prompt in own]
            assert mean[layer].tolist() == pytest.approx(torch.stack(each).mean(0).tolist(), rel=1e-4, abs=1e-5)
