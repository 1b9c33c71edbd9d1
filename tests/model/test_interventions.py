"""Suppressing and amplifying neurons: each prompt's own, at its own position, and nothing else; the model is as before afterwards."""

import math

import pytest
import torch
from brute_force import edited_logits
from tiny_models import MODELS, assert_no_hooks, near, probabilities_at, some_prompts, tiny_model

from kn_utils.model.forward import activations
from kn_utils.model.interventions import OPERATIONS, scaled_neurons

FACTORS = {"suppress": 0, "amplify": 2}


def everything(lm, ids):
    """The inner activations of all layers at all positions, each [prompts, tokens, neurons], and the logits."""
    found = []
    hooks = [
        down.register_forward_pre_hook(lambda _, args: found.append(args[0].detach().view(len(ids), -1, args[0].shape[-1])))
        for down in lm.downs
    ]
    logits = lm.model(ids).logits
    for hook in hooks:
        hook.remove()
    return found, logits


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("model_type, changes", MODELS)
def test_only_the_prompts_own_neurons_change_at_its_position(model_type, changes, operation):
    lm = tiny_model(model_type, **changes)
    ids, position = some_prompts(lm)
    before, logits = everything(lm, ids)
    for layer in range(lm.n_layers):
        own = [[(layer, 0), (layer, 31)], [], [(layer, 47), (layer, 31), (layer, 5)]]
        with scaled_neurons(lm, position, own, operation):
            after, changed_logits = everything(lm, ids)
        assert all(torch.equal(after[below], before[below]) for below in range(layer))
        expected = before[layer].clone()
        for row, neurons in enumerate(own):
            for _, neuron in neurons:
                expected[row, position[row], neuron] *= FACTORS[operation]
        assert torch.equal(after[layer], expected) and not torch.equal(expected, before[layer])
        for above in range(layer + 1, lm.n_layers):
            assert all((after[above][row, position[row]] != before[above][row, position[row]]).any() for row in (0, 2))
            assert torch.equal(after[above][1], before[above][1])
        differs = [(changed_logits[row, at] != logits[row, at]).any().item() for row, at in enumerate(position)]
        assert differs == [True, False, True]
        assert torch.equal(changed_logits[1], logits[1])
    assert_no_hooks(lm)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("model_type, changes", MODELS)
def test_a_batch_equals_one_edited_prompt_at_a_time(model_type, changes, operation):
    lm = tiny_model(model_type, **changes)
    ids, position = some_prompts(lm, (1, 8, 4, 2))
    top = lm.n_layers - 1
    own = [[(0, 3), (top, 40), (1, 3)], [(1, 7)], [], [(layer, neuron) for layer in range(top) for neuron in range(0, 48, 5)]]
    with scaled_neurons(lm, position, own, operation):
        found = probabilities_at(lm, ids, position)
        again = probabilities_at(lm, ids, position)
    assert torch.equal(found, again)
    unchanged = probabilities_at(lm, ids, position)
    for row, neurons in enumerate(own):
        expected = edited_logits(lm, ids[row], int(position[row]), neurons, FACTORS[operation]).softmax(-1)
        torch.testing.assert_close(found[row], expected, **near(model_type))
        if len(neurons) != 1:  # a single neuron may be silent
            assert torch.equal(found[row], unchanged[row]) is (not neurons)


def linear_model():
    """A left-to-right model whose logits, everywhere, are (0, 2, 3): neuron 0, of activation 10, adds 2 to those of token 1.

    Neuron 1, of activation 20, adds 4 to those of token 2, and neuron 2, of activation 10, takes 1 from them.
    """
    lm = tiny_model("gpt2", n_layer=1, vocab_size=3, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)
    lm.model.transformer.ln_f = torch.nn.Identity()
    with torch.no_grad():
        for weight in lm.model.parameters():
            weight.zero_()
        lm.model.transformer.h[0].mlp.c_fc.bias[:3] = torch.tensor([10.0, 20.0, 10.0])  # so large that GELU changes nothing
        values = lm.model.transformer.h[0].mlp.c_proj.weight
        values[0, 1], values[1, 2], values[2, 2] = 0.2, 0.2, -0.1
        lm.model.lm_head.weight[:, :3] = torch.eye(3)
    return lm


