"""Knowledge neurons (section 3.3): the neurons that stand out in many prompts of a fact."""

from dataclasses import dataclass

import pandas as pd

from kn_utils.attribution import KEPT_SHARE
from kn_utils.checks import check_number

FEWEST_PROMPTS = 3  # a neuron must stand out in at least so many prompts, however few a fact has
ROUNDS = 6
FEWEST_NEURONS, MOST_NEURONS = 2, 5  # mean per fact that the rounds aim at
PROMPT_SHARE_STEP = 0.05
RELATION_SHARE = 0.1  # a relation neuron is one of at least so many of the relation's facts


@dataclass(frozen=True)
class Thresholds:
    """The shares t of a prompt's largest score, for integrated gradients and for activations, and p of a fact's prompts to start from.

    Raises ValueError for a value out of range.
    """

    attribution: float = 0.2
    activation: float = 0.5
    prompt_share: float = 0.7

    def __post_init__(self):
        kept = f"a number from {KEPT_SHARE} to 1; step 1 keeps no smaller scores"
        for name, share in (("score_share", self.attribution), ("baseline_share", self.activation)):  # the notebook's names
            check_number(name, share, lambda value: KEPT_SHARE <= value <= 1, kept)
        check_number("prompt_share", self.prompt_share, lambda value: 0 <= value <= 1, "a number from 0 to 1")


@dataclass(frozen=True)
class Refined:
    """The knowledge neurons of a relation's facts (columns fact, layer, neuron, prompts) and the rounds that led to them.

    `rounds` has the columns round, prompt_share and mean_neurons.
    """

    neurons: pd.DataFrame
    rounds: pd.DataFrame


def strong(scores: pd.DataFrame, share: float) -> pd.DataFrame:
    """Keep, of one relation's and one method's scores, those of at least `share` of their prompt's largest."""
    values = scores["score"].astype(float)
    largest = values.groupby([scores["fact"], scores["prompt"]]).transform("max")
    return scores[values >= largest * share]


def shared(strong_scores: pd.DataFrame, prompts: pd.Series, prompt_share: float) -> pd.DataFrame:
    """Return the neurons that are strong in at least max(`prompt_share` x the fact's prompts, 3) of them.

    `prompts` maps a fact to how many were asked. Columns fact, layer, neuron and prompts, the number in which the neuron is strong.
    """
    counts = strong_scores.groupby(["fact", "layer", "neuron"]).size().rename("prompts").reset_index()
    needed = (counts["fact"].map(prompts) * prompt_share).clip(lower=FEWEST_PROMPTS)
    return counts[counts["prompts"] >= needed].reset_index(drop=True)


def refine(scores: pd.DataFrame, prompts: pd.Series, score_share: float, prompt_share: float) -> Refined:
    """Lower or raise the share of prompts in at most six rounds until facts have 2 to 5 neurons on average; the last round counts.

    `scores` are one relation's and one method's, `prompts` as in `shared`, with every fact that was asked.
    """
    candidates = strong(scores, score_share)
    rounds = []
    for number in range(1, ROUNDS + 1):
        neurons = shared(candidates, prompts, prompt_share)
        mean = len(neurons) / max(1, len(prompts))
        rounds.append((number, prompt_share, mean))
        if FEWEST_NEURONS <= mean <= MOST_NEURONS:
            break
        prompt_share += PROMPT_SHARE_STEP if mean > MOST_NEURONS else -PROMPT_SHARE_STEP
    return Refined(neurons, pd.DataFrame(rounds, columns=["round", "prompt_share", "mean_neurons"]))


def frequent_neurons(neurons: pd.DataFrame) -> pd.DataFrame:
    """Count the facts of each neuron, most frequent first, ties by layer and index: columns layer, neuron, facts.

    `neurons` are one relation's and one method's.
    """
    counts = neurons.groupby(["layer", "neuron"]).size().rename("facts").reset_index()
    return counts.sort_values(["facts", "layer", "neuron"], ascending=[False, True, True], ignore_index=True)


def relation_neurons(neurons: pd.DataFrame, facts: int) -> pd.DataFrame:
    """Return those `frequent_neurons` that at least a tenth of a relation's facts have; `facts` is how many were asked."""
    counts = frequent_neurons(neurons)
    return counts[counts["facts"] >= RELATION_SHARE * facts].reset_index(drop=True)
