"""How many neurons two facts share, on average over all pairs of facts, without looking at the pairs one by one.

A neuron that c of a group's facts have is shared by c (c - 1) / 2 of the group's pairs, so counting the facts of every neuron gives the
sum over all pairs. Grouping the facts by relation, by object, by both, and not at all, gives every kind of pair by difference.
"""

import random
from collections.abc import Sequence

import numpy as np
import pandas as pd

KINDS = (
    "one relation",
    "one relation, same object",
    "one relation, different objects",
    "different relations",
    "different relations, same object",
    "different relations, different objects",
)


class SharedNeurons:
    """The facts of several relations and who has which neuron, for means over pairs of facts.

    `facts` has the columns relation, fact and object, one row per fact, with facts that have no neuron; `neurons` relation, fact,
    layer, neuron, of one method. Texts of objects are compared as they are. Raises ValueError for neurons of a fact not in `facts`.
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

    def means(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the mean number of neurons shared by a pair of different facts, for each of `KINDS`; NaN where there is no pair.

        `rows`, the numbers of facts, may repeat as in a bootstrap; a fact is never paired with itself.
        """
        weight = np.ones(self.n_facts) if rows is None else np.bincount(rows, minlength=self.n_facts).astype(float)
        return np.array([shared / pairs if pairs > 0.5 else np.nan for shared, pairs in self._by_kind(weight)])

    def pairs(self) -> np.ndarray:
        """Return the number of pairs of each of `KINDS`."""
        return self._by_kind(np.ones(self.n_facts))[:, 1]

    def _by_kind(self, weight: np.ndarray) -> np.ndarray:
        """Over all pairs of each of `KINDS`: (neurons shared, number of pairs)."""
        every, relation, answer, both = (
            np.array([_pairs(self.cells[name], weight[self.fact]), _pairs(self.groups[name], weight)]) for name in self.groups
        )
        kinds = (relation, both, relation - both, every - relation, answer - both, every - relation - answer + both)
        return np.stack(kinds)


def _pairs(group: np.ndarray, weight: np.ndarray) -> float:
    """Sum of weight_i x weight_j over all pairs of different members of one group."""
    return float((np.bincount(group, weight) ** 2).sum() - (weight**2).sum()) / 2


def sampled_mean(facts: pd.DataFrame, neurons: pd.DataFrame, seed: int, draws: int = 100) -> float:
    """Return the mean number of neurons a fact shares with random facts of random other relations, as the released code samples it.

    Arguments as of `SharedNeurons`. Raises ValueError if there is only one relation.
    """
    own = {
        place: set(zip(table["layer"], table["neuron"], strict=True)) for place, table in neurons.groupby(["relation", "fact"])
    }
    by_relation = {relation: table["fact"].tolist() for relation, table in facts.groupby("relation")}
    if len(by_relation) < 2:
        raise ValueError("facts of other relations are needed: take at least two relations")
    draw = random.Random(f"{seed}-intersections")
    found = []
    for relation, members in by_relation.items():
        others = [other for other in by_relation if other != relation]
        for fact in members:
            neurons_here = own.get((relation, fact), set())
            found += [len(neurons_here & own.get(_random_fact(draw, others, by_relation), set())) for _ in range(draws)]
    return float(np.mean(found))


def _random_fact(draw: random.Random, relations: Sequence[str], facts: dict[str, list[int]]) -> tuple[str, int]:
    relation = draw.choice(relations)
    return relation, draw.choice(facts[relation])
