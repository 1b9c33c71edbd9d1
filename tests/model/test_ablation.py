"""Ablations, of every neuron alone and of sets together, give what a plain loop with hooks gives, in float64."""

import pytest
import torch
from brute_force import probability_at
from tiny_models import CONFIGURATIONS, MODELS, assert_no_hooks, near, random_batch, tiny_model

from kn_utils.model import ablation
from kn_utils.model.ablation import changed_logits, joint_ablations, single_ablations
from kn_utils.model.prefix import prompt_suffix


def values_for(lm):
    """A value for each neuron, some of them zero."""
    values = torch.randn(lm.n_layers, lm.n_neurons, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return torch.where(values < 0, 0, values)


def plain_log_odds(lm, batch, layer, neuron, value):
    """One neuron set to a value in the whole prompt, alone."""
    place = batch.ids[0], int(batch.position[0]), int(batch.target[0]), layer
    _, activation = probability_at(lm, *place)
    activation[neuron] = value
    return torch.logit(probability_at(lm, *place, activation)[0])


def plain_joint_log_odds(lm, batch, neurons, values):
    """Several neurons of any layers set to their values, by a hook that counts its calls, as layers may share a block."""
    calls = []

    def replace(down, args):
        layer = len(calls)
        calls.append(None)
        inner = args[0].clone()
        for neuron in (index for at, index in neurons if at == layer):
            inner.view(-1, lm.n_neurons)[batch.position[0], neuron] = values[layer, neuron]
        return (inner,)

    handles = [down.register_forward_pre_hook(replace) for down in lm.downs]
    logits = lm.model(batch.ids).logits[0, batch.position[0]]
    for handle in handles:
        handle.remove()
    return torch.logit(logits.softmax(-1)[batch.target[0]])


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_every_neuron_alone_is_as_in_the_plain_loop(model_type):
    lm = tiny_model(model_type)
    batch, values = random_batch(lm, prompts=1), values_for(lm)
    found = single_ablations(lm, prompt_suffix(lm, batch), values)
    expected = [
        [plain_log_odds(lm, batch, layer, neuron, values[layer, neuron]) for neuron in range(lm.n_neurons)]
        for layer in range(lm.n_layers)
    ]
    torch.testing.assert_close(found, torch.tensor(expected), **near(model_type))
    assert found.std(dim=1).min() > 1e-3  # in every layer some neurons matter


@pytest.mark.parametrize("model_type, changes", MODELS)
def test_some_neurons_of_every_architecture(model_type, changes):
    lm = tiny_model(model_type, **changes)
    batch, values = random_batch(lm, prompts=1, seed=2), values_for(lm)
    found = single_ablations(lm, prompt_suffix(lm, batch), values)
    for layer in range(lm.n_layers):
        for neuron in (0, 19, 47):
            expected = plain_log_odds(lm, batch, layer, neuron, values[layer, neuron])
            torch.testing.assert_close(found[layer, neuron], expected, **near(model_type))


@pytest.mark.parametrize("model_type, changes", MODELS)
def test_a_set_is_ablated_together_at_the_prediction_position_alone(model_type, changes):
    lm = tiny_model(model_type, **changes)
    batch, values = random_batch(lm, prompts=1), values_for(lm)
    neurons = [[], [(0, 3)], [(layer, 7 * layer + step) for layer in range(lm.n_layers) for step in (0, 5)]]
    sets = torch.zeros(3, lm.n_layers, lm.n_neurons, dtype=torch.bool)
    for row, of_set in enumerate(neurons):
        for layer, neuron in of_set:
            sets[row, layer, neuron] = True
    found = joint_ablations(lm, prompt_suffix(lm, batch), sets, values)
    expected = torch.stack([plain_joint_log_odds(lm, batch, of_set, values) for of_set in neurons])
    torch.testing.assert_close(found, expected, **near(model_type))
    assert (found[1:] - found[0]).abs().max() > 1e-6  # a single neuron may be silent


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_the_size_of_a_pass_changes_nothing(model_type, monkeypatch):
    lm = tiny_model(model_type)
    suffix, values = prompt_suffix(lm, random_batch(lm, prompts=1)), values_for(lm)
    sets = torch.rand(7, lm.n_layers, lm.n_neurons, generator=torch.Generator().manual_seed(0)) > 0.9
    found = single_ablations(lm, suffix, values), joint_ablations(lm, suffix, sets, values)
    monkeypatch.setattr(ablation, "prompts_at_once", lambda length: 3 * lm.n_layers)
    smaller = single_ablations(lm, suffix, values), joint_ablations(lm, suffix, sets, values)
    torch.testing.assert_close(found, smaller, **near(model_type))


@pytest.mark.parametrize("model_type", CONFIGURATIONS)
def test_a_layer_that_is_read_directly_is_read_by_the_last_norm_and_the_vocabulary_projection(model_type):
    """Without a change, the last layer is read as the model reads it; other layers are not."""
    lm = tiny_model(model_type)
    batch = random_batch(lm, prompts=1)

    def nothing(layer, down, activation):
        return torch.zeros(1, lm.model.config.hidden_size, dtype=activation.dtype)

    logits = changed_logits(lm, prompt_suffix(lm, batch), nothing, skip_blocks=True)
    expected = lm.model(batch.ids).logits[0, batch.position[0]]
    assert len(logits) == lm.n_layers
    torch.testing.assert_close(logits[-1], expected, **near(model_type))
    assert (logits[0] - expected).abs().max() > 0.01


def test_hooks_are_removed_after_an_error():
    lm = tiny_model("bert")
    suffix = prompt_suffix(lm, random_batch(lm, prompts=1))

    def fails(layer, down, activation):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        changed_logits(lm, suffix, fails)
    assert_no_hooks(lm)
