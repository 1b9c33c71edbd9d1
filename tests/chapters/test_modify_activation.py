"""Step 3's table against a slow reading of the paper, prompt by prompt; and what notebook 03 makes of it."""

import math

import numpy as np
import pandas as pd
import pytest
import tiny_folders
import torch
from brute_force import probability_at

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.chapters.modify_activation.claims import changed_log_odds
from kn_utils.chapters.modify_activation.numbers import (
    MEAN,
    controls,
    count_facts,
    finding,
    flips,
    log_odds_changes,
    lost_answers,
    probability_changes,
)
from kn_utils.chapters.modify_activation.table import CONTROLS, WITH_RANDOM, _cases, _chosen, _partners, modify_activations
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.interventions import OPERATIONS
from kn_utils.model.layouts import value_vectors
from kn_utils.model.neurons import neurons_by_fact, random_neurons
from kn_utils.model.prompts import Prompt, encode
from kn_utils.stats.log_odds import log_odds
from kn_utils.stats.means import share_of_effect
from kn_utils.store.files import read_provenance
from kn_utils.store.results import digest
from kn_utils.store.runs import Run

LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that random weights have neurons that prompts share
TEMPLATES = [*tiny_folders.TEMPLATES["P36"], "[X] is home to [Y].", "The country of [X] is [Y]", "[X] is known for [Y] ."]
COLUMNS = {"relation": "str", "fact": "int32", "prompt": "int32", "method": "str", "operation": "str", "target": "str"}
COLUMNS |= {"neurons": "int32", "activation": "float32", "log_odds_before": "float32", "log_odds_after": "float32"}
COLUMNS |= {"probability_before": "float64", "probability_after": "float64", "answer_before": "str"}
COLUMNS |= {
    "answer_after": "str",
    "correct_before": "bool",
    "correct_after": "bool",
    "other_relation": "str",
    "other_fact": "int32",
}
COLUMNS |= {"answer_changed": "bool"}
SAME_OBJECTS = [["Alan Turing", "Oslo"], ["Norway", "Oslo"], ["Marie Curie", "Lima"]]  # the second is a fact twice
PLACE = ["fact", "prompt", "method", "operation", "target"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tiny"
    facts = tiny_folders.FACTS | {"P36": [*tiny_folders.FACTS["P36"], *SAME_OBJECTS]}
    return load_dataset(tiny_folders.write_data(folder, facts, dict.fromkeys(facts, TEMPLATES)))


@pytest.fixture(scope="module", params=["bert", "gpt2", "llama"])
def done(request, loaded, dataset, tmp_path_factory):
    """A model, its run, and the tables of steps 2 and 3 for P36."""
    lm = loaded(request.param)
    run = Run(lm.name, dataset, results_dir=tmp_path_factory.mktemp("results"))
    attribute_relation(lm, run, "P36", Quadrature())
    find_neurons(run, "P36", LOW)
    modify_activations(lm, run, "P36")
    return lm, run, run.read("knowledge_neurons", ["P36"]), run.read("modify_activation", ["P36"])


def plain_answer(lm, prompt, neurons, factor):
    """The object's probability, its log-odds and the top token, one prompt alone, as the released code does it: a hook per layer."""
    handles = []

    def hook(own):
        def before(module, args):
            changed = args[0].clone()
            changed.view(len(prompt.ids), -1)[prompt.position, own] *= factor
            return (changed,)

        return before

    for layer, down in enumerate(lm.downs):
        own = [neuron for at, neuron in neurons if at == layer]
        handles.append(down.register_forward_pre_hook(hook(own)))
    with torch.no_grad():
        shares = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position].double().softmax(-1)
    for handle in handles:
        handle.remove()
    probability = float(shares[prompt.target])
    return probability, math.log(probability / (1 - probability)), int(shares.argmax())


