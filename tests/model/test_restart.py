"""Passes that start at a layer: the numbers of a whole pass, from the blocks above only, and the model is as before."""

import pytest
import torch
from tiny_models import MODELS, assert_no_hooks, near, random_batch, tiny_model

from kn_utils.model.forward import logits_at
from kn_utils.model.interventions import scaled_neurons
from kn_utils.model.layouts import hidden_states
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.restart import lowest_layer, started_at, stored_outputs

ROWS = torch.tensor([1, 0, 1])


def stored(model_type, changes):
    lm = tiny_model(model_type, **changes)
    suffix = prompt_suffix(lm, random_batch(lm))
    with stored_outputs(lm) as outputs:
        logits_at(lm, suffix)
    return lm, suffix, outputs


@pytest.mark.parametrize("model_type, changes", MODELS)
def test_a_pass_with_a_change_is_the_same_from_every_layer_up_to_the_change(model_type, changes):
    lm, suffix, outputs = stored(model_type, changes)
    copies = suffix.select(ROWS)
    for changed in range(lm.n_layers):
        with scaled_neurons(lm, copies.position, [[(changed, neuron) for neuron in range(0, 48, 6)]] * 3, "amplify"):
            expected = logits_at(lm, copies)
            for layer in range(changed + 1):
                with started_at(lm, layer, outputs, ROWS):
                    torch.testing.assert_close(logits_at(lm, copies), expected, **near(model_type))
        assert not torch.allclose(logits_at(lm, copies), expected)
    assert_no_hooks(lm)


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "bloom"])
def test_no_block_below_is_run(model_type):
    lm, suffix, outputs = stored(model_type, {})
    run = []
    hooks = [down.register_forward_hook(lambda *_, layer=layer: run.append(layer)) for layer, down in enumerate(lm.downs)]
    with started_at(lm, 2, outputs, torch.arange(2)):
        logits_at(lm, suffix)
    for hook in hooks:
        hook.remove()
    assert run == [2]


def test_stored_states_are_those_of_a_whole_pass_and_no_later_pass_changes_them():
    lm, suffix, outputs = stored("gpt2", {})
    before = [hidden_states(output).clone() for output in outputs]
    assert [tuple(hidden.shape) for hidden in before] == [(2, 1, 32)] * 3
    with started_at(lm, 1, outputs, torch.arange(2)), scaled_neurons(lm, suffix.position, [[(1, 3)]] * 2, "suppress"):
        logits_at(lm, suffix)
    assert all(torch.equal(hidden_states(output), hidden) for output, hidden in zip(outputs, before, strict=True))


def test_the_model_is_whole_again_after_an_error():
    lm, suffix, outputs = stored("bert", {})
    expected = logits_at(lm, suffix)
    with pytest.raises(KeyboardInterrupt), started_at(lm, 2, outputs, torch.arange(2)):
        raise KeyboardInterrupt
    assert_no_hooks(lm)
    assert torch.equal(logits_at(lm, suffix), expected)


def test_lowest_layer():
    assert lowest_layer([(3, 0), (1, 9), (2, 5)]) == 1
