"""The mean number of neurons that two facts share, over all pairs of facts, without a loop over pairs.

If c facts of a group have a neuron, c (c - 1) / 2 pairs share it. So the numbers of facts that have each neuron, by relation, give the
sums over all pairs; counted for each object alone, they give those of pairs with the same object. A resample of relations weights them.
"""

import random

import numpy as np
import pandas as pd
from scipy.sparse import coo_array

from kn_utils.model.neurons import neuron_list
from kn_utils.stats.means import divided

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
        found = numbers.reindex(pd.MultiIndex.from_frame(neurons[["relation", "fact"]]))
        if found.isna().any():
            relation, fact = found.index[found.isna()][0]
            raise ValueError(f"there are neurons of fact {fact} of {relation}, which is not among the {len(facts)} facts given")
        fact, neuron = found.to_numpy(int), neurons.groupby(["layer", "neuron"]).ngroup().to_numpy()
        relation, answer = pd.factorize(facts["relation"])[0], pd.factorize(facts["object"])[0]
        self.single = not relation.any()
        self.unit = np.arange(len(facts)) if self.single else relation
        neuron_of_answer = pd.factorize(pd.Series(zip(answer[fact], neuron, strict=True), dtype=object))[0]
        groups = [(self.unit[fact], neuron), (self.unit, 0 * relation), (self.unit[fact], neuron_of_answer), (self.unit, answer)]
        self.counts = [_Counts(*given, self.unit.max(initial=-1) + 1) for given in groups]

    def means(self, rows: np.ndarray | None = None, groups: np.ndarray | None = None) -> np.ndarray:
        """Return the mean number of neurons shared by two different facts, for each of `KINDS`; NaN if there are no pairs.

        `rows` and `groups` are those of `kn_utils.stats.intervals.bootstrap_interval`: whole relations, or facts if there is one relation.
        A fact is never paired with itself. A relation that is drawn twice has its pairs twice, and no pairs across its two copies.
        """
        shared, pairs = self._by_kind(rows, groups)
        return divided(shared, pairs)

    def pairs(self) -> np.ndarray:
        """Return the number of pairs for each of `KINDS`."""
        return self._by_kind(None, None)[1]

    def _by_kind(self, rows: np.ndarray | None, groups: np.ndarray | None) -> np.ndarray:
        """Return (numbers of neurons shared, numbers of pairs), each for all `KINDS`."""
        units = np.unique(self.unit) if rows is None else self._drawn(rows, groups)
        often = np.bincount(units, minlength=self.unit.max(initial=-1) + 1).astype(float)
        # each [all or same object, shared or pairs]
        within, across = np.transpose([counts.pairs(often) for counts in self.counts]).reshape(2, 2, 2)
        if self.single:
            within, across = across, within
        kinds = [(of_all, same, of_all - same) for of_all, same in (within, across)]
        return np.stack([kind for three in kinds for kind in three], axis=-1)

    def _drawn(self, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return the drawn relations, or facts if there is one relation."""
        return self.unit[rows if self.single else rows[np.unique(groups, return_index=True)[1]]]


class _Counts:
    """How many rows of each unit are in each group. For facts, groups are objects; for neurons of facts, groups are neurons.

    `unit` and `group` have the number of each row.
    """

    def __init__(self, unit: np.ndarray, group: np.ndarray, n_units: int):
        counts = coo_array((np.ones(len(unit)), (group, unit)), shape=(group.max(initial=-1) + 1, n_units)).tocsr()
        self.counts, self.squares = counts, counts.power(2).sum(axis=0)
        self.within = (self.squares - counts.sum(axis=0)) / 2  # pairs of different rows of a group, by unit

    def pairs(self, often: np.ndarray) -> tuple[float, float]:
        """Return the number of pairs of rows of one group, within units and across them, if each unit is there so often."""
        across = ((self.counts @ often) ** 2).sum() - self.squares @ often**2
        return self.within @ often, across / 2


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
