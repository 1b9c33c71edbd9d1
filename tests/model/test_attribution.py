"""Attribution: equal to the plain loop and to captum, complete, with an error that is what it claims to be."""

import pytest
import torch
from brute_force import integrated_gradients as plain_loop
from brute_force import probability_at
from captum.attr import IntegratedGradients
from tiny_models import CONFIGURATIONS, FLOAT32_ATTENTION, random_batch, tiny_model

from kn_utils.model import attribution
from kn_utils.model.attribution import Attribution, Quadrature, integrated_gradients
from kn_utils.model.gradients import scaled_gradients
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Batch
from kn_utils.model.quadrature import Rule, gauss_legendre, left_riemann, nested

KINDS = ["bert", "llama"]
GAUSS = Quadrature("gauss-legendre")
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
    """A model whose probability turns on a short piece of the path, so that few nodes miss it, the more so in some layers."""
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


@pytest.mark.parametrize("method", [Quadrature(), Quadrature("gauss-legendre", tolerance=1e-3)])
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


@pytest.mark.parametrize("model_type, factor", [("bert", 2), ("llama", 8)])
@pytest.mark.parametrize("tolerance", [0.02, 0.001])
def test_nodes_are_added_where_few_are_not_enough(model_type, factor, tolerance):
    lm = sharpened(model_type, factor)
    batch = random_batch(lm, prompts=3)
    found = integrated_gradients(lm, batch, Quadrature("gauss-legendre", tolerance=tolerance))
    layers = torch.ones(lm.n_layers, dtype=torch.bool)
    exact, four = (
        attribution._integrate(lm, prompt_suffix(lm, batch), gauss_legendre(n), layers, Quadrature())[0][0] for n in (128, 4)
    )
    off, off_with_four = ((scores - exact).abs().amax(2) / exact.amax((1, 2))[:, None] for scores in (found.score, four))
    assert off_with_four.max() > 5 * tolerance
    assert len(found.nodes.unique()) > 2
    assert (found.nodes.amax(1) > found.nodes.amin(1)).all()
    assert (off <= found.error).all() and (found.error <= tolerance).all()


def test_the_gap_asks_for_more_nodes_where_two_rules_agree_on_a_wrong_sum(monkeypatch):
    def stuck(level):  # the second rule is the first one again, so that nothing changes from one to the other
        rule = nested(level)
        weights = rule.weights.clone()
        weights[:, 1] = weights[:, 0]
        return Rule(rule.nodes, weights)

    monkeypatch.setattr(attribution, "nested", stuck)
    lm = sharpened("bert", 2)
    found = integrated_gradients(lm, random_batch(lm, prompts=3), GAUSS)
    assert (found.nodes > 3).sum() > 4
    assert (found.gap.abs() <= GAUSS.tolerance * found.score.amax((1, 2))[:, None]).all()


def test_the_exact_side_of_these_tests_is_exact():
    lm = sharpened("bert", 2)
    batch = random_batch(lm, prompts=1, length=4)
    found, _ = attribution._integrate(
        lm, prompt_suffix(lm, batch), gauss_legendre(12), torch.ones(lm.n_layers, dtype=torch.bool), Quadrature()
    )
    torch.testing.assert_close(found[0, 0], fixed_nodes(lm, batch, gauss_legendre(12)), **EXACT)


def test_an_unreachable_tolerance_stops_at_the_limit_and_shows_in_the_error(monkeypatch):
    monkeypatch.setattr(attribution, "LARGER", ())
    monkeypatch.setattr(attribution, "NESTED", (1, 3, 7, 15))
    found = integrated_gradients(
        tiny_model("bert"), random_batch(tiny_model("bert")), Quadrature("gauss-legendre", tolerance=1e-12)
    )
    assert found.nodes.max() == 15
    assert (found.error[found.nodes == 15] > 1e-12).any()


