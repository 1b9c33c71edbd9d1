"""Suppressed, amplified and edited neurons in ordinary use of a model, compared with the functions behind the tables."""

from contextlib import nullcontext

import pandas as pd
import pytest
import torch
from tiny_models import assert_no_hooks, weight_sums

from kn_utils.model.contexts import amplify, edit, parse_neurons, suppress
from kn_utils.model.interventions import scaled_neurons, scaled_rule, target_embedding
from kn_utils.model.layouts import value_vectors
from kn_utils.model.neurons import neuron_name
from kn_utils.model.own_model import load
from kn_utils.model.own_sentences import answer_prompts

NEURONS = [(0, 3), (1, 7), (1, 40), (2, 11)]
NAMES = [neuron_name(*neuron) for neuron in NEURONS]
SENTENCES = ["The capital of Norway is [MASK].", "The capital of New Zealand is [MASK]."]
CAPITAL = SENTENCES[0]


def test_names_and_tables_name_the_same_neurons():
    assert parse_neurons(pd.DataFrame(NEURONS, columns=["layer", "neuron"])) == parse_neurons(NAMES) == NEURONS
    assert parse_neurons("L5.377") == parse_neurons(["5.377"]) == [(4, 377)]


@pytest.mark.parametrize("name", ["", "L5", "L0.3", "L5,377", "5.377.1", "4.-1", (4, 377)])
def test_a_name_that_is_none_is_an_error(name):
    with pytest.raises(ValueError, match="names no neuron: write L, the layer from 1"):
        parse_neurons([name])


def inputs(lm, sentences):
    """The prompts of sentences of any length as one padded batch, and the position of each prediction."""
    prompts = answer_prompts(lm, sentences, "Oslo")
    longest = max(len(prompt.ids) for prompt in prompts)
    ids = torch.tensor([[*prompt.ids, *[0] * (longest - len(prompt.ids))] for prompt in prompts])
    mask = torch.tensor([[1] * len(prompt.ids) + [0] * (longest - len(prompt.ids)) for prompt in prompts])
    return {"input_ids": ids, "attention_mask": mask}, torch.tensor([prompt.position for prompt in prompts])


@pytest.mark.parametrize("model_type", ["bert", "roberta", "gpt2", "llama"])
@pytest.mark.parametrize("context, operation", [(suppress, "suppress"), (amplify, "amplify")])
def test_every_pass_is_that_of_scaled_neurons(loaded, model_type, context, operation):
    lm = loaded(model_type)
    batch, position = inputs(lm, SENTENCES)
    with scaled_neurons(lm, position, [NEURONS] * 2, operation):
        expected = lm.model(**batch).logits
    before = lm.model(**batch).logits
    with context(lm, NAMES):
        found = lm.model(**batch).logits
        one = lm.model(batch["input_ids"][1:]).logits  # again, by position and with another number of texts
    assert torch.equal(found, expected) and not torch.allclose(found, before)
    assert torch.allclose(one, expected[1:], atol=1e-5) == bool(batch["attention_mask"][1].all())
    assert torch.equal(lm.model(**batch).logits, before)
    assert_no_hooks(lm)


def test_generation_suppresses_at_every_new_token(loaded):
    lm = loaded("gpt2")
    ids = torch.tensor([lm.tokenizer("The capital of Norway")["input_ids"]])
    with suppress(lm, NAMES):
        generated = lm.model.generate(ids, max_new_tokens=4, do_sample=False, use_cache=True, pad_token_id=0)[0].tolist()
    for length in range(ids.shape[1], len(generated)):  # without a cache every position that was predicted from is suppressed
        positions = range(ids.shape[1] - 1, length)
        found = suppressed_at(lm, generated[:length], positions)
        assert int(found.argmax()) == generated[length]
    assert_no_hooks(lm)


def suppressed_at(lm, ids, positions):
    """The last logits of a text with the neurons set to zero at some positions, by hooks of its own."""

    def zero(layer):
        def hook(down, args):
            inner = args[0].clone()
            for position in positions:
                inner[0, position, [index for at, index in NEURONS if at == layer]] = 0
            return (inner,)

        return hook

    hooks = [down.register_forward_pre_hook(zero(layer)) for layer, down in enumerate(lm.downs)]
    logits = lm.model(torch.tensor([ids])).logits[0, -1]
    for hook in hooks:
        hook.remove()
    return logits


def test_what_cannot_be_suppressed_is_an_error_and_leaves_nothing_behind(loaded):
    lm = loaded("bert")
    with pytest.raises(ValueError, match="so no neuron"), suppress(lm, ["L9.1"]):
        pass
    with pytest.raises(ValueError, match="every text must have exactly one mask"), suppress(lm, NAMES):
        lm.model(torch.tensor([[2, 5, 6, 3]]))
    with pytest.raises(ValueError, match="call the model with input_ids"), amplify(lm, NAMES):
        lm.model(inputs_embeds=torch.zeros(1, 2, 32))
    with pytest.raises(IndexError), suppress(lm, NAMES):
        lm.model(torch.tensor([[2, lm.tokenizer.mask_token_id, 10**6]]))
    assert_no_hooks(lm)


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_an_edit_is_the_papers_rule_and_is_undone(loaded, model_type):
    lm = loaded(model_type)
    [old], [new] = answer_prompts(lm, CAPITAL, "Oslo"), answer_prompts(lm, CAPITAL, "Paris")
    vectors = {neuron: value_vectors(lm.downs[neuron[0]])[neuron[1]].clone() for neuron in NEURONS}
    embeddings = [target_embedding(lm, prompt.target) for prompt in (old, new)]
    before = weight_sums(lm)
    with edit(lm, NAMES, CAPITAL, "Oslo", "Paris", lambda2=4):
        for (layer, index), vector in vectors.items():
            expected = scaled_rule(vector, *embeddings, lambda1=1, lambda2=4)
            torch.testing.assert_close(value_vectors(lm.downs[layer])[index], expected)
    assert weight_sums(lm) == before


@pytest.mark.parametrize(
    "instead, says",
    [
        ("Oslo", "instead is 'Oslo', which is the answer already"),
        ("San Marino", "instead 'San Marino' is 2 tokens"),
        ("", "instead is ''"),
    ],
)
def test_an_edit_to_no_other_answer_is_an_error(loaded, instead, says):
    with pytest.raises(ValueError, match=says), edit(loaded("bert"), NAMES, CAPITAL, "Oslo", instead):
        pass


def test_a_model_that_is_loaded_already_needs_its_tokenizer(loaded):
    lm = loaded("bert")
    with nullcontext(load(lm.model, lm.tokenizer)) as again:
        assert again.model is lm.model and again.masked and again.name == "bert"
    with pytest.raises(ValueError, match="needs its tokenizer: load\\(model, tokenizer\\)"):
        load(lm.model)


@pytest.mark.parametrize("name", ["startr", "Starter", "smollm-135m"])
def test_a_misspelt_bundled_model_is_not_looked_for_on_the_hub(name):
    with pytest.raises(ValueError, match=f"there is no model '{name}' \\(did you mean "):
        load(name)
