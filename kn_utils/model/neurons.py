"""Knowledge neurons (section 3.3): neurons with a high score in many prompts of a fact."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kn_utils.parameters import check

Neuron = tuple[int, int]  # (layer, index), both from 0

METHODS = ("attribution", "activation")  # integrated gradients, and the paper's baseline
MIN_PROMPTS = 3  # a knowledge neuron passes the threshold in at least three prompts
ROUNDS = 6  # at most
MIN_NEURONS, MAX_NEURONS = 2, 5  # aim of the rounds: mean number per fact
PROMPT_SHARE_STEP = 0.05
RELATION_SHARE = 0.1  # at least a tenth of the relation's facts have a relation neuron
COMMON_SHARE = 0.1  # neurons of more than a tenth of the relation's facts are not edited


@dataclass(frozen=True)
class Thresholds:
    """The threshold t (a share of the prompt's largest score) for each method, and the initial p (a share of the fact's prompts).

    Raises ValueError for a value out of range.
    """

    attribution: float = 0.2
    activation: float = 0.5
    prompt_share: float = 0.7

    def __post_init__(self):
        check(score_share=self.attribution, baseline_share=self.activation, prompt_share=self.prompt_share)


@dataclass(frozen=True)
class Refined:
    """The knowledge neurons of a relation (columns fact, layer, neuron, prompts) and the rounds (round, prompt_share, mean_neurons)."""

    neurons: pd.DataFrame
    rounds: pd.DataFrame


def strong(scores: pd.DataFrame, share: float) -> pd.DataFrame:
    """Return the scores that are at least `share` times their prompt's largest score. `scores` are of one relation and method."""
    values = scores["score"].astype(float)
    largest = values.groupby([scores["fact"], scores["prompt"]]).transform("max")
    return scores[values >= largest * share]


def shared(strong_scores: pd.DataFrame, prompts: pd.Series, prompt_share: float) -> pd.DataFrame:
    """Return the neurons of each fact that are strong in at least max(`prompt_share` x n, 3) of its n prompts.

    `prompts` maps a fact to n. Columns fact, layer, neuron, and prompts: the number of prompts in which the neuron is strong.
    """
    counts = strong_scores.groupby(["fact", "layer", "neuron"]).size().rename("prompts").reset_index()
    needed = (counts["fact"].map(prompts) * prompt_share).clip(lower=MIN_PROMPTS)
    return counts[counts["prompts"] >= needed].reset_index(drop=True)


def refine(scores: pd.DataFrame, prompts: pd.Series, score_share: float, prompt_share: float) -> Refined:
    """Decrease or increase p, in at most six rounds, until facts have 2 to 5 neurons on average; return the neurons of the last round.

    `scores` are of one relation and method. `prompts` maps every fact with prompts to their number.
    """
    candidates = strong(scores, score_share)
    rounds = []
    for number in range(1, ROUNDS + 1):
        neurons = shared(candidates, prompts, prompt_share)
        mean = len(neurons) / max(1, len(prompts))
        rounds.append((number, prompt_share, mean))
        if MIN_NEURONS <= mean <= MAX_NEURONS:
            break
        prompt_share = moved_share(prompt_share, 1 if mean > MAX_NEURONS else -1)
    return Refined(neurons, pd.DataFrame(rounds, columns=["round", "prompt_share", "mean_neurons"]))


def moved_share(prompt_share: float, steps: int) -> float:
    """Return p after `steps` steps of 0.05, downwards if negative, added one by one in floating point as in the released code.

    Four steps from 0.7 give 0.9000000000000001: of ten prompts, a neuron must then be strong in all ten, not in nine.
    """
    for _ in range(abs(steps)):
        prompt_share += math.copysign(PROMPT_SHARE_STEP, steps)
    return prompt_share


def frequent_neurons(neurons: pd.DataFrame) -> pd.DataFrame:
    """Return how many facts have each neuron: columns layer, neuron, facts. Most frequent first; ties by layer and index.

    `neurons` are of one relation and method.
    """
    counts = neurons.groupby(["layer", "neuron"]).size().rename("facts").reset_index()
    return counts.sort_values(["facts", "layer", "neuron"], ascending=[False, True, True], ignore_index=True)


def relation_neurons(neurons: pd.DataFrame, facts: int) -> pd.DataFrame:
    """Return the `frequent_neurons` that at least a tenth of the relation's facts have; `facts` is the number of all its facts."""
    counts = frequent_neurons(neurons)
    return counts[counts["facts"] >= RELATION_SHARE * facts].reset_index(drop=True)


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
    """Return the name of a neuron in tables and figures: "layer.index", with layers from 1 and indexes from 0."""
    return f"{layer + 1}.{index}"
