"""What notebook 02 makes of step 2's tables, on tables small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from kn_utils.chapters.knowledge_neurons import claims
from kn_utils.chapters.knowledge_neurons import numbers as summary
from kn_utils.stats.layers import layer_shares, upper_third_interval
from kn_utils.store.paper import beside_paper, paper_values

FACTS = pd.DataFrame(
    [("P1", 0, "a", "x", 4), ("P1", 1, "b", "x", 4), ("P1", 2, "c", "y", 4), ("P2", 0, "d", "x", 3)],
    columns=["relation", "fact", "subject", "object", "prompts"],
)
NEURONS = pd.DataFrame(
    [
        ("P1", 0, "attribution", 1, 5),
        ("P1", 0, "attribution", 2, 7),
        ("P1", 1, "attribution", 2, 7),
        ("P2", 0, "attribution", 2, 7),
        ("P1", 0, "activation", 0, 1),
    ],
    columns=["relation", "fact", "method", "layer", "neuron"],
)


ROUNDS = pd.DataFrame(
    [
        ("P1", "attribution", 1, 0.7, 9.0),
        ("P1", "attribution", 2, 0.75, 4.0),
        ("P2", "attribution", 1, 0.7, 1.0),
        ("P1", "activation", 1, 0.7, 2.0),
    ],
    columns=["relation", "method", "round", "prompt_share", "mean_neurons"],
)


def test_facts_without_neurons_count_as_zero():
    counts = summary.neurons_per_fact(NEURONS, FACTS)
    assert counts.query("method == 'attribution'")["neurons"].tolist() == [2, 1, 0, 1]
    assert counts.query("method == 'activation'")["neurons"].tolist() == [1, 0, 0, 0]
    means = summary.mean_neurons(counts, seed=0)
    assert means["mean"].to_dict() == {"attribution": 1.0, "activation": 0.25}
    assert means["without"].to_dict() == {"attribution": 1, "activation": 3}
    assert (means["high"] >= means["mean"]).all() and (means["low"] >= 0).all() and (means["facts"] == 4).all()
    assert means["low"].to_dict() == {"attribution": 1, "activation": 0}  # relations of mean 1 and 1; 1/3 and 0


def test_layer_shares_count_layers_from_one_and_a_shared_neuron_for_each_fact():
    shares = layer_shares(NEURONS, n_layers=3).set_index(["method", "layer"])["share"]
    assert shares["attribution"].to_dict() == {1: 0, 2: 25, 3: 75}
    assert shares["activation"].to_dict() == {1: 100, 2: 0, 3: 0}


def test_pairs_are_split_by_relation_and_object():
    pairs = summary.shared_by_pairs(NEURONS, FACTS, seed=0)
    ours = pairs[pairs["method"] == "attribution"].set_index("kind")
    assert ours["pairs"].tolist() == [3, 1, 2, 3, 2, 1]
    assert ours["mean"].tolist() == pytest.approx([1 / 3, 1, 0, 2 / 3, 1, 0])


def test_the_grid_applies_thresholds_without_rounds():
    rows = [("P1", 0, prompt, 2, 7, 1.0) for prompt in range(4)] + [("P1", 0, prompt, 1, 5, 0.3) for prompt in range(3)]
    rows += [("P2", 0, prompt, 2, 7, 1.0) for prompt in range(3)]
    scores = pd.DataFrame(rows, columns=["relation", "fact", "prompt", "layer", "neuron", "score"])
    grid = summary.threshold_grid(scores, FACTS, [0.2, 0.5], 0.7).set_index(["t", "p"])
    found = grid["neurons"].to_dict()
    assert list(found) == [(t, p) for t in (0.2, 0.5) for p in (0.5, 0.6, 0.7, 0.8, 0.9)]
    assert [found[0.2, p] for p in (0.5, 0.7, 0.8, 0.9)] == [3 / 4, 3 / 4, 2 / 4, 2 / 4]  # three of four prompts are 0.75
    assert [found[0.5, p] for p in (0.5, 0.7, 0.8, 0.9)] == [2 / 4] * 4
    assert grid["different_relations"].tolist() == pytest.approx([1 / 3] * 10)
    assert (grid["one_relation"] == 0).all()


def test_the_grid_reaches_its_thresholds_by_the_steps_of_the_rounds():
    """Four steps of 0.05 from 0.7 are a little more than 0.9, so that nine of ten prompts are too few, as in the rounds."""
    facts = pd.DataFrame([("P1", 0, "x", 10)], columns=["relation", "fact", "object", "prompts"])
    rows = [("P1", 0, prompt, 2, 7, 1.0) for prompt in range(9)] + [("P1", 0, 9, 1, 1, 1.0)]
    scores = pd.DataFrame(rows, columns=["relation", "fact", "prompt", "layer", "neuron", "score"])
    grid = summary.threshold_grid(scores, facts, [0.2], 0.7).set_index("p")["neurons"]
    assert grid.to_dict() == {0.5: 1, 0.6: 1, 0.7: 1, 0.8: 1, 0.9: 0}
    high = summary.threshold_grid(scores, facts, [0.2], 0.9)["p"].tolist()
    assert high == [0.7, 0.8, 0.9, 1.0]  # a share above 1 is none


def test_where_the_rounds_ended():
    ended = summary.last_rounds(ROUNDS)
    assert ended.loc["attribution"].to_dict() == {"relations": 2, "rounds": 1.5, "p": pytest.approx(0.725), "missed": "P2"}
    assert ended.loc["activation", "missed"] == "none"  # 2 and 5 themselves count as reached


def test_the_number_before_tuning_stands_beside_the_one_after():
    tuned = summary.tuning(ROUNDS, seed=0)
    assert tuned["mean"].to_dict() == {"before": 5, "after": 2.5, "p": pytest.approx(0.725)} and (tuned["relations"] == 2).all()
    half = 12.7062 * np.sqrt(2) * 4 * np.sqrt(1.5)  # t with one degree of freedom, sd of 9 and 1, two relations
    assert tuned.loc["before", ["new_low", "new_high"]].tolist() == pytest.approx([0, 5 + half], rel=1e-4)  # no negative numbers


def test_claims_and_tables_have_the_same_numbers():
    tables = {"knowledge_neurons": NEURONS, "facts": FACTS.assign(left_out_because="")}
    tables["refinement"] = ROUNDS
    tables["completeness"] = pd.DataFrame({"layer": range(3)})
    before, after, p = claims.number_of_neurons(tables, seed=5)
    tuned = summary.tuning(ROUNDS, seed=5)
    assert [before.value, after.value, p.value] == tuned["mean"].tolist() and before.n == 2
    upper, minus_baseline = claims.upper_layers(tables, seed=5)
    assert upper.value == minus_baseline.value == upper_third_interval(NEURONS, 3, 0)[0] == 75
    pairs = summary.shared_by_pairs(NEURONS, FACTS, seed=5).set_index(["method", "kind"])["mean"]
    within, *_ = claims.shared_within(tables, seed=5)
    assert within.value == pairs["attribution", "one relation"] - pairs["attribution", "different relations"]
    between, _, ours_within = claims.exclusive(tables, seed=5)
    assert between.value == pairs["attribution", "different relations"] - pairs["activation", "different relations"]
    assert ours_within.value == pairs["attribution", "one relation"] - pairs["activation", "one relation"]


def test_the_widest_neurons_come_first_with_their_objects():
    ours = NEURONS[NEURONS["method"] == "attribution"]
    widest = summary.widest_neurons(ours, FACTS)
    assert widest.iloc[0].tolist() == ["L3.7", 3, 75, 2, "x (3)"]
    assert widest["neuron"].tolist() == ["L3.7", "L2.5"]


def test_relation_neurons_are_counted_by_relation():
    found = summary.relation_neuron_counts(NEURONS, FACTS).set_index(["method", "relation"])
    assert found.loc[("attribution", "P1"), ["relation_neurons", "widest"]].tolist() == [2, pytest.approx(200 / 3)]
    assert found.loc[("attribution", "P2"), ["relation_neurons", "widest"]].tolist() == [1, 100]


def test_published_values_stand_beside_ours():
    table = beside_paper({"suppress_attribution": (-20.0, -25.0, -15.0, 40)})
    assert table.loc["suppress_attribution", ["paper", "here", "low", "high", "facts"]].tolist() == [-29.03, -20, -25, -15, 40]
    with pytest.raises(KeyError):
        beside_paper({"no such value": (1, 1, 1, 1)})
    assert set(paper_values()["checked"]) == {"yes", "no"} and not paper_values().index.duplicated().any()


def test_the_finding_says_how_many_where_and_shared_by_whom():
    means = summary.mean_neurons(summary.neurons_per_fact(NEURONS, FACTS), seed=0)
    pairs = summary.shared_by_pairs(NEURONS, FACTS, seed=0)
    tuned = summary.tuning(ROUNDS, seed=0)
    found = summary.finding(means, tuned, (75.0, 60.0, 90.0), pairs, 4)
    assert (
        found.startswith("A fact has 5.00 [") and "and 1.00 [1.00, 1.00] after it (mean over facts); *p* ended at 0.72 [" in found
    )
    assert "75.0 [60.0, 90.0] % of them" in found
    assert "Two facts of one relation share 0.33" in found and ". Two facts of different relations share 0.67" in found
    alone = FACTS[FACTS["relation"] == "P1"]
    pairs = summary.shared_by_pairs(NEURONS[NEURONS["relation"] == "P1"], alone, seed=0)
    assert "different relations" not in summary.finding(means, tuned, (75.0, 60.0, 90.0), pairs, 4)
    none = means.assign(mean=0.0)
    assert summary.finding(none, tuned, (np.nan,) * 3, pairs, 2).endswith("strong in 3 prompts, and facts have 2 at most.")
