"""Exact effects of ablations at the prediction position: of every neuron alone, and of sets of neurons together.

A neuron is ablated by setting its activation to a value: zero, or its mean over other prompts. If one neuron of layer l changes by d, the
output of the layer's down-projection changes by d times its value vector. So each ablated neuron is one copy of the prompt in
`kn_utils.model.copies`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kn_utils.model.copies import logits_of_copies
from kn_utils.model.forward import each_layer, here, log_odds, logits_at, prompts_at_once
from kn_utils.model.layouts import at_least_float32, value_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import PromptSuffix

Change = Callable[
    [int, nn.Module, Tensor], Tensor
]  # layer, down-projection, activation [neurons] -> change of its output [n, hidden]


@torch.inference_mode()
def single_ablations(lm: LanguageModel, suffix: PromptSuffix, values: Tensor) -> Tensor:
    """Return the log-odds of the target of one prompt if a neuron is set to its value: [layers, neurons], one neuron at a time.

    `values` is [layers, neurons].
    """
    found = []
    for neurons in chunks_of_neurons(lm, suffix):

        def change(layer: int, down: nn.Module, activation: Tensor, neurons: Tensor = neurons) -> Tensor:
            return (values[layer, neurons].to(activation) - activation[neurons])[:, None] * value_vectors(down)[neurons]

        logits = changed_logits(lm, suffix, change)
        targets = suffix.target.expand(len(logits), 1)
        found.append(log_odds(logits, targets).view(lm.n_layers, len(neurons)).cpu())
    return torch.cat(found, dim=1)


def joint_ablations(lm: LanguageModel, suffix: PromptSuffix, sets: Tensor, values: Tensor) -> Tensor:
    """Return the log-odds of the target of one prompt if all neurons of a set are set to their values: [n], for n sets.

    `sets` and `values` are as in `logits_of_ablations`.
    """
    logits = logits_of_ablations(lm, suffix, sets, values)
    return log_odds(logits, suffix.target.expand(len(logits), 1))[:, 0].cpu()


@torch.inference_mode()
def logits_of_ablations(lm: LanguageModel, suffix: PromptSuffix, sets: Tensor, values: Tensor) -> Tensor:
    """Return the logits of one prompt if all neurons of a set are set to their values, [n, vocabulary], for n sets.

    `sets` [n, layers, neurons] is True for the neurons of each set; `values` is [layers, neurons].
    """
    found = []
    for part in sets.to(lm.device).split(prompts_at_once(suffix.ids.shape[1])):
        copies = suffix.select(torch.zeros(len(part), dtype=torch.long, device=lm.device))

        def ablate(layer: int, inner: Tensor, part: Tensor = part, position: Tensor = copies.position) -> Tensor:
            at = here(inner, position)
            return inner.index_put(at, torch.where(part[:, layer], values[layer].to(inner), inner[at]))

        with each_layer(lm, len(part), ablate):
            found.append(logits_at(lm, copies))
    return torch.cat(found)


def chunks_of_neurons(lm: LanguageModel, suffix: PromptSuffix) -> tuple[Tensor, ...]:
    """Return the indexes of a layer's neurons in parts; one part of all layers fits into one pass."""
    size = max(1, prompts_at_once(suffix.ids.shape[1]) // lm.n_layers)
    return torch.arange(lm.n_neurons, device=lm.device).split(size)


@torch.inference_mode()
def changed_logits(lm: LanguageModel, suffix: PromptSuffix, change: Change, skip_blocks: bool = False) -> Tensor:
    """Return the logits of one prompt if the output of a layer's down-projection changes at the prediction position.

    `change` returns n changes for each layer; the logits are [layers x n, vocabulary], in at least float32. With `skip_blocks` the final
    norm and the vocabulary projection read the changed layer directly, without the blocks above it (the logit lens).
    """

    def of_prompt(layer: int, down: nn.Module, activation: Tensor) -> Tensor:
        return change(layer, down, activation[0])[:, None]

    logits, _ = logits_of_copies(lm, suffix, of_prompt, skip_blocks)
    return at_least_float32(logits[1:])  # the first row is the unchanged prompt