def softmax(*logits):
    total = sum(math.exp(logit) for logit in logits)
    return [math.exp(logit) / total for logit in logits]


@pytest.mark.parametrize(
    "operation, neurons, logits",
    [
        ("suppress", [0], (0, 0, 3)),
        ("amplify", [0], (0, 4, 3)),
        ("suppress", [1], (0, 2, -1)),
        ("amplify", [1], (0, 2, 7)),
        ("suppress", [2], (0, 2, 4)),
        ("amplify", [2], (0, 2, 2)),
        ("suppress", [0, 1, 2], (0, 0, 0)),
        ("amplify", [0, 1, 2], (0, 4, 6)),
    ],
)
def test_probabilities_move_as_worked_out_by_hand(operation, neurons, logits):
    lm = linear_model()
    ids, position = torch.tensor([[0, 1, 2], [2, 1, 0]]), torch.tensor([2, 0])
    with scaled_neurons(lm, position, [[(0, neuron) for neuron in neurons], []], operation):
        found = probabilities_at(lm, ids, position)
        elsewhere = probabilities_at(lm, ids, position - 1)
    assert found.tolist() == [pytest.approx(softmax(*logits)), pytest.approx(softmax(0, 2, 3))]
    assert elsewhere[0].tolist() == pytest.approx(softmax(0, 2, 3))


def test_neurons_may_be_changed_while_activations_are_read():
    lm = tiny_model("bert")
    ids, position = some_prompts(lm)
    plain = activations(lm, ids, position)
    with scaled_neurons(lm, position, [[(1, 4)]] * 3, "amplify"):
        found = activations(lm, ids, position)
    assert torch.equal(found[:, 1, 4], 2 * plain[:, 1, 4])
    assert torch.equal(found[:, 0], plain[:, 0]) and not torch.equal(found[:, 2], plain[:, 2])


@pytest.mark.parametrize("operation", ["erase", "Suppress", "", None])
def test_an_unknown_operation(operation):
    lm = tiny_model("bert")
    with (
        pytest.raises(ValueError, match=rf"^operation is {operation!r}; it must be one of suppress, amplify$"),
        scaled_neurons(lm, torch.tensor([1]), [[(0, 0)]], operation),
    ):
        pytest.fail("the model must not run")
    assert_no_hooks(lm)


@pytest.mark.parametrize("model_type", ["bert", "albert", "gpt2"])
def test_the_model_is_as_before_also_after_an_error_inside(model_type):
    lm = tiny_model(model_type)
    ids, position = some_prompts(lm)
    weights = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    before = probabilities_at(lm, ids, position)
    with pytest.raises(KeyboardInterrupt), scaled_neurons(lm, position, [[(1, 4)]] * 3, "suppress"):
        assert not torch.equal(probabilities_at(lm, ids, position), before)
        raise KeyboardInterrupt
    assert_no_hooks(lm)
    with pytest.raises(IndexError), scaled_neurons(lm, position, [[(1, 4)]] * 3, "suppress"):
        probabilities_at(lm, ids[:2], position[:2])  # fails inside the pass
    assert_no_hooks(lm)
    assert torch.equal(probabilities_at(lm, ids, position), before)
    assert all(torch.equal(weight, weights[name]) for name, weight in lm.model.state_dict().items())


@pytest.mark.parametrize(
    "neurons, message",
    [([[(9, 0)]], "no neuron"), ([[(-1, 0)]], "no neuron"), ([[(0, 48)]], "no neuron"), ([[], []], "given for 2 prompts")],
)
def test_neurons_that_do_not_fit_are_refused(neurons, message):
    lm = tiny_model("bert")
    with pytest.raises(ValueError, match=message), scaled_neurons(lm, torch.tensor([1]), neurons, "suppress"):
        pass