def plain_neurons(lm, run, neurons, scores, activation, row):
    """The neurons that a row's method changes, by one loop after another; those of random ones are not known here.

    `activation` has the fact's mean activations as nested lists.
    """
    own = {
        fact: sorted(zip(rows["layer"], rows["neuron"], strict=True))
        for fact, rows in neurons[neurons["method"] == "attribution"].groupby("fact")
    }
    scores = scores[(scores["fact"] == row.fact) & (scores["method"] == "attribution")]
    if row.method in ("attribution", "activation"):
        rows = neurons[(neurons["fact"] == row.fact) & (neurons["method"] == row.method)]
        return sorted(zip(rows["layer"], rows["neuron"], strict=True))
    if row.method == "same object":
        fact, other = (run.dataset.facts["P36"][index] for index in (row.fact, row.other_fact))
        assert row.other_relation == "P36" and fact.object == other.object and fact.subject != other.subject
        return own[other.index]
    if row.method == "matched":
        taken = {*own[row.fact], *zip(scores["layer"], scores["neuron"], strict=True)}
        found = []
        for layer, index in own[row.fact]:
            nearest = None
            for other in range(lm.n_neurons):
                gap = abs(activation[layer][other] - activation[layer][index])
                if (layer, other) not in taken and (nearest is None or gap < nearest[0]):
                    nearest = (gap, other)
            found.append((layer, nearest[1]))
            taken.add(found[-1])
        return sorted(found)
    usable = [index for index, text in enumerate(TEMPLATES) if lm.masked or text.rstrip(" .").endswith("[Y]")]
    halves = (usable[::2], usable[1::2])
    other_half = row.method == "held-out templates"
    [half] = [half for half in halves if (row.prompt in half) != other_half]
    totals = {}
    for prompt in half:
        of_prompt = scores[scores["prompt"] == prompt]
        for layer, neuron, score in zip(of_prompt["layer"], of_prompt["neuron"], of_prompt["score"], strict=True):
            totals[layer, neuron] = totals.get((layer, neuron), 0) + float(score) / float(of_prompt["score"].max())
    return sorted(sorted(totals, key=lambda neuron: (-totals[neuron], *neuron))[: len(own[row.fact])])


def plain_activation(lm, run, fact):
    """The mean activations over a fact's prompts as nested lists, [layers][neurons], one prompt and layer at a time."""
    prompts = [item for item in encode(lm, run.dataset, [run.dataset.facts["P36"][fact]]) if isinstance(item, Prompt)]
    return [
        np.mean([probability_at(lm, torch.tensor(p.ids), p.position, 0, layer)[1].tolist() for p in prompts], axis=0).tolist()
        for layer in range(lm.n_layers)
    ]


def test_columns_and_rows(done, dataset):
    lm, run, neurons, table = done
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
    assert not table.duplicated(PLACE).any()
    asked = [
        fact for fact in run.facts("P36", lm) if any(isinstance(prompt, Prompt) for prompt in encode(lm, run.dataset, [fact]))
    ]
    assert sorted(set(table["fact"])) == [fact.index for fact in asked]
    counts = table.groupby(["method", "operation", "target"]).size().unstack()
    assert set(table["method"]) == {*WITH_RANDOM, *CONTROLS}
    shared = counts.loc[list(WITH_RANDOM)]
    assert len(shared) == len(WITH_RANDOM) * len(OPERATIONS) and (shared.nunique() == 1).all()
    assert counts.loc[list(CONTROLS), "other"].isna().all()
    assert len(neurons["method"].unique()) == 2
    inputs = read_provenance(run.path("modify_activation", "P36"))["inputs"]
    earlier = ("attribution", "knowledge_neurons")
    assert inputs["made_from"] == {name: digest(run.made_with(name, "P36")) for name in earlier}
    assert inputs["other_relations"] == dataset.digest_of_others("P36")


def test_every_row_is_what_a_plain_run_of_its_prompt_gives(done):
    lm, run, neurons, table = done
    scores = run.read("attribution", ["P36"])
    by_fact = {fact: plain_activation(lm, run, fact) for fact in table["fact"].unique()}
    for row in table[table["method"] != "random"].itertuples():
        activation = by_fact[row.fact]
        places = plain_neurons(lm, run, neurons, scores, activation, row)
        assert row.neurons == len(places)
        mean = np.mean([activation[layer][index] for layer, index in places]) if places else np.nan
        assert row.activation == pytest.approx(mean, rel=1e-4, abs=1e-6, nan_ok=True)
        relation, index = ("P36", row.fact) if row.target == "own" else (row.other_relation, row.other_fact)
        asked = encode(lm, run.dataset, [run.dataset.facts[relation][index]])
        prompt = next(item for item in asked if isinstance(item, Prompt) and item.index == row.prompt)
        before, odds_before, top_before = plain_answer(lm, prompt, [], 1)
        after, odds_after, top_after = plain_answer(lm, prompt, places, OPERATIONS[row.operation])
        assert row.probability_before == pytest.approx(before, rel=1e-4)
        assert row.probability_after == pytest.approx(after, rel=1e-4)
        assert (row.log_odds_before, row.log_odds_after) == pytest.approx((odds_before, odds_after), abs=1e-4)
        assert (row.correct_before, row.correct_after) == (top_before == prompt.target, top_after == prompt.target)
        assert row.answer_after == lm.tokenizer.decode([top_after]).strip()


