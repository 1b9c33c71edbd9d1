"""Controls for knowledge neurons: other neurons that could have the same effect, if attribution did not matter."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.forward import activations_of
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron, neuron_list
from kn_utils.model.prompts import Prompt, ends_with_object


def mean_activations(lm: LanguageModel, prompts: Sequence[Prompt]) -> dict[Fact, np.ndarray]:
    """Return the mean activations at the prediction position over the prompts of each fact, [layers, neurons]."""
    sums: dict[Fact, np.ndarray] = {}
    counts: dict[Fact, int] = {}
    for index, activation in activations_of(lm, prompts):
        fact = prompts[index].fact
        sums[fact] = sums.get(fact, 0) + activation.double().numpy()
        counts[fact] = counts.get(fact, 0) + 1
    return {fact: total / counts[fact] for fact, total in sums.items()}


def named_neurons(scores: pd.DataFrame) -> dict[int, frozenset[Neuron]]:
    """Return the neurons that integrated gradients name in any prompt of each fact: all that step 1's table `attribution` has.

    `scores` are the table's rows of one relation.
    """
    named = scores.loc[scores["method"] == "attribution", ["fact", "layer", "neuron"]].drop_duplicates()
    return {fact: frozenset(neuron_list(rows)) for fact, rows in named.groupby("fact")}


def matched_neurons(neurons: Sequence[Neuron], activation: np.ndarray, named: Iterable[Neuron]) -> list[Neuron] | None:
    """Return a neuron of the same layer for each of `neurons`: the one whose activation is closest, with its sign.

    `activation` [layers, neurons] is the mean over the fact's prompts. None of `neurons` or `named` is taken, and none twice; at equal
    distance the one with the lower index is taken. Returns None if a layer has too few other neurons.
    """
    taken, found = {*neurons, *named}, []
    for layer, index in neurons:
        distance = np.abs(activation[layer] - activation[layer, index])
        distance[[other for at, other in taken if at == layer]] = np.inf
        closest = int(distance.argmin())
        if np.isinf(distance[closest]):
            return None
        found.append((layer, closest))
        taken.add(found[-1])
    return found


def template_halves(lm: LanguageModel, dataset: Dataset, relation: str) -> dict[int, int]:
    """Return the half, 0 or 1 in turn, of each template that the model can use; it is the same for all facts of the relation."""
    templates = dataset.templates[relation]
    usable = [index for index, template in enumerate(templates) if lm.masked or ends_with_object(template)]
    return {index: number % 2 for number, index in enumerate(usable)}


def neurons_by_half(
    scores: pd.DataFrame, halves: Mapping[int, int], counts: Mapping[int, int]
) -> dict[tuple[int, int], list[Neuron]]:
    """Return for each fact and half of the templates the neurons with the largest mean scores, as many as `counts` has for the fact.

    A prompt's scores are divided by its largest; a neuron that is not in the table has 0, and is not taken. Ties go by layer and index.
    `scores` are rows of step 1's table `attribution` of one relation.
    """
    rows = scores[(scores["method"] == "attribution") & scores["fact"].isin(counts)]
    share = rows["score"].astype(float) / rows.groupby(["fact", "prompt"])["score"].transform("max")
    rows = rows.assign(half=rows["prompt"].map(halves), share=share)
    # in a half all means have the same number of prompts, so sums have the same order
    sums = rows.groupby(["fact", "half", "layer", "neuron"])["share"].sum().reset_index()
    ranked = sums.sort_values(["share", "layer", "neuron"], ascending=[False, True, True])
    return {(fact, half): neuron_list(ranks.head(counts[fact])) for (fact, half), ranks in ranked.groupby(["fact", "half"])}
