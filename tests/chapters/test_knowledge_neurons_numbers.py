"""What notebook 02 makes of step 2's tables, on tables small enough to count by hand."""

import pandas as pd
import pytest

from kn_utils.chapters.knowledge_neurons import numbers as summary
from kn_utils.stats.layers import layer_shares
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


def test_facts_without_neurons_count_as_zero():
    counts = summary.neurons_per_fact(NEURONS, FACTS)
    assert counts.query("method == 'attribution'")["neurons"].tolist() == [2, 1, 0, 1]
    assert counts.query("method == 'activation'")["neurons"].tolist() == [1, 0, 0, 0]
    means = summary.mean_neurons(counts, seed=0)
    assert means["mean"].to_dict() == {"attribution": 1.0, "activation": 0.25}
    assert means["without"].to_dict() == {"attribution": 1, "activation": 3}
    assert (means["low"] < means["mean"]).all() and (means["high"] > means["mean"]).all() and (means["facts"] == 4).all()


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
    grid = summary.threshold_grid(scores, FACTS, [0.2, 0.5], [0.7, 0.9]).set_index(["t", "p"])
    assert grid["neurons"].to_dict() == {(0.2, 0.7): 3 / 4, (0.2, 0.9): 2 / 4, (0.5, 0.7): 2 / 4, (0.5, 0.9): 2 / 4}
    assert grid["different_relations"].tolist() == pytest.approx([1 / 3] * 4)
    assert (grid["one_relation"] == 0).all()


def test_the_widest_neurons_come_first_with_their_objects():
    ours = NEURONS[NEURONS["method"] == "attribution"]
    widest = summary.widest_neurons(ours, FACTS)
    assert widest.iloc[0].to_dict() == {"neuron": "3.7", "facts": 3, "share": 75, "relations": 2, "objects": "x (3)"}
    assert widest["neuron"].tolist() == ["3.7", "2.5"]


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
