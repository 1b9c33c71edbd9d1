"""What notebook 01 makes of step 1's tables, on tables small enough to count by hand."""

import time
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from kn_utils.chapters.attribution import numbers as summary
from kn_utils.model.prompts import NOT_OBJECT_FINAL, NOT_ONE_TOKEN
from kn_utils.store.runs import Run

KEY = ["relation", "fact", "prompt"]


def scores_of(*rows):
    """Step 1's scores from rows (fact, prompt, layer, neuron, score) of integrated gradients."""
    table = pd.DataFrame(rows, columns=["fact", "prompt", "layer", "neuron", "score"])
    return table.assign(relation="P1", method="attribution")


def random_scores(facts, prompts=5, seed=0):
    """Kept neurons of facts in an order of their own; some prompts have none."""
    draw = np.random.default_rng(seed)
    rows = [
        (relation, fact, prompt, method, *place)
        for relation in ("P1", "P2")
        for fact in draw.permutation(3 * facts)[:facts]
        for prompt in range(prompts)
        for method in ("attribution", "activation")
        if draw.random() < 0.9
        for place in sorted(set(map(tuple, draw.integers(0, 4, (6, 2)).tolist())))
    ]
    return pd.DataFrame(rows, columns=[*KEY, "method", "layer", "neuron"])


def plain_agreement(scores, seed):
    """The overlaps as the definition has them: every prompt against every other, which takes quadratic time."""
    generator = np.random.default_rng(seed)
    rows = []
    for at, table in scores.groupby(["method", "relation"]):
        kept = {place: set(zip(own["layer"], own["neuron"], strict=True)) for place, own in table.groupby(["fact", "prompt"])}
        for fact in table["fact"].unique():
            own = [prompt for other, prompt in kept if other == fact]
            same = [len(kept[fact, a] & kept[fact, b]) / len(kept[fact, a] | kept[fact, b]) for a, b in combinations(own, 2)]
            different = []
            for prompt in own:
                others = [place for place in kept if place[1] == prompt and place[0] != fact]
                if others:
                    other = kept[others[generator.integers(len(others))]]
                    different.append(len(kept[fact, prompt] & other) / len(kept[fact, prompt] | other))
            rows += [(*at, kind, np.mean(found)) for kind, found in zip(KINDS, (same, different), strict=True) if found]
    return pd.DataFrame(rows, columns=["method", "relation", "kind", "overlap"])


KINDS = (summary.SAME_FACT, summary.SAME_TEMPLATE)


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_that_of_every_prompt_against_every_other(seed):
    scores = random_scores(25, seed=seed)
    pd.testing.assert_frame_equal(summary.prompt_agreement(scores, seed), plain_agreement(scores, seed), check_exact=True)


def test_agreement_by_hand():
    scores = scores_of((0, 0, 1, 1, 9), (0, 0, 1, 2, 9), (0, 1, 1, 1, 9), (7, 0, 1, 2, 9))
    found = summary.prompt_agreement(scores, seed=0)
    assert found[["kind", "overlap"]].to_numpy().tolist() == [[KINDS[0], 0.5], [KINDS[1], 0.5], [KINDS[1], 0.5]]


def test_agreement_takes_time_in_proportion_to_the_facts():
    took = {}
    for facts in (300, 2400):
        scores = random_scores(facts)
        began = time.process_time()
        summary.prompt_agreement(scores, seed=0)
        took[facts] = time.process_time() - began
    print(took)
    assert took[2400] < 3 * 8 * took[300]  # quadratic time would be 64 times as much


def test_prompts_that_keep_no_neuron_count_as_zero():
    scores = scores_of((0, 0, 1, 1, 9), (0, 0, 1, 2, 9), (1, 0, 1, 1, 9))
    prompts = pd.DataFrame({"relation": "P1", "fact": [0, 0, 1, 2], "prompt": [0, 1, 0, 0]})
    kept = summary.kept_per_prompt(scores, prompts, seed=0)
    assert kept["mean"].to_dict() == {"attribution": 3 / 4, "activation": 0, "difference": 3 / 4}
    assert kept.loc["attribution", "low"] < 3 / 4 < kept.loc["attribution", "high"]


