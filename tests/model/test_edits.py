"""Editing value vectors: exact undoing however a block ends, models that can be saved, and the rules worked out by hand."""

import re

import pandas as pd
import pytest
import torch
from tiny_models import tiny_model, weight_sums
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from kn_utils.model.forward import activations
from kn_utils.model.interventions import (
    edited_value_vectors,
    erasure,
    fixed_rule,
    new_vectors,
    scaled_rule,
    target_embedding,
)
from kn_utils.model.layouts import value_vectors
from kn_utils.model.models import load_model
from kn_utils.model.neurons import COMMON_SHARE, uncommon_neurons

KINDS = ["bert", "gpt2", "llama"]  # Linear, Conv1D, gated
NEURONS = [(0, 3), (2, 47), (2, 0)]


def some_vectors(lm, neurons=NEURONS):
    generator = torch.Generator().manual_seed(1)
    return {neuron: torch.randn(32, generator=generator, dtype=lm.model.dtype) for neuron in neurons}


def down_name(lm, layer):
    [name] = [name for name, weight in lm.model.named_parameters() if weight is lm.downs[layer].weight]
    return name


def logits(lm):
    return lm.model(torch.tensor([[1, 5, 9, 7]])).logits


@pytest.mark.parametrize("model_type", KINDS)
def test_only_the_named_vectors_change_and_only_inside(model_type):
    lm = tiny_model(model_type)
    before, said = weight_sums(lm), logits(lm)
    weights = {name: weight.clone() for name, weight in lm.model.named_parameters()}
    vectors = some_vectors(lm)
    with edited_value_vectors(lm, vectors):
        changed = {name for name, weight in lm.model.named_parameters() if not torch.equal(weight, weights[name])}
        assert changed == {down_name(lm, 0), down_name(lm, 2)}
        for layer in range(3):
            old = weights[down_name(lm, layer)]
            old = old if model_type == "gpt2" else old.T
            for neuron, row in enumerate(value_vectors(lm.downs[layer])):
                assert torch.equal(row, vectors.get((layer, neuron), old[neuron]))
        assert not torch.allclose(logits(lm), said)
    assert weight_sums(lm) == before
    assert torch.equal(logits(lm), said)


