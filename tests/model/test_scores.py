"""Every score against plain code: one prompt, one layer or neuron at a time, the whole model."""

import brute_force
import pytest
import torch
from brute_force import gradient_at, probability_at
from tiny_models import assert_no_hooks, near, random_batch, tiny_model
from torch import nn

from kn_utils.model.layouts import value_vectors
from kn_utils.model.quadrature import gauss_legendre, left_riemann
from kn_utils.model.scores import LOG_ODDS_NODES, SCORES, scores_of

MODEL_TYPES = ["bert", "gpt2", "llama", "gemma2"]


@pytest.fixture(params=MODEL_TYPES)
def asked(request):
    """A tiny model and a batch of one prompt."""
    lm = tiny_model(request.param)
    return lm, random_batch(lm, prompts=1)


def place(batch, layer):
    return batch.ids[0], int(batch.position[0]), int(batch.target[0]), layer


def layers_of(lm, of_layer):
    return torch.stack([of_layer(layer) for layer in range(lm.n_layers)])


def activation_of(lm, batch):
    return layers_of(lm, lambda layer: probability_at(lm, *place(batch, layer))[1])


def test_integrated_gradients_by_the_released_sum_and_by_the_error_controlled_rule(asked):
    lm, batch = asked
    for name, rule, tolerance in (("released", left_riemann(20), 1e-7), ("controlled", gauss_legendre(64), 0.02)):
        expected = layers_of(
            lm, lambda layer, rule=rule: brute_force.integrated_gradients(lm, *place(batch, layer), rule.nodes, rule.weights)
        )
        assert (SCORES[name](lm, batch) - expected).abs().max() < tolerance * expected.abs().max()


def test_integrated_gradients_of_the_log_odds_differentiate_the_log_odds(asked):
    lm, batch = asked
    rule = gauss_legendre(LOG_ODDS_NODES)

    def of_layer(layer):
        _, activation = probability_at(lm, *place(batch, layer))
        total = 0
        for node, weight in zip(rule.nodes, rule.weights, strict=True):
            leaf = (node * activation).requires_grad_()
            log_odds = torch.logit(probability_at(lm, *place(batch, layer), leaf)[0])
            total = total + weight * torch.autograd.grad(log_odds, leaf)[0]
        return activation * total

    found, expected = SCORES["log_odds"](lm, batch), layers_of(lm, of_layer)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


