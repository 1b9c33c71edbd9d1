"""One growing pass gives what the plain loop gives, on every architecture, in float64."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from brute_force import gradient_at
from tiny_models import CONFIGURATIONS, FLOAT32_ATTENTION, MODELS, assert_no_hooks, random_batch, tiny_model

from kn_utils.model.gradients import scaled_gradients
from kn_utils.model.layouts import BLOCK_AGAIN, FORMULA, LAYER_BY_LAYER, ONE_QUERY, WAYS
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.ways import fastest_way


@pytest.mark.parametrize("model_type", CONFIGURATIONS)
def test_gradients_equal_the_plain_loop(model_type, prompts=2):
    lm = tiny_model(model_type)
    batch = random_batch(lm, prompts)
    near = {"rtol": 1e-4, "atol": 1e-8} if model_type in FLOAT32_ATTENTION else {"rtol": 1e-7, "atol": 1e-12}
    nodes = [torch.tensor([0.0, 0.35, 1.0][: 1 + layer % 3], dtype=torch.float64) for layer in range(lm.n_layers)]
    found = scaled_gradients(lm, prompt_suffix(lm, batch), nodes)
    assert len(found.layers) == lm.n_layers
    for layer, result in enumerate(found.layers):
        for b in range(prompts):
            for k, node in enumerate(nodes[layer]):
                place = batch.ids[b], int(batch.position[b]), int(batch.target[b]), layer
                gradient, probability, activation = gradient_at(lm, *place, float(node))
                torch.testing.assert_close(result.activation[b], activation, **near)
                torch.testing.assert_close(result.gradient[k, b], gradient, **near)
                torch.testing.assert_close(result.probability[k, b], probability, **near)
                assert gradient.abs().max() > 1e-6
    for b in range(prompts):
        logits = lm.model(batch.ids[b : b + 1]).logits[0, batch.position[b]]
        torch.testing.assert_close(found.probability[b], logits.softmax(-1)[batch.target[b]], **near)
        assert found.top_token[b] == logits.argmax()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model_type, changes", [("bert", {}), ("gemma3_text", {}), ("opt", {}), MODELS[-1]])
def test_every_way_gives_the_same_numbers(model_type, changes, way):
    lm = tiny_model(model_type, **changes)
    if way == ONE_QUERY and not lm.layout.attention:
        pytest.skip("the names of its attention are not known")
    batch = random_batch(lm)
    nodes = [torch.tensor([0.0, 0.35, 1.0][layer % 3 :], dtype=torch.float64) for layer in range(lm.n_layers)]
    found = scaled_gradients(lm, prompt_suffix(lm, batch, way), nodes, way)
    expected = scaled_gradients(lm, prompt_suffix(lm, batch), nodes)
    for one, other in zip(found.layers, expected.layers, strict=True):
        torch.testing.assert_close(vars(one), vars(other), rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(found.probability, expected.probability)
    assert found.top_token.tolist() == expected.top_token.tolist()
    assert_no_hooks(lm)


@pytest.mark.parametrize(
    "model_type, changes, way",
    [
        ("bert", {}, ONE_QUERY),
        ("albert", {}, ONE_QUERY),
        ("llama", {}, FORMULA),
        ("llama", {"num_hidden_layers": 30}, FORMULA),  # in half precision rounding grows from layer to layer
        ("gemma3_text", {}, FORMULA),
        ("granite", {"residual_multiplier": 1.0}, FORMULA),
        ("granite", {"residual_multiplier": 0.22}, BLOCK_AGAIN),
        ("bloom", {}, LAYER_BY_LAYER),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_way_is_the_fastest_that_is_right(model_type, changes, way, dtype, caplog):
    lm = tiny_model(model_type, dtype, **changes)
    assert lm.way == way
    assert [record.name for record in caplog.records if "several times slower" in record.message] == (
        ["kn_utils.model.ways"] if way == LAYER_BY_LAYER else []
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_whose_batch_is_not_as_its_way_expects_is_noticed(dtype):
    """The norm after the sum is hidden from the formula: the formula is refused by its numbers."""
    lm = tiny_model("bert", dtype)
    assert fastest_way(lm) == ONE_QUERY
    object.__setattr__(lm, "layout", replace(lm.layout, after_norm="", attention=None))
    assert fastest_way(lm) == BLOCK_AGAIN


def test_gradients_of_a_small_probability_do_not_underflow_in_float16():
    """Its weights, read in float32, give the same gradients to some per cent; in float16 numbers below 6e-8 are zero."""
    half = tiny_model("bert", torch.float16)
    batch = random_batch(half, prompts=1)
    with torch.no_grad():
        half.model.get_output_embeddings().bias[(batch.target[0] + 1) % half.model.config.vocab_size] += 24
    exact = LanguageModel("exact", deepcopy(half.model).float(), half.tokenizer)
    found, expected = (scaled_gradients(lm, prompt_suffix(lm, batch), [torch.ones(1)] * lm.n_layers) for lm in (half, exact))
    assert expected.probability.max() < 1e-6
    for layer, by_layer in zip(found.layers, expected.layers, strict=True):
        largest = by_layer.gradient.abs().max()
        assert 0 < largest < 1e-6
        torch.testing.assert_close(layer.gradient / largest, by_layer.gradient / largest, rtol=0.05, atol=0.05)
