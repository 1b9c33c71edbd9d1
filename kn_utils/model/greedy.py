"""Greedy sets: neurons are set to zero in the order in which they matter, and the rest is scored again with these neurons off."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from kn_utils.model.ablation import logits_of_ablations
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Prompt, stack
from kn_utils.model.scores import gradient_times_activation, largest


def scores_without(lm: LanguageModel, prompt: Prompt, off: Tensor) -> Tensor:
    """Return activation times gradient of the target's log-odds, [layers, neurons], while the neurons `off` [layers, neurons] are zero.

    Everything is at the prediction position. It needs one forward and one backward pass.
    """
    return gradient_times_activation(lm, stack([prompt], lm.device), off)


def greedy_order(lm: LanguageModel, prompt: Prompt, candidates: Tensor, sizes: Sequence[int]) -> list[int]:
    """Return neurons that support the target, most important first, as places in the flattened [layers, neurons].

    At each of the rising `sizes` the neurons so far are set to zero, and all others are scored again. Only `candidates` [layers, neurons]
    are taken; ties go by layer and index.
    """
    off, order = torch.zeros_like(candidates), []
    for start, end in pairwise((0, *sizes)):
        score = scores_without(lm, prompt, off).masked_fill(off | ~candidates, -torch.inf)
        best = largest(score, end - start)
        off.view(-1)[best] = True
        order += best.tolist()
    return order


def logits_without(lm: LanguageModel, prompt: Prompt, sets: Tensor) -> Tensor:
    """Return the logits at the prediction position while the neurons of each set are zero there, [n, vocabulary].

    `sets` [n, layers, neurons] is True for the neurons of each set.
    """
    zero = torch.zeros(sets.shape[1:], device=lm.device)
    return logits_of_ablations(lm, prompt_suffix(lm, stack([prompt], lm.device)), sets, zero)
