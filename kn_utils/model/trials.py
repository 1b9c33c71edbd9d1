"""Trials of the neurons of a fact: chosen on one half of its templates, suppressed in the prompts of the other half.

What is chosen and judged by the same prompts looks better than it is.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.changed_answers import Sets, changed_answers
from kn_utils.model.controls import matched_neurons, template_halves
from kn_utils.model.half_neurons import relative_scores, strongest_neurons
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.parameters import KEPT_SHARE

SET_SIZE = 4  # neurons of a set, about as many as a fact has in the paper
MAX_TEMPLATES = 6  # of a relation, so that all kinds of facts have about equally many


def drawn_halves(lm: LanguageModel, dataset: Dataset, relation: str, seed: int) -> dict[int, int]:
    """Return the half, 0 or 1, of each of at most `MAX_TEMPLATES` templates that the model can use, drawn with the seed."""
    usable = sorted(template_halves(lm, dataset, relation))
    drawn = random.Random(f"{seed}-templates-{relation}").sample(usable, min(MAX_TEMPLATES, len(usable)))
    return {template: number % 2 for number, template in enumerate(sorted(drawn))}


@dataclass(frozen=True)
class AttributedFact:
    """A fact's `prompts` with the half of each (`halves`, [prompts]).

    [prompts, layers, neurons]: the `scores` of integrated gradients, divided by the prompt's largest, and the activations.
    """

    prompts: list[Prompt]
    halves: Tensor
    scores: Tensor
    activations: Tensor

    def chosen(self, half: int, without: Sequence[Neuron] = ()) -> list[Neuron]:
        """Return the `SET_SIZE` neurons with the largest mean scores in one half of the templates, largest first; none of `without`."""
        mean = self.scores[self.halves == half].mean(0)
        for layer, index in without:
            mean[layer, index] = -torch.inf
        return strongest_neurons(mean, SET_SIZE)

    def matched(self, half: int) -> list[Neuron] | None:
        """Return neurons of the same layers and activation as `chosen`, which attribution names in no prompt: see `matched_neurons`."""
        named = (self.scores >= KEPT_SHARE).any(0).nonzero().tolist()
        return matched_neurons(self.chosen(half), self.activations.mean(0).numpy(), map(tuple, named))

    def judged_by(self, half: int) -> list[Prompt]:
        """Return the prompts of the other half, which did not choose the neurons."""
        return [prompt for prompt, other in zip(self.prompts, self.halves.tolist(), strict=True) if other != half]


def attribute_facts(
    lm: LanguageModel, dataset: Dataset, facts: Sequence[Fact], halves: Mapping[str, Mapping[int, int]]
) -> dict[Fact, AttributedFact]:
    """Return the scores of some facts in the templates that have a half; `halves` are those of `drawn_halves`, by relation.

    A fact without prompts in both halves is not in the result. The facts need not be facts of the data set, only their relations.
    """
    own = {fact: _prompts(lm, dataset, fact, halves[fact.relation]) for fact in facts}
    own = {
        fact: of_fact for fact, of_fact in own.items() if {halves[fact.relation][prompt.index] for prompt in of_fact} == {0, 1}
    }
    prompts = [prompt for of_fact in own.values() for prompt in of_fact]
    scores, activations = attributed(lm, prompts)
    found, start = {}, 0
    for fact, of_fact in own.items():
        rows = slice(start, start := start + len(of_fact))
        of_prompt = torch.tensor([halves[fact.relation][prompt.index] for prompt in of_fact])
        found[fact] = AttributedFact(of_fact, of_prompt, scores[rows], activations[rows])
    return found


def _prompts(lm: LanguageModel, dataset: Dataset, fact: Fact, halves: Mapping[int, int]) -> list[Prompt]:
    return [prompt for prompt in usable_prompts(lm, dataset, fact) if prompt.index in halves]


def attributed(lm: LanguageModel, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
    """Return the scores and activations of `relative_scores` in the order of the prompts, [prompts, layers, neurons]."""
    scores = torch.zeros(len(prompts), lm.n_layers, lm.n_neurons, dtype=torch.float64)
    activations = torch.zeros_like(scores)
    for index, score, activation in relative_scores(lm, prompts):
        scores[index], activations[index] = score, activation
    return scores, activations


def suppressed_log_odds(lm: LanguageModel, prompts: Sequence[Prompt], sets: Sets) -> list[list[float]]:
    """Return the log-odds of the target of each prompt with each of its `sets` of neurons at zero; an empty set changes nothing."""
    [answers] = changed_answers(lm, prompts, [("suppress", sets)])
    return [[answer.log_odds for answer in of_prompt] for of_prompt in answers]
