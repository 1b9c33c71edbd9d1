"""One growing pass gives what the plain loop gives, on every architecture, in float64."""

import pytest
import torch
from brute_force import gradient_at
from tiny_models import CONFIGURATIONS, FLOAT32_ATTENTION, random_batch, tiny_model

from kn_utils.model.architectures import LAYOUTS
from kn_utils.model.gradients import scaled_gradients
from kn_utils.model.prefix import prompt_suffix


def test_every_layout_has_a_tiny_model():
    assert set(CONFIGURATIONS) == set(LAYOUTS)


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