@pytest.mark.parametrize("quadrature", ["released", "gauss-legendre"])
@pytest.mark.parametrize("model_type", KINDS)
def test_a_tiny_memory_budget_changes_nothing(model_type, quadrature, monkeypatch):
    lm = tiny_model(model_type)
    batch = random_batch(lm, prompts=3)
    whole = integrated_gradients(lm, batch, Quadrature(quadrature))
    made = []
    plain = attribution.scaled_gradients
    monkeypatch.setattr(attribution, "scaled_gradients", lambda *args: made.append(max(map(len, args[2]))) or plain(*args))
    tiny = Quadrature(quadrature, max_memory_gb=1e-6)
    assert_equal(integrated_gradients(lm, batch, tiny), whole, EXACT)
    assert set(made) == {1}
    assert tiny.prompts_at_once(lm, 9) == tiny.nodes_at_once(lm, 9) == 1


def test_the_budget_shrinks_a_pass_in_proportion():
    lm = tiny_model("bert")
    small, large = (Quadrature(max_memory_gb=budget).nodes_at_once(lm, 9) for budget in (0.1, 1.0))
    assert large == pytest.approx(10 * small, rel=0.1)
    assert Quadrature(max_memory_gb=0.1).nodes_at_once(lm, 18) < small
    assert Quadrature(max_memory_gb=0.1).prompts_at_once(lm, 9) == small // 20


@pytest.mark.parametrize("length", [5, 60])
@pytest.mark.parametrize(
    "model_type", ["bert", "distilbert", "modernbert", "gpt2", "gptj", "llama", "gemma2", "granite", "bloom"]
)
def test_what_autograd_keeps_stays_below_the_estimate(model_type, length, nodes=4):
    """Long prompts too: attention grows with the square of their length, and every copy of a decoder's token holds its prefix."""
    lm = (
        tiny_model(model_type, torch.float32, num_hidden_layers=6)
        if model_type == "bert"
        else tiny_model(model_type, torch.float32)
    )
    suffix = prompt_suffix(lm, random_batch(lm, prompts=2, length=length))
    weights = {weight.untyped_storage().data_ptr() for weight in lm.model.state_dict().values()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scaled_gradients(lm, suffix, [torch.linspace(0, 1, nodes, dtype=torch.float64)] * lm.n_layers)
    used = sum(size for place, size in kept.items() if place not in weights)
    assert used <= 2 * nodes * attribution._bytes_per_node(lm, length)


@pytest.mark.parametrize("method", [Quadrature(), GAUSS])
@pytest.mark.parametrize("model_type", [*KINDS, "gpt2", "albert"])
def test_prompts_in_one_batch_do_not_influence_each_other(model_type, method):
    lm = tiny_model(model_type)
    batch = random_batch(lm, prompts=3)
    together = integrated_gradients(lm, batch, method)
    for row in range(3):
        own = Batch(batch.ids[row, None], batch.position[row, None], batch.target[row, None])
        alone = integrated_gradients(lm, own, method)
        one = Attribution(*(getattr(together, name)[row : row + 1] for name in PER_PROMPT))
        assert_equal(one, alone, EXACT)


def test_what_the_values_depend_on_includes_the_tolerance_only_where_it_counts():
    assert Quadrature(tolerance=0.5).inputs() == Quadrature().inputs()
    assert Quadrature("gauss-legendre", tolerance=0.5).inputs() != GAUSS.inputs()


@pytest.mark.parametrize("method", [Quadrature(), GAUSS])
def test_weights_that_are_not_numbers_are_an_error(method):
    lm = tiny_model("bert")
    batch = random_batch(lm)
    with torch.no_grad():
        lm.downs[1].weight[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="^bert: a score is not a finite number"):
        integrated_gradients(lm, batch, method)


@pytest.mark.parametrize("model_type", [*KINDS, "albert"])
def test_weights_and_hooks_are_as_before(model_type):
    lm = tiny_model(model_type)
    before = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    integrated_gradients(lm, random_batch(lm), GAUSS)
    assert all(torch.equal(weight, before[name]) for name, weight in lm.model.state_dict().items())
    for module in lm.model.modules():
        assert not (module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module))
    assert all(weight.grad is None for weight in lm.model.parameters())


def test_activations_too_large_for_float16_are_one_error_that_says_so():
    lm = tiny_model("bert", torch.float16)
    batch = random_batch(lm, prompts=1)
    with torch.no_grad():
        lm.downs[0].weight.fill_(60_000)  # sums of such products are beyond 65,504
    with pytest.raises(FloatingPointError, match="damaged, or its activations are too large for float16: try bfloat16"):
        integrated_gradients(lm, batch)
