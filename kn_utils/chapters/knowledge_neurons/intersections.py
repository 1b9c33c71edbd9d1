"""The mean number of neurons that two facts share, over all pairs of facts, without a loop over pairs.

If c facts of a group have a neuron, c (c - 1) / 2 pairs share it. So the number of facts of each neuron gives the sum over all pairs.
Facts are grouped by relation, by object, by both, and in one group; differences of these sums give every kind of pair.
"""

import random

import numpy as np
import pandas as pd

from kn_utils.model.neurons import neuron_list

KINDS = (
    "one relation",
    "one relation, same object",
    "one relation, different objects",
    "different relations",
    "different relations, same object",
    "different relations, different objects",
)


class SharedNeurons:
    """The facts of several relations and their neurons, for means over pairs of facts.

    `facts` has a row per fact, also for facts without neurons: columns relation, fact, object. `neurons` are of one method: columns
    relation, fact, layer, neuron. Raises ValueError if `neurons` has a fact that is not in `facts`.
    """

    def __init__(self, facts: pd.DataFrame, neurons: pd.DataFrame):
        numbers = pd.Series(np.arange(len(facts)), index=pd.MultiIndex.from_frame(facts[["relation", "fact"]]))
        self.n_facts = len(facts)
        found = numbers.reindex(pd.MultiIndex.from_frame(neurons[["relation", "fact"]]))
        if found.isna().any():
            relation, fact = found.index[found.isna()][0]
            raise ValueError(f"there are neurons of fact {fact} of {relation}, which is not among the {len(facts)} facts given")
        self.fact = found.to_numpy(int)
        self.neuron = neurons.groupby(["layer", "neuron"]).ngroup().to_numpy()
        relation, answer = facts["relation"], facts["object"]
        groupings = {"all": np.zeros(len(facts)), "relation": relation, "object": answer, "both": relation + "\t" + answer}
        self.groups = {name: np.unique(keys, return_inverse=True)[1] for name, keys in groupings.items()}
        self.cells = {
            name: np.unique(np.stack([group[self.fact], self.neuron]), axis=1, return_inverse=True)[1]
            for name, group in self.groups.items()
        }

    def means(self, rows: np.ndarray | None = None, groups: np.ndarray | None = None) -> np.ndarray:
        """Return the mean number of neurons shared by two different facts, for each of `KINDS`; NaN if there are no pairs.

        `rows` and `groups` are those of `kn_utils.stats.intervals.bootstrap_interval`. A fact is never paired with itself. A relation that
        is drawn twice has its pairs twice, and no pairs across its two copies.
        """
        relation = self.groups["relation"]
        if rows is None:
            rows, groups = np.arange(self.n_facts), relation
        weight = np.bincount(rows, minlength=self.n_facts).astype(float)
        drawn = np.bincount(relation[rows[np.unique(groups, return_index=True)[1]]], minlength=relation.max(initial=0) + 1)
        copies = np.maximum(drawn, 1)[relation]
        return np.array([shared / pairs if pairs > 0.5 else np.nan for shared, pairs in self._by_kind(weight, copies)])

    def pairs(self) -> np.ndarray:
        """Return the number of pairs for each of `KINDS`."""
        return self._by_kind(np.ones(self.n_facts), np.ones(self.n_facts))[:, 1]

    def _by_kind(self, weight: np.ndarray, copies: np.ndarray) -> np.ndarray:
        """Return (number of neurons shared, number of pairs) for each of `KINDS`; `copies` is how often the relation is drawn."""

        def sums(name: str, weight: np.ndarray) -> np.ndarray:
            return np.array([_pairs(self.cells[name], weight[self.fact]), _pairs(self.groups[name], weight)])

        every, across, answer, both = (sums(name, weight) for name in self.groups)
        one_copy = weight / np.sqrt(copies)  # so that the sum over a relation is that of one copy, times the number of copies
        relation, same = sums("relation", one_copy), sums("both", one_copy)
        kinds = (relation, same, relation - same, every - across, answer - both, every - across - answer + both)
        return np.stack(kinds)


def _pairs(group: np.ndarray, weight: np.ndarray) -> float:
    """Return the sum of weight_i x weight_j over all pairs of different members of a group."""
    return float((np.bincount(group, weight) ** 2).sum() - (weight**2).sum()) / 2


def sampled_mean(facts: pd.DataFrame, neurons: pd.DataFrame, seed: int, draws: int = 100) -> float:
    """Return the mean number of neurons that a fact shares with random facts of other relations, as the released code samples them.

    For `facts` and `neurons` see `SharedNeurons`. Raises ValueError if there is only one relation.
    """
    neurons_of = {fact: set(neuron_list(table)) for fact, table in neurons.groupby(["relation", "fact"])}
    by_relation = {relation: table["fact"].tolist() for relation, table in facts.groupby("relation")}
    if len(by_relation) < 2:
        raise ValueError("facts of other relations are needed: take at least two relations")
    draw = random.Random(f"{seed}-intersections")
    shared = []
    for relation, members in by_relation.items():
        others = [other for other in by_relation if other != relation]
        for fact in members:
            neurons_here = neurons_of.get((relation, fact), set())
            for _ in range(draws):
                other = draw.choice(others)
                shared.append(len(neurons_here & neurons_of.get((other, draw.choice(by_relation[other])), set())))
    return float(np.mean(shared))