@pytest.mark.parametrize("model_type", KINDS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_undone_after_an_error_inside(model_type, error):
    lm = tiny_model(model_type)
    before = weight_sums(lm)
    with pytest.raises(error), edited_value_vectors(lm, some_vectors(lm)):
        assert weight_sums(lm) != before
        raise error
    assert weight_sums(lm) == before


class Interrupted(torch.Tensor):
    """A vector whose copying into a weight is interrupted, before or after it happens."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.copy_:
            if cls.late:
                args[0].copy_(args[1].as_subclass(torch.Tensor))
            raise KeyboardInterrupt
        return super().__torch_function__(function, types, args, kwargs or {})


@pytest.mark.parametrize("model_type", KINDS)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("place", range(len(NEURONS)))
def test_undone_when_interrupted_at_any_vector(model_type, place, late, monkeypatch):
    monkeypatch.setattr(Interrupted, "late", late, raising=False)
    lm = tiny_model(model_type)
    before = weight_sums(lm)
    vectors = some_vectors(lm)
    vectors[NEURONS[place]] = vectors[NEURONS[place]].as_subclass(Interrupted)
    with pytest.raises(KeyboardInterrupt), edited_value_vectors(lm, vectors):
        pytest.fail("the block must not begin")
    assert weight_sums(lm) == before


@pytest.mark.parametrize("model_type", KINDS)
def test_blocks_may_be_nested(model_type):
    lm = tiny_model(model_type)
    states = [weight_sums(lm)]
    with edited_value_vectors(lm, some_vectors(lm)):
        states.append(weight_sums(lm))
        with pytest.raises(KeyError), edited_value_vectors(lm, {(2, 47): torch.zeros(32), (1, 1): torch.ones(32)}):
            states.append(weight_sums(lm))
            raise KeyError
        assert weight_sums(lm) == states[1]
    assert weight_sums(lm) == states[0] and len({str(state) for state in states}) == 3


def test_an_edited_model_never_passes_for_the_original():
    known, unknown = tiny_model("bert"), tiny_model("bert")
    original = known.digest
    for lm in (known, unknown):  # whether the digest was asked for before or not
        with edited_value_vectors(lm, some_vectors(lm)):
            edited = lm.digest
            with edited_value_vectors(lm, some_vectors(lm, [(1, 1)])):
                assert lm.digest not in (edited, original)
            assert lm.digest == edited != original
        assert lm.digest == original


@pytest.mark.parametrize("model_type, auto", [("bert", AutoModelForMaskedLM), ("gpt2", AutoModelForCausalLM)])
def test_an_edited_model_is_saved_as_an_ordinary_folder(model_type, auto, folder_of, tmp_path):
    lm = load_model(folder_of(model_type), "cpu")
    with edited_value_vectors(lm, {(0, 3): torch.ones(32), (2, 5): torch.zeros(32)}):
        lm.model.save_pretrained(tmp_path)
        lm.tokenizer.save_pretrained(tmp_path)
        inside, digest = {name: weight.clone() for name, weight in lm.model.state_dict().items()}, lm.digest
    plain = auto.from_pretrained(tmp_path).state_dict()
    assert plain.keys() == inside.keys() and all(torch.equal(plain[name], inside[name]) for name in inside)
    text = "The capital of Norway is Oslo."
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == lm.tokenizer(text)["input_ids"]
    again = load_model(tmp_path, "cpu")
    assert again.digest == digest != lm.digest
    assert torch.equal(value_vectors(again.downs[0])[3], torch.ones(32))


@pytest.mark.parametrize("change", [edited_value_vectors, lambda lm, vectors: new_vectors(lm, list(vectors), erasure)])
def test_models_whose_layers_share_neurons_are_refused(change):
    lm = tiny_model("albert")
    message = "^albert: layers share one feed-forward network, so no value vector belongs to one layer alone$"
    with pytest.raises(ValueError, match=message), change(lm, {(0, 0): torch.zeros(32)}):
        pytest.fail("the block must not begin")


@pytest.mark.parametrize("neuron", [(3, 0), (0, 48), (-1, 0), (0, -1)])
def test_a_neuron_the_model_does_not_have(neuron):
    lm = tiny_model("bert")
    message = rf"^bert has 3 layers of 48 neurons, counted from 0, so no neuron \(layer, index\) {re.escape(str(neuron))}$"
    with pytest.raises(ValueError, match=message), edited_value_vectors(lm, {neuron: torch.zeros(32)}):
        pytest.fail("the block must not begin")


def test_a_vector_of_another_shape_leaves_the_model_alone():
    lm = tiny_model("bert")
    before = weight_sums(lm)
    vectors = {(0, 1): torch.zeros(32), (0, 2): torch.zeros(1)}
    message = r"^the new value vector of \(0, 2\) has the shape \(1,\), not \(32,\)$"
    with pytest.raises(ValueError, match=message), edited_value_vectors(lm, vectors):
        pytest.fail("the block must not begin")
    assert weight_sums(lm) == before


def test_the_rules_by_hand():
    vector, old, new = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0]), torch.tensor([-10.0, 0.0])
    assert scaled_rule(vector, old, new).tolist() == [3 - 8 * 5, 4 - 1 * 5]
    assert scaled_rule(vector, old, new, lambda1=2, lambda2=0).tolist() == [3, 4 - 2 * 5]
    assert scaled_rule(vector, old, new, lambda1=0, lambda2=0).tolist() == [3, 4]
    assert scaled_rule(vector, 7 * old, new / 3).tolist() == pytest.approx([-37, -1])  # lengths of embeddings do not matter
    assert fixed_rule(vector, old, new).tolist() == [3 - 20, 4 - 4]
    assert erasure(vector).tolist() == [0, 0]
    assert vector.tolist() == [3, 4]


def test_new_vectors_apply_the_rule_to_each_neuron():
    lm = tiny_model("gpt2")
    found = new_vectors(lm, NEURONS, lambda vector: 2 * vector)
    assert list(found) == NEURONS
    for (layer, neuron), vector in found.items():
        assert torch.equal(vector, 2 * lm.downs[layer].weight[neuron])


def test_an_erased_neuron_adds_nothing_at_any_position():
    """The layers above see what they would see if the neuron were inactive everywhere."""
    lm = tiny_model("bert")
    ids = torch.tensor([[1, 5, 9, 7], [4, 3, 2, 8]])
    hook = lm.downs[1].register_forward_pre_hook(lambda _, args: (args[0].index_fill(-1, torch.tensor([6, 40]), 0),))
    silent = [activations(lm, ids, torch.tensor([at, at])) for at in range(4)]
    hook.remove()
    with edited_value_vectors(lm, new_vectors(lm, [(1, 6), (1, 40)], erasure)):
        erased = [activations(lm, ids, torch.tensor([at, at])) for at in range(4)]
    for found, expected in zip(erased, silent, strict=True):
        torch.testing.assert_close(found[:, 2], expected[:, 2])
    assert not torch.allclose(silent[0][:, 2], activations(lm, ids, torch.tensor([0, 0]))[:, 2])


def test_target_embeddings_are_the_input_ones():
    lm = tiny_model("llama", tie_word_embeddings=False)
    assert torch.equal(target_embedding(lm, 7), lm.model.model.embed_tokens.weight[7])
    narrow = tiny_model("electra")
    with pytest.raises(ValueError, match="^electra: word embeddings have 16 coordinates and value vectors 32, so they cannot"):
        target_embedding(narrow, 7)


def test_common_neurons_are_spared_with_the_released_codes_one():
    """Of 40 facts, a neuron of 3 may be edited (1 + 3 is a tenth) and one of 4 may not; of 39, neither."""
    assert COMMON_SHARE == 0.1
    rows = [(fact, 0, 7) for fact in range(4)] + [(fact, 1, 7) for fact in range(3)] + [(9, 1, 8)]
    table = pd.DataFrame(rows, columns=["fact", "layer", "neuron"])
    kept = uncommon_neurons(table, 40)
    assert kept.value_counts(["layer", "neuron"]).to_dict() == {(1, 7): 3, (1, 8): 1}
    assert uncommon_neurons(table, 39).value_counts(["layer", "neuron"]).to_dict() == {(1, 8): 1}
    assert uncommon_neurons(table, 50).equals(table)
    assert uncommon_neurons(table, 12, 0.25).value_counts(["layer", "neuron"]).to_dict() == {(1, 8): 1}  # 3 of 12
    for facts in range(10, 300):
        assert len(uncommon_neurons(table[4:7], facts)) == (3 if facts // 10 >= 4 else 0)