def test_controls_are_of_facts_with_neurons_and_of_all_their_prompts(done):
    _, run, _, table = done
    own = table[(table["target"] == "own") & (table["operation"] == "suppress")]
    ours = own[(own["method"] == "attribution") & (own["neurons"] > 0)]
    prompts = set(zip(ours["fact"], ours["prompt"], strict=True))
    for method in ("same templates", "held-out templates"):
        rows = own[own["method"] == method]
        assert set(zip(rows["fact"], rows["prompt"], strict=True)) == prompts
    matched, ours = (
        own[own["method"] == method].set_index(["fact", "prompt"])["neurons"] for method in ("matched", "attribution")
    )
    assert set(matched.index) <= prompts and matched.equals(ours[matched.index])
    partners = own[own["method"] == "same object"].groupby("fact")["other_fact"].agg(set).to_dict()
    facts, found = run.dataset.facts["P36"], {fact for fact, _ in prompts}
    able = {fact: {other for other in found if is_partner(facts[fact], facts[other])} for fact in found}
    assert set(partners) == {fact for fact, others in able.items() if others} and 0 < len(partners) < len(found)
    assert all(len(others) == 1 and others <= able[fact] for fact, others in partners.items())


def is_partner(fact, other):
    return fact.object == other.object and fact.subject != other.subject


def test_no_control_has_a_knowledge_neuron_and_another_seed_draws_other_partners(done):
    lm, run, neurons, _ = done
    chosen = _chosen(lm, run, "P36")
    own = neurons_by_fact(neurons[neurons["method"] == "attribution"])
    facts = [run.dataset.facts["P36"][fact] for fact in own]
    for case in _cases(lm, run.dataset, facts, chosen, run.seed):
        for method in {"matched", "random"} & case.neurons.keys():
            assert not set(case.neurons[method]) & set(own[case.fact.index]), method
        if "matched" in case.neurons:
            assert not set(case.neurons["matched"]) & chosen.named[case.fact.index]
    drawn = [tuple(_partners(facts, seed).items()) for seed in range(20)]
    assert drawn == [tuple(_partners(facts, seed).items()) for seed in range(20)]
    assert len(set(drawn)) > 1 or not any(len([o for o in facts if is_partner(f, o)]) > 1 for f in facts)


def test_something_changes_and_facts_without_neurons_do_not(done):
    *_, table = done
    changed = (table["probability_after"] / table["probability_before"] - 1).abs()
    assert (changed[(table["method"] == "attribution") & (table["neurons"] > 0)] > 1e-3).mean() > 0.5
    assert (table.loc[table["neurons"] == 0, "probability_after"] == table.loc[table["neurons"] == 0, "probability_before"]).all()


def test_the_other_fact_is_of_another_relation_and_one_per_fact(done):
    *_, table = done
    own, other = (table[table["target"] == target] for target in ("own", "other"))
    own = own[own["method"] != "same object"]
    assert (own["other_fact"] == -1).all() and (own["other_relation"] == "").all()
    assert not (other["other_relation"] == "P36").any() and len(other)
    assert (other.groupby("fact")[["other_relation", "other_fact"]].nunique() == 1).all(axis=None)


def test_random_neurons_are_as_many_in_the_same_layers_and_others():
    own = [(0, 1), (0, 2), (2, 47)]
    drawn = random_neurons(own, 48, "seed")
    assert [layer for layer, _ in drawn] == [0, 0, 2]
    assert not set(drawn) & set(own) and len(set(drawn)) == 3
    assert drawn == random_neurons(own, 48, "seed") != random_neurons(own, 48, "other seed")
    assert set(random_neurons([(1, 0), (1, 1)], 4, "x")) == {(1, 2), (1, 3)}


def test_the_bert_run_has_neurons_of_every_method(loaded, dataset, tmp_path):
    lm = loaded("bert")
    run = Run(lm.name, dataset, results_dir=tmp_path)
    attribute_relation(lm, run, "P36", Quadrature())
    with pytest.raises(FileNotFoundError, match="run notebooks/02_knowledge_neurons.ipynb with the same parameters first"):
        modify_activations(lm, run, "P36")
    find_neurons(run, "P36", LOW)
    modify_activations(lm, run, "P36")
    assert (run.read("modify_activation", ["P36"]).groupby("method")["neurons"].max() > 0).all()


