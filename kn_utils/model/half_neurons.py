"""Neurons that a fact's prompts choose on one half of the templates, to be tried on the other half.

What is chosen and judged by the same prompts looks better than it is. So experiments choose on one half, judge on the other, both ways.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from kn_utils.data.facts import Fact
from kn_utils.model.attribution import Quadrature, integrated_gradients
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron
from kn_utils.model.prompts import Prompt, group_by_length, stack
from kn_utils.model.scores import largest

QUADRATURE = Quadrature("gauss-legendre")
Half = tuple[Fact, int]  # a fact, and the half, 0 or 1, of its relation's templates


def scores_by_half(lm: LanguageModel, prompts: Sequence[Prompt], halves: Mapping[int, int]) -> dict[Half, Tensor]:
    """Return the mean attribution scores over the prompts of each fact and half, [layers, neurons].

    They are those of `relative_scores`. `halves` has the half of each template of
    the relation: see `kn_utils.model.controls.template_halves`.
    """
    sums: dict[Half, Tensor] = {}
    counts: dict[Half, int] = {}
    for index, score, _ in relative_scores(lm, prompts):
        half = (prompts[index].fact, halves[prompts[index].index])
        sums[half] = sums.get(half, 0) + score
        counts[half] = counts.get(half, 0) + 1
    return {half: total / counts[half] for half, total in sums.items()}


def relative_scores(lm: LanguageModel, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the place of each prompt, its scores divided by its largest, and its activations, [layers, neurons] in float64.

    Scores are integrated gradients, with controlled error. Prompts of equal length come together.
    """
    for group in group_by_length(prompts, lambda length: QUADRATURE.prompts_at_once(lm, length)):
        found = integrated_gradients(lm, stack([prompts[index] for index in group], lm.device), QUADRATURE)
        score = found.score.double()
        shares = score / score.amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        yield from zip(group, shares, found.activation.double(), strict=True)


def strongest_neurons(scores: Tensor, count: int) -> list[Neuron]:
    """Return the `count` neurons with the largest scores [layers, neurons], largest first; ties go by layer and index."""
    order = largest(scores, count)
    layers, indexes = order.div(scores.shape[1], rounding_mode="floor"), order % scores.shape[1]
    return list(zip(layers.tolist(), indexes.tolist(), strict=True))


def other_half(prompts: Sequence[Prompt], halves: Mapping[int, int], half: int) -> list[Prompt]:
    """Return the prompts whose template is not in a half."""
    return [prompt for prompt in prompts if halves[prompt.index] != half]
