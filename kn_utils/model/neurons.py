"""Knowledge neurons (section 3.3): neurons with a high score in many prompts of a fact."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kn_utils.parameters import check

Neuron = tuple[int, int]  # (layer, index), both from 0

METHODS = ("attribution", "activation")  # the scores by which neurons are named: integrated gradients, and the paper's baseline
MIN_PROMPTS = 3  # a knowledge neuron passes the threshold in at least three prompts, however few the fact has
ROUNDS = 6
MIN_NEURONS, MAX_NEURONS = 2, 5  # mean per fact that the rounds aim at
PROMPT_SHARE_STEP = 0.05
RELATION_SHARE = 0.1  # a relation neuron is one of at least a tenth of the relation's facts
COMMON_SHARE = 0.1  # an edit spares neurons of more than a tenth of the relation's facts


@dataclass(frozen=True)
class Thresholds:
    """The shares t of a prompt's largest score, for integrated gradients and for activations, and p of a fact's prompts to start from.

    Raises ValueError for a value out of range.
    """

    attribution: float = 0.2
    activation: float = 0.5
    prompt_share: float = 0.7

    def __post_init__(self):
        check(score_share=self.attribution, baseline_share=self.activation, prompt_share=self.prompt_share)


@dataclass(frozen=True)
class Refined:
    """The knowledge neurons of a relation's facts (columns fact, layer, neuron, prompts) and the rounds that led to them.

    `rounds` has the columns round, prompt_share and mean_neurons.
    """

    neurons: pd.DataFrame
    rounds: pd.DataFrame


def strong(scores: pd.DataFrame, share: float) -> pd.DataFrame:
    """Return the scores of at least `share` of their prompt's largest; `scores` are of one relation and one method."""
    values = scores["score"].astype(float)
    largest = values.groupby([scores["fact"], scores["prompt"]]).transform("max")
    return scores[values >= largest * share]


def shared(strong_scores: pd.DataFrame, prompts: pd.Series, prompt_share: float) -> pd.DataFrame:
    """Return the neurons that are strong in at least max(`prompt_share` x the fact's prompts, 3) of them.

    `prompts` maps a fact to the number of its prompts. Columns fact, layer, neuron and prompts, the number in which the neuron is strong.
    """
    counts = strong_scores.groupby(["fact", "layer", "neuron"]).size().rename("prompts").reset_index()
    needed = (counts["fact"].map(prompts) * prompt_share).clip(lower=MIN_PROMPTS)
    return counts[counts["prompts"] >= needed].reset_index(drop=True)


def refine(scores: pd.DataFrame, prompts: pd.Series, score_share: float, prompt_share: float) -> Refined:
    """Lower or raise the share of prompts p in at most six rounds until facts have 2 to 5 neurons on average; the last round counts.

    p changes by adding or subtracting 0.05 in floating point, as in the released code, so that 0.9 may become 0.9000000000000001 and then
    asks for 10 of 10 prompts. `scores` are of one relation and one method; `prompts` as in `shared`, with every fact that has prompts.
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
    """Return p after so many steps of 0.05, down for a negative number, added one by one in floating point as in the released code.

    Four steps up from 0.7 give 0.9000000000000001, which of ten prompts asks for all ten.
    """
    for _ in range(abs(steps)):
        prompt_share += math.copysign(PROMPT_SHARE_STEP, steps)
    return prompt_share


def frequent_neurons(neurons: pd.DataFrame) -> pd.DataFrame:
    """Return the number of facts of each neuron, most frequent first, ties by layer and index: columns layer, neuron, facts.

    `neurons` are of one relation and one method.
    """
    counts = neurons.groupby(["layer", "neuron"]).size().rename("facts").reset_index()
    return counts.sort_values(["facts", "layer", "neuron"], ascending=[False, True, True], ignore_index=True)


def relation_neurons(neurons: pd.DataFrame, facts: int) -> pd.DataFrame:
    """Return those `frequent_neurons` that at least a tenth of a relation's facts have; `facts` is their number."""
    counts = frequent_neurons(neurons)
    return counts[counts["facts"] >= RELATION_SHARE * facts].reset_index(drop=True)


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