def rows(*values, relation="P1", method="attribution", operation="suppress", target="own"):
    """Rows of (fact, before, after, right before, right after)."""
    columns = ["fact", "probability_before", "probability_after", "correct_before", "correct_after"]
    table = pd.DataFrame(values, columns=columns).assign(relation=relation, method=method, operation=operation, target=target)
    answers = {True: "right", False: "wrong"}
    return table.assign(
        prompt=range(len(table)),
        neurons=2,
        answer_before=table["correct_before"].map(answers),
        answer_after=table["correct_after"].map(answers),
        answer_changed=table["correct_before"] != table["correct_after"],
        log_odds_before=log_odds(table["probability_before"]),
        log_odds_after=log_odds(table["probability_after"]),
    )


def test_a_change_is_a_ratio_of_means_and_relations_count_alike():
    first = rows((0, 0.8, 0.4, True, True), (0, 0.1, 0.1, False, False), (1, 0.1, 0.2, False, True))  # sum 1.0 -> 0.7
    second = rows((0, 0.2, 0.3, True, True), relation="P2")  # + 50 %
    found = probability_changes(pd.concat([first, second]), seed=0).set_index("relation")
    assert found["change"].to_dict() == pytest.approx({"P1": -30, "P2": 50, MEAN: 10})
    assert found["facts"].to_dict() == {"P1": 2, "P2": 1, MEAN: 3}
    assert found.loc["P1", "low"] < -30 < found.loc["P1", "high"]  # from its two facts, and no new relation
    assert found.loc["P2", ["low", "high"]].isna().all() and found.loc[["P1", "P2"], "new_low"].isna().all()
    assert found.loc[MEAN, "low"] < 10 < found.loc[MEAN, "high"]
    half = 12.7062 * np.sqrt(2) * 40 * np.sqrt(1.5)  # t with one degree of freedom, sd of -30 and 50, two relations
    assert found.loc[MEAN, ["new_low", "new_high"]].tolist() == pytest.approx([10 - half, 10 + half], rel=1e-3)


def odds(probability):
    return np.log(probability / (1 - probability))


def test_log_odds_are_averaged_over_prompts_then_facts_then_relations():
    first = rows((0, 0.8, 0.4, True, True), (0, 0.1, 0.1, False, False), (1, 0.1, 0.2, False, True))
    second = rows((0, 0.2, 0.3, True, True), relation="P2")
    found = log_odds_changes(pd.concat([first, second]), seed=0).set_index("relation")["change"]
    one = ((odds(0.4) - odds(0.8)) / 2 + odds(0.2) - odds(0.1)) / 2
    two = odds(0.3) - odds(0.2)
    assert found.to_dict() == pytest.approx({"P1": one, "P2": two, MEAN: (one + two) / 2})


def test_controls_are_compared_on_the_facts_that_have_them():
    table = pd.concat(
        [
            rows((0, 0.5, 0.2, True, True), (1, 0.5, 0.1, True, True)),
            rows((0, 0.5, 0.4, True, True), method="matched"),
            rows((0, 0.5, 0.2, True, True), (1, 0.5, 0.2, True, True), method="same templates"),
            rows((0, 0.5, 0.2, True, True), (1, 0.5, 0.5, True, True), method="held-out templates"),
        ]
    )
    found = controls(table, seed=0).set_index("control")
    assert found["facts"].to_dict() == {"matched": 1, "held-out templates": 2}
    assert found.loc["matched", "change"] == "−1.39 (no interval)" and found.loc["matched", "of the control"].startswith("−0.41")
    assert found.loc["held-out templates", "share"].startswith("50.0 [")


def test_a_share_of_an_effect_may_be_of_other_facts():
    index = pd.MultiIndex.from_tuples([("P1", 0), ("P1", 1), ("P2", 0), ("P3", 0)], names=["relation", "fact"])
    values = pd.Series([2.0, 1.0, 4.0, 3.0], index=index)
    known = pd.Series([True, False, True, False], index=index)
    assert share_of_effect(values[known], values[~known], 0)[0] == pytest.approx(100 * 2 / 3)  # (1 + 3) / 2 of (2 + 4) / 2


