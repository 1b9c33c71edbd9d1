"""Trials on held-out templates against plain loops."""

import known_facts
import pytest
import torch

from kn_utils.model.attribution import integrated_gradients
from kn_utils.model.half_neurons import QUADRATURE
from kn_utils.model.prompts import stack, usable_prompts
from kn_utils.model.trials import MAX_TEMPLATES, AttributedFact, attribute_facts, drawn_halves, suppressed_log_odds


def plain_log_odds(lm, prompt, neurons):
    """The log-odds of the target of one prompt with some neurons at zero, by a hook for each layer."""
    handles = []
    for layer, down in enumerate(lm.downs):

        def suppress(module, args, layer=layer):
            inner = args[0].clone()
            for index in (index for at, index in neurons if at == layer):
                inner.view(-1, lm.n_neurons)[prompt.position, index] = 0
            return (inner,)

        handles.append(down.register_forward_pre_hook(suppress))
    with torch.no_grad():
        logits = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position].double()
    for handle in handles:
        handle.remove()
    return float(torch.logit(logits.softmax(-1)[prompt.target]))


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_suppressed_log_odds_are_those_of_a_plain_loop(loaded, tiny_dataset, model_type):
    lm = loaded(model_type)
    prompts = [prompt for fact in tiny_dataset.facts["P36"] for prompt in usable_prompts(lm, tiny_dataset, fact)]
    sets = [[[], [(0, place), (2, 5)], [(1, 7), (1, 8), (2, place)]][: 1 + place % 3] for place in range(len(prompts))]
    found = suppressed_log_odds(lm, prompts, sets)
    assert [len(of_prompt) for of_prompt in found] == [1 + place % 3 for place in range(len(prompts))]
    for prompt, of_prompt, values in zip(prompts, sets, found, strict=True):
        assert values == pytest.approx([plain_log_odds(lm, prompt, neurons) for neurons in of_prompt], abs=1e-4)


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_facts_are_attributed_prompt_by_prompt_on_both_halves(loaded, tiny_dataset, model_type):
    lm = loaded(model_type)
    halves = {"P36": drawn_halves(lm, tiny_dataset, "P36", seed=0)}
    facts = tiny_dataset.facts["P36"]
    found = attribute_facts(lm, tiny_dataset, facts, halves)
    assert [fact.subject for fact in found] == ["Norway", "Peru", "New Zealand", "France"]  # of the others no object is one token
    for fact, own in found.items():
        assert own.prompts == usable_prompts(lm, tiny_dataset, fact)
        assert own.halves.tolist() == [halves["P36"][prompt.index] for prompt in own.prompts]
        for prompt, scores, activation in zip(own.prompts, own.scores, own.activations, strict=True):
            single = integrated_gradients(lm, stack([prompt], lm.device), QUADRATURE)
            torch.testing.assert_close(scores, single.score[0].double() / single.score.max(), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(activation, single.activation[0].double(), rtol=1e-4, atol=1e-5)
        for half in (0, 1):
            assert {prompt.index for prompt in own.judged_by(half)} == {
                at for at, other in halves["P36"].items() if other != half
            }


def test_a_fact_with_prompts_in_one_half_only_is_left_out(loaded, tiny_dataset):
    lm = loaded("bert")
    assert attribute_facts(lm, tiny_dataset, tiny_dataset.facts["P36"][:1], {"P36": {0: 0, 2: 0}}) == {}


def of_hand(scores, activations):
    return AttributedFact([], torch.tensor([0, 1, 0]), torch.tensor(scores), torch.tensor(activations))


def test_chosen_and_matched_neurons_by_hand():
    """Six neurons of one layer, three prompts; the second prompt is in the other half."""
    scores = [[[1, 0.5, 0.4, 0.3, 0.01, 0.02]], [[0, 0, 0, 0.05, 0.1, 1]], [[1, 0.6, 0.4, 0.2, 0.01, 0]]]
    found = of_hand(scores, [[[1.0, 2, 3, 4, 5, 6]]] * 3)
    assert found.chosen(0) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert found.chosen(1) == [(0, 5), (0, 4), (0, 3), (0, 0)]  # ties go by index
    assert found.chosen(0, without=[(0, 1)]) == [(0, 0), (0, 2), (0, 3), (0, 4)]
    assert found.matched(0) is None  # all six are chosen or named
    more = [[[*prompt[0], 0.09, 0.0, 0.0, 0.0]] for prompt in scores]
    found = of_hand(more, [[[1.0, 2, 3, 4, 5, 6, 3.9, 0.9, 2.2, 2.6]]] * 3)
    assert found.matched(0) == [(0, 7), (0, 8), (0, 9), (0, 6)]


def test_few_templates_are_drawn_with_the_seed_and_split_in_turn(loaded):
    lm, data = loaded("bert"), known_facts.dataset()
    assert drawn_halves(lm, data, "P36", 0) == {0: 0, 1: 1, 2: 0, 3: 1}
    many = type(data)(data.name, data.facts, {"P36": data.templates["P36"] * 5}, data.labels, data.locate)
    drawn = drawn_halves(lm, many, "P36", 0)
    assert len(drawn) == MAX_TEMPLATES and list(drawn.values()) == [0, 1] * 3 and list(drawn) == sorted(drawn)
    assert drawn == drawn_halves(lm, many, "P36", 0) != drawn_halves(lm, many, "P36", 1)


def test_scores_of_no_effect_are_zero(tmp_path):
    """In a model without weights no score is positive, so there is no largest one to divide by."""
    lm = known_facts.blank_model(tmp_path / "blank")
    halves = {"P36": drawn_halves(lm, known_facts.dataset(), "P36", 0)}
    [found] = attribute_facts(lm, known_facts.dataset(), known_facts.dataset().facts["P36"][:1], halves).values()
    assert (found.scores == 0).all()
