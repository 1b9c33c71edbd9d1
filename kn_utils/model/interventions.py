"""Interventions: activations scaled at one position (section 4.3), value vectors edited or erased everywhere (section 5).

Each is a context manager. On exit, also after an exception, the original weights are restored bit for bit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from kn_utils.model.forward import each_layer, here
from kn_utils.model.layouts import value_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron

OPERATIONS = {"suppress": 0.0, "amplify": 2.0}  # factor of the activation


@contextmanager
def scaled_neurons(lm: LanguageModel, position: Tensor, neurons: Sequence[Sequence[Neuron]], operation: str) -> Iterator[None]:
    """Suppress or amplify the given `neurons` of each of B prompts, at `position` [B] only.

    Raises ValueError for an operation that is not one of `OPERATIONS`, a neuron that the model does not have, or a wrong number of prompts.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"operation is {operation!r}; it must be one of {', '.join(OPERATIONS)}")
    if len(neurons) != len(position):
        raise ValueError(f"neurons are given for {len(neurons)} prompts, positions for {len(position)}")
    for neuron in {neuron for row in neurons for neuron in row}:
        _check_neuron(lm, neuron)
    by_layer: list[list[tuple[int, int]]] = [[] for _ in range(lm.n_layers)]
    for row, of_prompt in enumerate(neurons):
        for layer, index in of_prompt:
            by_layer[layer].append((row, index))

    def scale(layer: int, inner: Tensor) -> Tensor | None:
        if not by_layer[layer]:
            return None
        row, index = torch.tensor(by_layer[layer], device=inner.device).T
        _, at = here(inner, position)
        changed = inner.clone()
        changed[row, at[row], index] *= OPERATIONS[operation]
        return changed

    with each_layer(lm, len(neurons), scale):
        yield


@contextmanager
def edited_value_vectors(lm: LanguageModel, vectors: Mapping[Neuron, Tensor]) -> Iterator[None]:
    """Replace the value vectors of neurons by `vectors` [hidden]; on exit the original ones are restored bit for bit.

    Inside the block the model has the new weights: `lm.model.save_pretrained` saves them, and `lm.digest` is their digest, so results are
    never mistaken for results of the original model. Blocks may be nested.
    Raises ValueError for a neuron that the model does not have, a vector of a wrong shape, or a model whose layers share neurons.
    """
    check_layers_are_separate(lm)
    originals = {neuron: _value_vector(lm, neuron) for neuron in vectors}
    for neuron, original in originals.items():
        if vectors[neuron].shape != original.shape:
            raise ValueError(
                f"the new value vector of {neuron} has the shape {tuple(vectors[neuron].shape)}, not {tuple(original.shape)}"
            )
    with _other_digest(lm), ExitStack() as undo:
        for neuron, original in originals.items():
            undo.callback(original.copy_, original.clone())
            original.copy_(vectors[neuron])
        yield


@contextmanager
def _other_digest(lm: LanguageModel) -> Iterator[None]:
    """Inside the block, do not use the cached digest of the weights; on exit, restore it."""
    cached = {name: value for name, value in vars(lm).items() if name == "digest"}
    vars(lm).pop("digest", None)
    try:
        yield
    finally:
        vars(lm).pop("digest", None)
        vars(lm).update(cached)


def _check_neuron(lm: LanguageModel, neuron: Neuron) -> None:
    layer, index = neuron
    if layer not in range(lm.n_layers) or index not in range(lm.n_neurons):
        raise ValueError(
            f"{lm.name} has {lm.n_layers} layers of {lm.n_neurons} neurons, counted from 0, so no neuron (layer, index) {neuron}"
        )


def _value_vector(lm: LanguageModel, neuron: Neuron) -> Tensor:
    _check_neuron(lm, neuron)
    layer, index = neuron
    return value_vectors(lm.downs[layer])[index]


def check_layers_are_separate(lm: LanguageModel) -> None:
    """Raise ValueError for a model whose layers share one feed-forward network (ALBERT)."""
    if len(lm.blocks) < lm.n_layers:
        raise ValueError(f"{lm.name}: layers share one feed-forward network, so no value vector belongs to one layer alone")


def new_vectors(lm: LanguageModel, neurons: Sequence[Neuron], rule: Callable[[Tensor], Tensor]) -> dict[Neuron, Tensor]:
    """Return the new value vectors, for `edited_value_vectors`: `rule` of the old ones. Raises the same errors."""
    check_layers_are_separate(lm)
    return {neuron: rule(_value_vector(lm, neuron)) for neuron in neurons}


def scaled_rule(vector: Tensor, old: Tensor, new: Tensor, lambda1: float = 1, lambda2: float = 8) -> Tensor:
    """Subtract `lambda1` times the old object's embedding from a value vector and add `lambda2` times the new one's (section 5.1).

    All are [hidden]. Both embeddings are first scaled to the length of the value vector, as in the released code.
    """
    length = vector.norm()
    return vector - lambda1 * length / old.norm() * old + lambda2 * length / new.norm() * new


def fixed_rule(vector: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Subtract 2 x the old object's embedding and add 2 x the new one's, without scaling, as later toolkits do."""
    return vector - 2 * old + 2 * new


RULES = {"scaled": scaled_rule, "fixed": fixed_rule}  # the paper's, and that of later toolkits


def erasure(vector: Tensor) -> Tensor:
    """Return a value vector of zeros (section 5.2)."""
    return vector.new_zeros(vector.shape)


def check_editable(lm: LanguageModel) -> None:
    """Raise ValueError if layers share neurons, or if word embeddings and value vectors differ in width."""
    check_layers_are_separate(lm)
    width, wanted = lm.embeddings.shape[1], value_vectors(lm.downs[0]).shape[1]
    if width != wanted:
        raise ValueError(
            f"{lm.name}: word embeddings have {width} coordinates and value vectors {wanted}, so they cannot be added"
        )


def target_embedding(lm: LanguageModel, token: int) -> Tensor:
    """Return the input word embedding of a token, [hidden]. Raises ValueError as `check_editable`."""
    check_editable(lm)
    return lm.embeddings[token]
