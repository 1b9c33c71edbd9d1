"""Neurons as (layer, index): lists of them from tables, their names, and counts of the facts that have them."""

import random
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from kn_utils.parameters import check

Neuron = tuple[int, int]  # (layer, index), both from 0

METHODS = ("attribution", "activation")  # the scores by which neurons are named: integrated gradients, and the paper's baseline
MIN_PROMPTS = 3  # a knowledge neuron passes the threshold in at least three prompts, however few the fact has
MIN_NEURONS, MAX_NEURONS = 2, 5  # mean per fact that the rounds aim at
RELATION_SHARE = 0.1  # a relation neuron is one of at least a tenth of the relation's facts
COMMON_SHARE = 0.1  # an edit spares neurons of more than a tenth of the relation's facts


def frequent_neurons(neurons: pd.DataFrame) -> pd.DataFrame:
    """Return the number of facts of each neuron, most frequent first, ties by layer and index: columns layer, neuron, facts.

    `neurons` are of one relation and one method.
    """
    counts = neurons.groupby(["layer", "neuron"]).size().rename("facts").reset_index()
    return counts.sort_values(["facts", "layer", "neuron"], ascending=[False, True, True], ignore_index=True)


def uncommon_neurons(neurons: pd.DataFrame, facts: int, common_share: float = COMMON_SHARE) -> pd.DataFrame:
    """Return the rows of neurons that few of a relation's facts have: 1 + their number is at most a share of `facts` (section 5.1).

    `neurons` are of one relation and one method, a row per fact and neuron. The 1 is the released code's: with a share of a tenth, at most
    3 of 44 facts may have the neuron, and none of fewer than 20. Raises ValueError for a share that is not a number from 0 to 1.
    """
    check(common_share=common_share)
    have = neurons.groupby(["layer", "neuron"])["fact"].transform("size")
    return neurons[(1 + have) / facts <= common_share]


def neurons_by_fact(neurons: pd.DataFrame) -> dict[int, list[Neuron]]:
    """Return the neurons of each fact of one relation and one method that has any, in the order of the rows."""
    return {fact: neuron_list(own) for fact, own in neurons.groupby("fact")}


def neuron_list(rows: pd.DataFrame) -> list[Neuron]:
    """Return the neurons in the columns layer and neuron."""
    return list(zip(rows["layer"].tolist(), rows["neuron"].tolist(), strict=True))


def random_neurons(neurons: Sequence[Neuron], n_neurons: int, seed: str) -> list[Neuron]:
    """Return as many random neurons in each layer as `neurons` has there, none of them twice and none of `neurons`.

    Raises ValueError if a layer has too few others.
    """
    draw = random.Random(seed)
    counts = Counter(layer for layer, _ in neurons)
    if crowded := [layer for layer, count in sorted(counts.items()) if 2 * count > n_neurons]:
        raise ValueError(
            f"{counts[crowded[0]]} of the {n_neurons} neurons of layer {crowded[0]} are taken: too few others to draw from"
        )
    others = {layer: sorted(set(range(n_neurons)) - {index for at, index in neurons if at == layer}) for layer in counts}
    return [(layer, index) for layer, count in sorted(counts.items()) for index in draw.sample(others[layer], count)]


def neuron_name(layer: int, index: int) -> str:
    """Return a neuron's name for readers: its layer, from 1, and its index, from 0."""
    return f"{layer + 1}.{index}"
