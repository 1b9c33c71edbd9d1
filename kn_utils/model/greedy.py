"""Greedy sets: neurons are set to zero in the order in which they matter, and the rest is scored again with these neurons off."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from kn_utils.model.forward import each_layer, head_at, log_odds, logits_at, prompts_at_once
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Prompt, stack


def scores_without(lm: LanguageModel, prompt: Prompt, off: Tensor) -> Tensor:
    """Return activation times gradient of the target's log-odds, [layers, neurons], while the neurons `off` [layers, neurons] are zero.

    Everything is at the prediction position. It needs one forward and one backward pass.
    """
    suffix = prompt_suffix(lm, stack([prompt], lm.device))
    here = (torch.zeros(1, dtype=torch.long, device=lm.device), suffix.position)
    activations, leaves = [], []

    def add_leaf(layer: int, inner: Tensor) -> Tensor:
        activations.append(inner[here][0].detach().masked_fill(off[layer].to(inner.device), 0))
        leaves.append(torch.zeros_like(activations[-1], requires_grad=True))
        kept = inner[here].masked_fill(off[layer].to(inner.device), 0)
        return inner.index_put(here, kept + leaves[-1])

    with torch.enable_grad(), head_at(lm, suffix.position), each_layer(lm, 1, add_leaf):
        logits = lm.model(suffix.ids, **suffix.arguments).logits[:, 0]
        gradients = torch.autograd.grad(log_odds(logits, suffix.target[:, None]).sum(), leaves)
    return (torch.stack(activations) * torch.stack(gradients)).cpu()


def greedy_order(lm: LanguageModel, prompt: Prompt, candidates: Tensor, sizes: Sequence[int]) -> list[int]:
    """Return neurons that support the target, most important first, as places in the flattened [layers, neurons].

    At each of the rising `sizes` the neurons so far are set to zero, and all others are scored again. Only `candidates` [layers, neurons]
    are taken; ties go by layer and index.
    """
    off, order = torch.zeros_like(candidates), []
    for start, end in pairwise((0, *sizes)):
        score = scores_without(lm, prompt, off).masked_fill(off | ~candidates, -torch.inf)
        best = score.flatten().sort(descending=True, stable=True).indices[: end - start]
        off.view(-1)[best] = True
        order += best.tolist()
    return order


@torch.inference_mode()
def logits_without(lm: LanguageModel, prompt: Prompt, sets: Tensor) -> Tensor:
    """Return the logits at the prediction position while the neurons of each set are zero there, [n, vocabulary].

    `sets` [n, layers, neurons] is True for the neurons of each set.
    """
    suffix, found = prompt_suffix(lm, stack([prompt], lm.device)), []
    for part in sets.to(lm.device).split(prompts_at_once(suffix.ids.shape[1])):
        copies = suffix.select(torch.zeros(len(part), dtype=torch.long, device=lm.device))
        here = (torch.arange(len(part), device=lm.device), copies.position)

        def set_to_zero(layer: int, inner: Tensor, part: Tensor = part, here: tuple = here) -> Tensor:
            return inner.index_put(here, inner[here].masked_fill(part[:, layer], 0))

        with each_layer(lm, len(part), set_to_zero):
            found.append(logits_at(lm, copies))
    return torch.cat(found)
