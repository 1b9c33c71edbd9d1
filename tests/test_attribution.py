"""Attribution: equal to the plain loop and to captum, complete, with an error that is what it claims to be."""


import pytest
import torch
from brute_force import integrated_gradients as plain_loop
from brute_force import probability_at
from captum.attr import IntegratedGradients
from test_scaled_copies import FLOAT32_ATTENTION, random_batch
from tiny_models import CONFIGURATIONS, tiny_model

from kn_utils import attribution
from kn_utils.attribution import Attribution, Method, integrated_gradients
from kn_utils.quadrature import gauss_legendre, left_riemann

KINDS = ["bert", "llama"]
GAUSS = Method("gauss-legendre")
EXACT = {"rtol": 1e-9, "atol": 1e-14}
PER_PROMPT = [name for name in vars(Attribution(*range(7)))]


def place(batch, row=0):
    return batch.ids[row], int(batch.position[row]), int(batch.target[row])


def fixed_nodes(lm, batch, rule, row=0):
    """The plain loop over all layers of one prompt, [layers, neurons]."""
    scores = [plain_loop(lm, *place(batch, row), layer, rule.nodes, rule.weights) for layer in range(lm.n_layers)]
    return torch.stack(scores)


def probability_path(lm, batch, layer, row=0):
    """P(target) as a function of a batch of activations of one layer, the whole model run for each."""

    def path(activations):
        return torch.stack([probability_at(lm, *place(batch, row), layer, activation)[0] for activation in activations])

    return path


def sharpened(model_type, factor):
    """A model whose probability turns on a short piece of the path, so that few nodes miss it, the more so in the last layer."""
    lm = tiny_model(model_type)
    with torch.no_grad():
        for layer, down in enumerate(lm.downs):
            down.weight *= factor ** (1 + layer) if lm.masked else factor
    return lm


def assert_equal(found, expected, near):
    for name in PER_PROMPT:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), equal_nan=True, **near)


@pytest.mark.parametrize("model_type", CONFIGURATIONS)
def test_released_equals_the_plain_loop_on_every_architecture(model_type):
    lm = tiny_model(model_type)
    batch = random_batch(lm, prompts=1, length=6)
    found = integrated_gradients(lm, batch)
    near = {"rtol": 1e-4, "atol": 1e-7} if model_type in FLOAT32_ATTENTION else {"rtol": 1e-8, "atol": 1e-13}
    expected = fixed_nodes(lm, batch, left_riemann(20))
    torch.testing.assert_close(found.score[0], expected, **near)
    assert (expected.abs().amax(1) > 1e-7).all()
    assert (found.nodes == 20).all() and found.error.isnan().all()


@pytest.mark.parametrize("model_type", KINDS)
def test_released_equals_captum(model_type):
    lm = tiny_model(model_type)
    batch = random_batch(lm, prompts=1, length=6)
    found = integrated_gradients(lm, batch)
    for layer in range(lm.n_layers):
        captum = IntegratedGradients(probability_path(lm, batch, layer))
        activation = found.activation[:, layer]
        expected = captum.attribute(activation, torch.zeros_like(activation), n_steps=20, method="riemann_left")
        torch.testing.assert_close(found.score[:, layer], expected, rtol=1e-6, atol=1e-10)  # captum's nodes are float32


@pytest.mark.parametrize("method", [Method(), Method("gauss-legendre", tolerance=1e-3)])
@pytest.mark.parametrize("model_type", KINDS)
def test_the_gap_is_what_the_scores_lack(model_type, method):
    lm = tiny_model(model_type)
    batch = random_batch(lm)
    found = integrated_gradients(lm, batch, method)
    for row in range(2):
        for layer in range(lm.n_layers):
            path = probability_path(lm, batch, layer, row)
            activation = found.activation[row, layer]
            zero, one = path(torch.stack([torch.zeros_like(activation), activation]))
            torch.testing.assert_close(found.gap[row, layer], found.score[row, layer].sum() - (one - zero), rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(found.probability[row], one)
    relative = found.gap.abs().amax(1) / found.score.amax((1, 2))
    if method.quadrature == "released":
        assert (relative > 0.01).all()  # twenty left nodes are not complete, and the stored gap says so
    else:
        assert (relative < 1e-3).all()


@pytest.mark.parametrize("model_type, factor", [("bert", 4), ("llama", 30)])
@pytest.mark.parametrize("tolerance", [0.02, 0.001])
def test_nodes_are_added_where_few_are_not_enough(model_type, factor, tolerance):
    lm = sharpened(model_type, factor)
    batch = random_batch(lm, prompts=3)
    found = integrated_gradients(lm, batch, Method("gauss-legendre", tolerance=tolerance))
    exact, _ = attribution._integrate(lm, batch, gauss_legendre(256), torch.ones(lm.n_layers, dtype=torch.bool), GAUSS)
    largest = exact.amax((1, 2))[:, None]
    four, _ = attribution._integrate(lm, batch, gauss_legendre(4), torch.ones(lm.n_layers, dtype=torch.bool), GAUSS)
    off, off_with_four = ((scores - exact).abs().amax(2) / largest for scores in (found.score, four))
    assert off_with_four.max() > 2 * tolerance
    assert len(found.nodes.unique()) > 1
    assert (off <= tolerance).all()
    assert (found.error <= tolerance).all() and (off <= found.error).all()
