"""The words of value vectors, against the heads of transformers called by hand."""

import pytest
import torch
from tiny_models import CONFIGURATIONS, assert_no_hooks, near, tiny_model

from kn_utils.model import value_words
from kn_utils.model.layouts import value_vectors
from kn_utils.model.value_words import head_logits

HEADS = {  # all that follows the last block
    "bert": lambda model, hidden: model.cls(hidden),
    "distilbert": lambda model, hidden: model.vocab_projector(
        model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))
    ),
    "gpt2": lambda model, hidden: model.lm_head(model.transformer.ln_f(hidden)),
    "gpt_neox": lambda model, hidden: model.lm_head(model.gpt_neox.final_layer_norm(hidden)),
    "llama": lambda model, hidden: model.lm_head(model.model.norm(hidden)),
    "opt": lambda model, hidden: model.lm_head(model.model.decoder.final_layer_norm(hidden)),
}


@pytest.mark.parametrize("model_type", HEADS)
def test_vectors_pass_through_all_that_follows_the_last_block(model_type):
    lm = tiny_model(model_type)
    vectors = torch.randn(5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(head_logits(lm, vectors), HEADS[model_type](lm.model, vectors), **near(model_type))
    assert_no_hooks(lm)


@pytest.mark.parametrize("model_type", [name for name in CONFIGURATIONS if name != "albert"])
def test_the_logits_depend_on_the_vector_alone_in_every_architecture(model_type):
    lm = tiny_model(model_type)
    vectors = torch.randn(4, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(head_logits(lm, vectors)[2:], head_logits(lm, vectors[2:]), **near(model_type))
    assert (head_logits(lm, vectors).std(0) > 1e-6).any()


def test_the_words_of_a_neuron_are_those_of_its_value_vector(loaded, monkeypatch):
    lm = loaded("bert")
    neurons = [(2, 7), (0, 0), (1, 40), (0, 11), (2, 8)]
    expected = {}
    for layer, index in neurons:
        order = lm.model.cls(value_vectors(lm.downs[layer])[index]).argsort(descending=True).tolist()
        expected[layer, index] = lm.words(order[:3]), lm.words(order[:-4:-1])
    assert value_words.value_words(lm, neurons, 3) == expected
    monkeypatch.setattr(value_words, "AT_ONCE", 2)
    assert value_words.value_words(lm, neurons, 3) == expected


def test_shared_layers_are_refused():
    with pytest.raises(ValueError, match="layers share one feed-forward network"):
        value_words.value_words(tiny_model("albert"), [(0, 0)], 3)