def test_gradient_times_activation_is_one_node_at_the_activation_itself(asked):
    lm, batch = asked

    def of_layer(layer):
        gradient, probability, activation = gradient_at(lm, *place(batch, layer), 1.0)
        return activation * gradient / (probability * (1 - probability))

    expected = layers_of(lm, of_layer)
    torch.testing.assert_close(SCORES["gradient"](lm, batch), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    assert_no_hooks(lm)


class ConstantScale(nn.Module):
    """A norm in plain code, whose scale is computed without a gradient."""

    def __init__(self, norm):
        super().__init__()
        self.norm, self.centred = norm, isinstance(norm, nn.LayerNorm)

    def forward(self, values):
        eps = next(getattr(self.norm, name) for name in ("eps", "variance_epsilon") if hasattr(self.norm, name))
        if self.centred:
            values = values - values.mean(-1, keepdim=True)
        with torch.no_grad():
            scale = 1 / torch.sqrt((values**2).mean(-1, keepdim=True) + eps)
        gemma = type(self.norm).__name__.startswith("Gemma")
        values = values * scale * (1 + self.norm.weight if gemma else self.norm.weight)
        return values + self.norm.bias if self.centred else values


def test_with_frozen_norms_only_the_gradient_through_scales_is_lost(asked):
    lm, batch = asked
    found = SCORES["frozen_norms"](lm, batch)
    assert_no_hooks(lm)
    unfrozen = SCORES["gradient"](lm, batch)
    before = probability_at(lm, *place(batch, 0))[0]
    for parent in list(lm.model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.LayerNorm) or "RMSNorm" in type(child).__name__:
                setattr(parent, name, ConstantScale(child))
    torch.testing.assert_close(probability_at(lm, *place(batch, 0))[0], before, rtol=1e-5, atol=0)

    def of_layer(layer):
        gradient, probability, activation = gradient_at(lm, *place(batch, layer), 1.0)
        return activation * gradient / (probability * (1 - probability))

    expected = layers_of(lm, of_layer)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert (found - unfrozen).abs().max() > 0.01 * unfrozen.abs().max()


def test_the_log_probability_increase_of_bert_in_plain_code():
    lm = tiny_model("bert")
    batch = random_batch(lm, prompts=1)
    attended, activation = [], activation_of(lm, batch)
    hooks = [
        block.attention.register_forward_hook(lambda module, args, output: attended.append(output[0][0, batch.position[0]]))
        for block in lm.blocks
    ]
    lm.model(batch.ids)
    for hook in hooks:
        hook.remove()

    def log_probability(layer, inner):
        out = lm.blocks[layer].output
        state = out.LayerNorm(attended[layer] + out.dense.weight @ inner + out.dense.bias)
        return lm.model.cls(state[None, None])[0, 0].log_softmax(-1)[batch.target[0]]

    assert_increases(lm, batch, activation, log_probability)


def test_the_log_probability_increase_of_llama_in_plain_code():
    lm = tiny_model("llama")
    batch = random_batch(lm, prompts=1)
    residual, activation = [], activation_of(lm, batch)
    hooks = [
        block.post_attention_layernorm.register_forward_pre_hook(lambda module, args: residual.append(args[0][0, -1]))
        for block in lm.blocks
    ]
    lm.model(batch.ids)
    for hook in hooks:
        hook.remove()

    def log_probability(layer, inner):
        state = residual[layer] + lm.blocks[layer].mlp.down_proj.weight @ inner
        return lm.model.lm_head(lm.model.model.norm(state[None, None]))[0, 0].log_softmax(-1)[batch.target[0]]

    assert_increases(lm, batch, activation, log_probability)


def assert_increases(lm, batch, activation, log_probability):
    """`log_probability(layer, inner)` reads a layer whose neurons have the activations `inner`."""
    found = SCORES["log_probability"](lm, batch)
    for layer in range(lm.n_layers):
        none = log_probability(layer, torch.zeros_like(activation[layer]))
        for neuron in range(0, lm.n_neurons, 5):
            alone = torch.zeros_like(activation[layer])
            alone[neuron] = activation[layer, neuron]
            expected = log_probability(layer, alone) - none
            torch.testing.assert_close(found[layer, neuron], expected, rtol=1e-5, atol=1e-7)
    assert found.abs().max() > 0.01


def test_static_scores_are_products_of_activation_and_value_vector(asked):
    lm, batch = asked
    activation = activation_of(lm, batch)
    torch.testing.assert_close(SCORES["activation"](lm, batch), activation, **near(lm.name))
    static, magnitude = SCORES["static_logit"](lm, batch), SCORES["magnitude"](lm, batch)
    row = lm.model.get_output_embeddings().weight[batch.target[0]]
    for layer in range(lm.n_layers):
        for neuron in (0, 20, 47):
            vector, own = value_vectors(lm.downs[layer])[neuron], activation[layer, neuron]
            assert float(static[layer, neuron]) == pytest.approx(float(own * vector @ row), rel=1e-6)
            assert float(magnitude[layer, neuron]) == pytest.approx(float(abs(own) * vector.norm()), rel=1e-6)


def test_where_layers_share_a_block_each_layer_has_its_own_activations_and_the_blocks_vectors():
    lm = tiny_model("albert")  # four layers, two blocks: layers 0 and 1 share one
    batch = random_batch(lm, prompts=1)
    found, activation = SCORES["magnitude"](lm, batch), activation_of(lm, batch)
    for layer, block in enumerate((0, 0, 1, 1)):
        expected = activation[layer].abs() * value_vectors(lm.downs[block]).norm(dim=1)
        torch.testing.assert_close(found[layer], expected, **near("albert"))


def test_a_vocabulary_projection_of_another_width_has_no_static_logit():
    assert set(SCORES) - set(scores_of(tiny_model("electra"))) == {"static_logit"}
    assert scores_of(tiny_model("bert")) == SCORES
