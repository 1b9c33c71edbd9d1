"""Knowledge neurons (section 3.3): neurons with a high score in many prompts of a fact."""

import math
from dataclasses import dataclass

import pandas as pd

from kn_utils.model.neurons import MAX_NEURONS, MIN_NEURONS, MIN_PROMPTS, PROMPT_SHARE, SCORE_SHARE
from kn_utils.parameters import check

ROUNDS = 6  # at most
PROMPT_SHARE_STEP = 0.05


@dataclass(frozen=True)
class Thresholds:
    """The threshold t (a share of the prompt's largest score) for each method, and the initial p (a share of the fact's prompts).

    Raises ValueError for a value out of range.
    """

    attribution: float = SCORE_SHARE
    activation: float = 0.5
    prompt_share: float = PROMPT_SHARE

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
