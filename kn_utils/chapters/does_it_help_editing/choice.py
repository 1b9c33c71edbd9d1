"""The neurons that are edited in notebook 16: a fact's own, and those of four other methods."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from kn_utils.chapters.does_it_help_editing.plans import Edit
from kn_utils.model.ablation import joint_ablations
from kn_utils.model.controls import matched_neurons
from kn_utils.model.forward import activations_of
from kn_utils.model.half_neurons import scores_by_half, strongest_neurons
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron, random_neurons
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Prompt, stack
from kn_utils.model.scores import gradient_times_activation

METHODS = ("attribution", "matched", "another fact", "random", "exact")
N_NEURONS = 4  # of each method
NAMED_SHARE = 0.05  # a neuron with this share of the prompt's largest score, on average, counts as named by attribution
CANDIDATES = 32  # neurons by gradient x activation, of which the exact effects are computed


def choose_neurons(lm: LanguageModel, edit: Edit, common: frozenset[Neuron], seed: int) -> dict[str, list[Neuron]]:
    """Return the neurons of each of `METHODS`, chosen by the prompts `edit.chosen_on`; those in `common` are spared.

    A method is left out if it has too few neurons, or no other fact to take them from.
    """
    scores = _mean_scores(lm, edit.chosen_on)
    own = strongest_neurons(_without(scores, common), N_NEURONS)
    named = [(layer, index) for layer, index in (scores >= NAMED_SHARE).nonzero().tolist()]
    activation = activations_at(lm, edit.chosen_on).mean(0).numpy()
    sets = {"attribution": own, "matched": matched_neurons(own, activation, {*named, *common})}
    if edit.partner:
        sets["another fact"] = strongest_neurons(_without(_mean_scores(lm, edit.partner), {*common, *own}), N_NEURONS)
    sets["random"] = random_neurons(own, lm.n_neurons, f"{seed}-editing-random-{edit.fact.relation}-{edit.fact.index}")
    sets["exact"] = most_effective_neurons(lm, edit.chosen_on, common)
    return {method: neurons for method, neurons in sets.items() if neurons is not None}


def activations_at(lm: LanguageModel, prompts: Sequence[Prompt]) -> Tensor:
    """Return the activations at the prediction position of each prompt, [prompts, layers, neurons], in float64."""
    found = dict(activations_of(lm, prompts))
    return torch.stack([found[index] for index in range(len(prompts))]).double()


def most_effective_neurons(lm: LanguageModel, prompts: Sequence[Prompt], spared: Collection[Neuron]) -> list[Neuron]:
    """Return the neurons whose ablation lowers the target's log-odds most: the mean over prompts of a fact, each neuron alone.

    Neurons are set to zero. Candidates are those with the largest mean of gradient x activation, which nearly gives the same order; none
    of `spared` is taken.
    """
    batches = [stack([prompt], lm.device) for prompt in prompts]
    gradient = sum(gradient_times_activation(lm, batch).double() for batch in batches)
    candidates = strongest_neurons(_without(gradient, spared), CANDIDATES)
    alone = torch.zeros(len(candidates), *gradient.shape, dtype=torch.bool)
    for row, (layer, index) in enumerate(candidates):
        alone[row, layer, index] = True
    zero = torch.zeros(gradient.shape, device=lm.device)
    after = sum(joint_ablations(lm, prompt_suffix(lm, batch), alone, zero).double() for batch in batches)
    return [candidates[row] for row in after.argsort(stable=True)[:N_NEURONS].tolist()]


def _mean_scores(lm: LanguageModel, prompts: Sequence[Prompt]) -> Tensor:
    """Return the mean attribution scores over prompts of one fact, [layers, neurons]; see `scores_by_half`."""
    [scores] = scores_by_half(lm, prompts, {prompt.index: 0 for prompt in prompts}).values()
    return scores


def _without(scores: Tensor, spared: Collection[Neuron]) -> Tensor:
    """Return scores in which the neurons of `spared` come last."""
    lowered = scores.clone()
    for neuron in spared:
        lowered[neuron] = -torch.inf
    return lowered
