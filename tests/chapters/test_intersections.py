"""Means over pairs of facts, counted without looking at pairs, against every pair looked at."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from kn_utils.chapters.knowledge_neurons.intersections import KINDS, SharedNeurons, sampled_mean

KIND_OF = {  # whether two facts are of one relation, and of one object: the kinds that their pair counts in
    (True, True): ("one relation", "one relation, same object"),
    (True, False): ("one relation", "one relation, different objects"),
    (False, True): ("different relations", "different relations, same object"),
    (False, False): ("different relations", "different relations, different objects"),
}


def random_tables(seed, facts=17, neurons=40):
    """Facts of three relations and three objects, numbered with gaps and out of order, and neurons that some of them have."""
    draw = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "relation": draw.choice(["P36", "P101", "P3"], facts),
            "fact": draw.permutation(50)[:facts],
            "object": draw.choice(["Oslo", "Lima", "oslo"], facts),
        }
    )
    owners = table.loc[draw.integers(0, facts * 2 // 3, neurons), ["relation", "fact"]].reset_index(drop=True)
    places = {"layer": draw.integers(0, 2, neurons), "neuron": draw.integers(0, 3, neurons)}
    return table.sample(frac=1, random_state=seed), owners.assign(**places).drop_duplicates()


def every_pair(facts, neurons, rows=None):
    """The neurons shared by each pair of two different facts at `rows`, by kind."""
    own = {
        place: set(map(tuple, table[["layer", "neuron"]].to_numpy())) for place, table in neurons.groupby(["relation", "fact"])
    }
    members = list(facts.itertuples(index=False))
    found = {kind: [] for kind in KINDS}
    for i, j in combinations(range(len(members)) if rows is None else rows, 2):
        one, two = members[i], members[j]
        if i != j:
            both = own.get((one.relation, one.fact), set()) & own.get((two.relation, two.fact), set())
            for kind in KIND_OF[one.relation == two.relation, one.object == two.object]:
                found[kind].append(len(both))
    return found


def averages(shared):
    return [np.mean(counts) if counts else np.nan for counts in shared.values()]


@pytest.mark.parametrize("seed", range(6))
def test_means_and_numbers_of_pairs_are_those_of_every_pair(seed):
    facts, neurons = random_tables(seed)
    expected = every_pair(facts, neurons)
    counted = SharedNeurons(facts, neurons)
    np.testing.assert_allclose(counted.means(), averages(expected), rtol=1e-12)
    np.testing.assert_array_equal(counted.pairs(), [len(counts) for counts in expected.values()])
    assert np.unique(counted.means()).size == len(KINDS)  # so that no two kinds can be mistaken for each other


@pytest.mark.parametrize("seed", range(4))
def test_repeated_facts_of_one_relation_count_as_often_as_drawn_but_never_with_themselves(seed):
    facts, neurons = (table[table["relation"] == "P36"] for table in random_tables(seed))
    rows = np.random.default_rng(seed + 100).integers(0, len(facts), len(facts))
    assert len(set(rows)) < len(rows)
    expected = averages(every_pair(facts, neurons, rows))
    for order in (rows, rows[::-1]):
        np.testing.assert_allclose(SharedNeurons(facts, neurons).means(order, 0 * order), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_relations_drawn_twice_have_their_pairs_twice_and_none_across_the_copies(seed):
    facts, neurons = random_tables(seed)
    relations = facts["relation"].to_numpy()
    drawn = ["P36", "P101", "P36"]
    rows = [np.flatnonzero(relations == name) for name in drawn]
    groups = np.repeat(range(3), [len(of_relation) for of_relation in rows])
    once, twice = every_pair(facts, neurons, rows[1]), every_pair(facts, neurons, rows[0])
    across = every_pair(facts, neurons, np.concatenate(rows[:2]))
    expected = {kind: once[kind] + 2 * twice[kind] if kind.startswith("one") else 2 * across[kind] for kind in KINDS}
    found = SharedNeurons(facts, neurons).means(np.concatenate(rows), groups)
    np.testing.assert_allclose(found, averages(expected), rtol=1e-12)


def small(relations="aab", objects="xyx"):
    numbers = range(len(relations))
    return pd.DataFrame({"relation": list(relations), "fact": numbers, "object": list(objects)})


def owning(*rows):
    """Neurons from rows (relation, fact, layer, neuron)."""
    columns = ["relation", "fact", "layer", "neuron"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], "int32") | {"relation": str})


def test_three_facts_by_hand():
    neurons = owning(("a", 0, 1, 5), ("a", 0, 2, 5), ("a", 1, 2, 5), ("b", 2, 1, 5), ("b", 2, 5, 1))
    counted = SharedNeurons(small(), neurons)
    np.testing.assert_array_equal(counted.means(), [1, np.nan, 1, 0.5, 1, 0])
    np.testing.assert_array_equal(counted.pairs(), [1, 0, 1, 2, 1, 1])


@pytest.mark.parametrize(
    "relations, objects, rows, pairs",
    [
        ("aaa", "xxx", None, [3, 3, 0, 0, 0, 0]),
        ("abc", "xyz", None, [0, 0, 0, 3, 0, 3]),
        ("a", "x", None, [0] * 6),
        ("aaa", "xyx", [0, 0, 0], [0] * 6),  # a bootstrap that drew one fact alone
        ("aaa", "xyx", [0, 0, 1], [2, 0, 2, 0, 0, 0]),
    ],
)
def test_kinds_without_a_pair_are_not_numbers(relations, objects, rows, pairs):
    counted = SharedNeurons(small(relations, objects), owning((relations[0], 0, 0, 0)))
    means = counted.means(*(() if rows is None else (np.array(rows), np.zeros(len(rows), int))))
    np.testing.assert_array_equal(np.isnan(means), np.array(pairs) == 0)
    assert np.nansum(means) == 0
    if rows is None:
        np.testing.assert_array_equal(counted.pairs(), pairs)


def test_facts_without_any_neurons_share_none():
    np.testing.assert_array_equal(SharedNeurons(small(), owning()).means(), [0, np.nan, 0, 0, 0, 0])


def test_a_neuron_is_a_layer_and_an_index_and_a_fact_a_relation_and_a_number():
    facts = small().assign(fact=[0, 1, 0])
    assert np.nanmax(SharedNeurons(facts, owning(("a", 0, 1, 2), ("a", 1, 2, 1), ("b", 0, 1, 1))).means()) == 0
    assert SharedNeurons(facts, owning(("a", 1, 1, 2), ("b", 0, 1, 2))).means()[KINDS.index("different relations")] == 0.5


def test_sampling_is_exact_where_every_draw_shares_as_many():
    facts = small("aabbc", "xyzxy")
    everywhere = [(relation, fact, layer, 7) for fact, relation in enumerate("aabbc") for layer in (0, 3)]
    own = [("a", 0, 1, fact) for fact in range(4)]
    assert sampled_mean(facts, owning(*everywhere, *own), seed=1, draws=3) == 2
    assert sampled_mean(facts, owning(), seed=1) == 0


def test_facts_of_the_own_relation_are_never_drawn():
    facts = small("aabb", "xyzx")
    assert sampled_mean(facts, owning(("a", 0, 0, 1), ("a", 1, 0, 1), ("b", 2, 0, 2), ("b", 3, 0, 2)), seed=1) == 0


def test_sampling_draws_a_relation_first_and_then_one_of_its_facts():
    """The two neurons' owners are one of one and one of nine facts, so drawing facts alike would give another mean."""
    facts = small("abc" + "c" * 8, "x" * 11)
    neurons = owning(("a", 0, 0, 1), ("b", 1, 0, 1))
    expected = (1 / 2 + 1 / 2 + 9 * 0) / 11  # a draws b, not c, half the time; facts drawn alike would give 2 x (1/10) / 11
    found = [sampled_mean(facts, neurons, seed) for seed in range(20)]
    spread = np.sqrt(2 * 0.25 / 100) / 11  # of one sampled mean: two facts with 100 draws each
    assert np.mean(found) == pytest.approx(expected, abs=4 * spread / np.sqrt(20))
    assert 0.4 * spread < np.std(found) < 2 * spread


