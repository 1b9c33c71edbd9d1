"""Neurons as (layer, index): lists of them from tables, their names, and counts of the facts that have them."""

import random
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from kn_utils.parameters import check

Neuron = tuple[int, int]  # (layer, index), both from 0

METHODS = ("attribution", "activation")  # integrated gradients, and the paper's baseline
SCORE_SHARE = 0.2  # t: a neuron is strong in a prompt if it has this share of the prompt's largest score
PROMPT_SHARE = 0.7  # p: the share of a fact's prompts in which it must be strong, before the rounds
MIN_PROMPTS = 3  # a knowledge neuron passes the threshold in at least three prompts
MIN_NEURONS, MAX_NEURONS = 2, 5  # aim of the rounds: mean number per fact
RELATION_SHARE = 0.1  # at least a tenth of the relation's facts have a relation neuron
COMMON_SHARE = 0.1  # neurons of more than a tenth of the relation's facts are not edited


def frequent_neurons(neurons: pd.DataFrame) -> pd.DataFrame:
    """Return how many facts have each neuron: columns layer, neuron, facts. Most frequent first; ties by layer and index.

    `neurons` are of one relation and method.
    """
    counts = neurons.groupby(["layer", "neuron"]).size().rename("facts").reset_index()
    return counts.sort_values(["facts", "layer", "neuron"], ascending=[False, True, True], ignore_index=True)


def uncommon_neurons(neurons: pd.DataFrame, facts: int, common_share: float = COMMON_SHARE) -> pd.DataFrame:
    """Return the rows of neurons that are not common: (1 + number of facts with the neuron) / `facts` <= `common_share` (section 5.1).

    `neurons` are of one relation and method, a row per fact and neuron. The 1 comes from the released code. So with a share of 0.1, at most
    3 of 44 facts may have the neuron; in a relation of fewer than 20 facts no neuron is left.
    Raises ValueError for a share that is not a number from 0 to 1.
    """
    check(common_share=common_share)
    have = neurons.groupby(["layer", "neuron"])["fact"].transform("size")
    return neurons[(1 + have) / facts <= common_share]


def neurons_by_fact(neurons: pd.DataFrame) -> dict[int, list[Neuron]]:
    """Return the neurons of each fact, given rows of one relation and method."""
    return {fact: neuron_list(rows) for fact, rows in neurons.groupby("fact")}


def neuron_list(rows: pd.DataFrame) -> list[Neuron]:
    """Return the columns layer and neuron as a list of neurons."""
    return list(zip(rows["layer"].tolist(), rows["neuron"].tolist(), strict=True))


def random_neurons(neurons: Sequence[Neuron], n_neurons: int, seed: str) -> list[Neuron]:
    """Return distinct random neurons, as many in each layer as in `neurons`, and none of `neurons`.

    Raises ValueError if a layer has too few other neurons.
    """
    draw = random.Random(seed)
    counts = Counter(layer for layer, _ in neurons)
    if crowded := [layer for layer, count in sorted(counts.items()) if 2 * count > n_neurons]:
        raise ValueError(
            f"{counts[crowded[0]]} of the {n_neurons} neurons of layer {crowded[0]} are taken: too few others to draw from"
        )
    others = {layer: sorted(set(range(n_neurons)) - {index for other, index in neurons if other == layer}) for layer in counts}
    return [(layer, index) for layer, count in sorted(counts.items()) for index in draw.sample(others[layer], count)]


def neuron_name(layer: int, index: int) -> str:
    """Return the name of a neuron for readers: `L4.639` is neuron 639 of the fourth layer; layers count from 1, neurons from 0."""
    return f"L{layer + 1}.{index}"