def test_flips_are_counted_among_those_that_can_flip():
    table = rows((0, 0.8, 0.4, True, False), (0, 0.8, 0.7, True, True), (1, 0.1, 0.2, False, True), (1, 0.1, 0.1, False, False))
    found = flips(table, seed=0).set_index("flip")
    assert found["share"].to_dict() == {"right to wrong": 50, "wrong to right": 50, "any change": 50}
    assert found["prompts"].to_dict() == {"right to wrong": 2, "wrong to right": 2, "any change": 4}
    never_right = flips(rows((0, 0.1, 0.1, False, False)), seed=0).set_index("flip")
    assert math.isnan(never_right.loc["right to wrong", "share"]) and never_right.loc["any change", "share"] == 0


def test_facts_without_neurons_and_prompts_are_counted():
    table = pd.concat(
        [
            rows((0, 0.5, 0.4, True, True), (1, 0.5, 0.5, True, True)),
            rows((0, 0.5, 0.4, True, True), (0, 0.5, 0.5, True, True), (0, 0.5, 0.5, True, True), target="other"),
            rows((0, 0.5, 0.5, True, True), method="random"),
        ]
    )
    table["neurons"] = np.array([2, 0, 2, 2, 2, 3])
    both = pd.concat([table, table.assign(operation="amplify")])
    assert count_facts(both).to_dict("index") == {
        "attribution": {"facts": 2, "without": 1, "own_prompts": 2, "other_prompts": 3},
        "random": {"facts": 1, "without": 0, "own_prompts": 1, "other_prompts": 0},
    }
    alone = both[both["target"] == "own"]
    assert (count_facts(alone)["other_prompts"] == 0).all()


def test_answers_that_are_lost_are_the_surest_one_of_a_fact():
    table = rows((0, 0.8, 0.1, True, False), (0, 0.9, 0.2, True, False), (1, 0.3, 0.1, True, False), (2, 0.99, 0.9, True, True))
    prompts = table[["relation", "fact", "prompt"]].assign(text=["a", "b", "c", "d"])
    found = lost_answers(pd.concat([table, table.assign(operation="amplify")]), prompts)
    assert found[["prompt", "answer_after", "probability_after"]].to_numpy().tolist() == [
        ["b", "wrong", 0.2],
        ["c", "wrong", 0.1],
    ]
    assert lost_answers(table, prompts, n=1)["prompt"].tolist() == ["b"]


def test_the_finding_has_the_means_and_the_lost_answers():
    values = [(0, 0.5, 0.2, True, False), (1, 0.5, 0.2, True, True)]
    every = [(method, operation) for method in ("attribution", "activation") for operation in ("suppress", "amplify")]
    table = pd.concat([rows(*values, method=method, operation=operation) for method, operation in every])
    found = finding(log_odds_changes(table, seed=0), flips(table, seed=0))
    assert "by −1.39 [−1.39, −1.39], amplifying them by −1.39" in found and "Of 2 right answers, 50.0 [0.00, 100.0] %" in found
    alone = table[table["fact"] == 1]
    assert "Of 1 right answers, 0.00 % (no interval)" in finding(log_odds_changes(alone, seed=0), flips(alone, seed=0))


def test_claims_are_contrasts_of_the_changes_that_are_shown():
    values = [(fact, 0.5, after, True, True) for fact, after in enumerate((0.1, 0.2, 0.4, 0.45))]
    table = pd.concat(
        [
            rows(*values).assign(probability_after=lambda one, factor=factor: factor * one["probability_after"], method=method)
            for method, factor in (("attribution", 1), ("activation", 1.1), ("random", 1.2))
        ]
    )
    shown = log_odds_changes(table, seed=7).query("relation == @MEAN").set_index("method")
    ours, *others, paper = changed_log_odds("suppress", {"modify_activation": table}, seed=7)
    assert [ours.value, ours.low, ours.high] == shown.loc["attribution", ["change", "low", "high"]].tolist()
    by_method = {name: one for name in ("baseline", "random") for one in others if name in one.contrast}
    for method, name in (("activation", "baseline"), ("random", "random")):
        assert by_method[name].value == pytest.approx(shown.loc["attribution", "change"] - shown.loc[method, "change"])
    measure = probability_changes(table, seed=7).query("relation == @MEAN").set_index("method").loc["attribution"]
    assert [paper.value, paper.low, paper.high] == measure[["change", "low", "high"]].tolist()


def test_value_vectors_are_not_touched(done):
    lm, *_ = done
    assert all(len(value_vectors(down)) == lm.n_neurons and not down._forward_pre_hooks for down in lm.downs)
