"""Every type of model that transformers registers is supported and right, or refused with the reason that the book has."""

import pytest
import torch
from brute_force import gradient_at
from supported_models import TYPES, lists, outcome, outcomes_of_page, supported, tiny_language_model
from tiny_models import assert_no_hooks

from kn_utils.model.devices import moved
from kn_utils.model.forward import logits_at
from kn_utils.model.gradients import scaled_gradients
from kn_utils.model.layouts import few_tokens
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Batch
from kn_utils.model.restart import started_at, stored_outputs
from kn_utils.paths import ROOT

OUTCOMES = outcomes_of_page()
SOME = ("deberta-v2", "esmc", "olmo2", "beam", "bloom", "mamba", "mixtral", "xlm")  # one of each kind


def assert_gradients_are_those_of_the_plain_loop(lm, near=1e-5):
    """One prompt, one node in every layer; `near` is a share of the layer's largest gradient, as some models compute in float32 inside."""
    ids = few_tokens(lm.model)
    position = torch.tensor([2 if lm.masked else ids.shape[1] - 1])
    target = lm.model(ids).logits[0, position].topk(2).indices[:, 1]
    nodes = [torch.tensor([0.35], dtype=torch.float64)] * lm.n_layers
    found = scaled_gradients(lm, prompt_suffix(lm, Batch(ids, position, target)), nodes)
    for layer, result in enumerate(found.layers):
        gradient, probability, activation = gradient_at(lm, ids[0], int(position), int(target), layer, 0.35)
        for one, other in (
            (result.gradient[0, 0], gradient),
            (result.probability[0, 0], probability),
            (result.activation[0], activation),
        ):
            assert (one - other).abs().max() <= near * other.abs().max()
        assert gradient.abs().max() > 0
    assert_no_hooks(lm)


def assert_passes_can_start_at_every_layer(lm, near=1e-6):
    """Two prompts; `near` is a share of the largest logit."""
    ids = few_tokens(lm.model, rows=2)
    position = torch.tensor([1, 2] if lm.masked else [ids.shape[1] - 1] * 2)
    suffix, rows = prompt_suffix(lm, Batch(ids, position, position)), torch.tensor([1, 0, 1])
    with stored_outputs(lm) as outputs:
        logits = logits_at(lm, suffix)[rows]
    for layer in range(lm.n_layers):
        with started_at(lm, layer, outputs, rows):
            assert (logits_at(lm, suffix.select(rows)) - logits).abs().max() <= near * logits.abs().max()
    assert_no_hooks(lm)


def check(model_type, monkeypatch):
    assert outcome(model_type) == OUTCOMES[model_type]
    if supported({model_type: OUTCOMES[model_type]}):
        lm = tiny_language_model(model_type)
        assert_gradients_are_those_of_the_plain_loop(lm, 1e-5 if lm.model.dtype == torch.float64 else 1e-3)
        assert_passes_can_start_at_every_layer(lm)
        monkeypatch.setattr(lm.model, "to", lambda device: lm.model)
        assert moved(model_type, lm.model, torch.device("cuda")) is lm.model  # the check of a device fits every type


@pytest.mark.parametrize("model_type", SOME)
def test_some_types(model_type, monkeypatch):
    check(model_type, monkeypatch)


@pytest.mark.endurance
@pytest.mark.parametrize("model_type", TYPES)
def test_every_type(model_type, monkeypatch):
    check(model_type, monkeypatch)


def test_the_book_has_the_outcome_of_every_type_and_at_least_80_are_supported():
    page = (ROOT / "book/architectures.md").read_text(encoding="utf-8")
    assert sorted(OUTCOMES) == TYPES
    assert lists({model_type: OUTCOMES[model_type] for model_type in TYPES}) in page
    assert supported(OUTCOMES) >= 80