def test_sampling_depends_on_the_seed_alone():
    facts, neurons = random_tables(3)
    one, again, other = (sampled_mean(facts, neurons, seed) for seed in (1, 1, 2))
    assert one == again != other
    exact = np.mean([expected_overlap(facts, neurons, fact) for fact in facts.itertuples()])
    assert one == pytest.approx(exact, abs=0.1) and other == pytest.approx(exact, abs=0.1)


def expected_overlap(facts, neurons, fact):
    """The neurons that one fact shares on average with a fact of a relation drawn first."""
    own = {place: set(map(tuple, rows[["layer", "neuron"]].to_numpy())) for place, rows in neurons.groupby(["relation", "fact"])}
    mine = own.get((fact.relation, fact.fact), set())
    return np.mean(
        [
            np.mean([len(mine & own.get((relation, other), set())) for other in members["fact"]])
            for relation, members in facts.groupby("relation")
            if relation != fact.relation
        ]
    )


def test_one_relation_alone_has_no_others_to_draw_from():
    with pytest.raises(ValueError, match="take at least two relations"):
        sampled_mean(small("aaa"), owning(("a", 0, 0, 1)), seed=1)


def test_neurons_of_an_unknown_fact_are_refused():
    facts = pd.DataFrame({"relation": ["P1"], "fact": [0], "object": ["a"]})
    neurons = pd.DataFrame({"relation": ["P1"], "fact": [7], "layer": [0], "neuron": [0]})
    with pytest.raises(ValueError, match="fact 7 of P1, which is not among the 1 facts given"):
        SharedNeurons(facts, neurons)