def kept_table(low, high):
    rows = [(10, 9, 11), (20, 19, 21), ((low + high) / 2, low, high)]
    return pd.DataFrame(rows, index=["attribution", "activation", "difference"], columns=["mean", "low", "high"])


@pytest.mark.parametrize(
    "low, high, words",
    [
        (-11, -9, "are more selective"),
        (9, 11, "are less selective"),
        (-1, 1, "are neither clearly more nor clearly less selective"),
        (np.nan, np.nan, "are neither clearly more nor clearly less selective"),
    ],
)
def test_the_finding_follows_the_interval(low, high, words):
    agreement = pd.DataFrame(
        [("attribution", KINDS[0], 0.5, 0.4, 0.6, 3)], columns=["method", "kind", "mean", "low", "high", "facts"]
    )
    found = summary.finding(kept_table(low, high), agreement, 9216)
    assert words in found and "9,216 neurons, 10.0 [9.00, 11.0] per prompt" in found
    assert "overlap by 0.50 [0.40, 0.60]" in found and "two facts by –." in found  # a single fact has no other to compare with


def test_top_neurons_have_the_largest_sums():
    scores = scores_of((0, 0, 1, 5, 0.2), (0, 1, 1, 5, 0.4), (0, 0, 2, 7, 0.5), (1, 0, 2, 7, 9.0))
    top = summary.top_neurons(scores, "P1", 0)
    assert top["neuron"].tolist() == ["L2.5", "L3.7"]
    np.testing.assert_allclose(top[["prompts", "mean_score", "total"]], [[2, 0.3, 0.6], [1, 0.5, 0.5]])


def test_facts_are_counted_with_the_reasons():
    names = {"subject": ["Oslo", "Oslo", "Oslo"], "object": ["a", "a", "a"], "fact": [0, 1, 0]}
    table = {"relation": ["P2", "P2", "P1"], "prompts": [3, 0, 2], "left_out_because": ["", "too long", ""]}
    counts = summary.count_facts(pd.DataFrame(table | names))
    assert counts.to_dict("index") == {
        "P2": {"facts": 2, "given_again": 1, "prompted": 1, "too long": 1},
        "P1": {"facts": 1, "given_again": 0, "prompted": 1, "too long": 0},
    }


def test_lost_prompts_are_counted_by_template_and_reason(loaded, tiny_dataset, tmp_path):
    lm = loaded("gpt2")
    run = Run(lm.name, tiny_dataset, results_dir=tmp_path)
    templates = tiny_dataset.templates["P36"]
    assert summary.count_lost_prompts(lm, run, ["P36", "P101", "P30"]).to_numpy().tolist() == [
        ["P36", templates[0], NOT_ONE_TOKEN, 2, 6],  # San Marino and Ouagadougou
        ["P36", templates[1], NOT_ONE_TOKEN, 2, 6],
        ["P30", "all", NOT_OBJECT_FINAL, 2, 2],
    ]


def test_objects_with_one_target_are_named():
    facts = pd.DataFrame({"relation": "P1", "fact": [0, 1, 2, 3], "object": ["New York", "New Delhi", "Oslo", "Oslo"]})
    rows = [(0, "New"), (0, "New"), (1, "New"), (2, "Oslo"), (3, "Oslo")]
    prompts = pd.DataFrame(rows, columns=["fact", "target"]).assign(relation="P1")
    assert summary.shared_targets(prompts, facts).to_numpy().tolist() == [["P1", "New", "New York, New Delhi"]]


def test_gaps_are_shares_of_the_probability():
    place = {"relation": ["P1"], "fact": [0], "prompt": [2]}
    gaps = summary.gap_shares(pd.DataFrame(place | {"layer": [4], "gap": [-0.01]}), pd.DataFrame(place | {"probability": [0.2]}))
    assert gaps[["layer", "gap_share"]].to_numpy().tolist() == [[5, pytest.approx(0.05)]]
