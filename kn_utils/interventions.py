"""Interventions on neurons (section 4.3): context managers under which the model runs with some of its neurons changed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from kn_utils.forward import each_layer
from kn_utils.models import LanguageModel

OPERATIONS = {"suppress": 0.0, "amplify": 2.0}  # what a neuron's activation is multiplied by

Neuron = tuple[int, int]  # (layer, index), both from 0


@contextmanager
def scaled_neurons(lm: LanguageModel, position: Tensor, neurons: Sequence[Sequence[Neuron]], operation: str) -> Iterator[None]:
    """Suppress or amplify, at `position` [B] of each of B prompts, that prompt's own `neurons`; everything else stays as it is.

    Raises ValueError for an operation that is not one of `OPERATIONS`, a neuron the model does not have, or another number of prompts.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"operation is {operation!r}; it must be one of {', '.join(OPERATIONS)}")
    if len(neurons) != len(position):
        raise ValueError(f"neurons are given for {len(neurons)} prompts, positions for {len(position)}")
    own = {place for row in neurons for place in row}
    if missing := [place for place in own if place[0] not in range(lm.n_layers) or place[1] not in range(lm.n_neurons)]:
        raise ValueError(
            f"{lm.name} has {lm.n_layers} layers of {lm.n_neurons} neurons, so no neuron (layer, index) {missing[0]}"
        )
    places = [
        [(row, neuron) for row, own in enumerate(neurons) for at, neuron in own if at == layer] for layer in range(lm.n_layers)
    ]

    def scale(layer: int, inner: Tensor) -> Tensor | None:
        if not places[layer]:
            return None
        row, neuron = torch.tensor(places[layer], device=inner.device).T
        changed = inner.clone()
        changed[row, position[row], neuron] *= OPERATIONS[operation]
        return changed

    with each_layer(lm, len(neurons), scale):
        yield
