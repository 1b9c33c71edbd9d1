"""Edits of what a model knows (section 5): value vectors replaced for as long as a `with` block lasts, and the rules that say by what."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import pandas as pd
from torch import Tensor

from kn_utils.checks import check_number
from kn_utils.interventions import Neuron
from kn_utils.layouts import value_vectors
from kn_utils.models import LanguageModel

COMMON_SHARE = 0.1  # an edit spares neurons of more than so many of the relation's facts


@contextmanager
def edited_value_vectors(lm: LanguageModel, vectors: Mapping[Neuron, Tensor]) -> Iterator[None]:
    """Put `vectors` [hidden] in the place of the neurons' value vectors, and at the end, however it comes, the old ones back bit for bit.

    Until then the model is an ordinary one with other weights: `lm.model.save_pretrained` writes them, and `lm.digest` is theirs, so that
    no result can pass for one of the original. Blocks may be nested.
    Raises ValueError for a neuron the model does not have, a vector of another shape, or a model whose layers share their neurons.
    """
    check_layers_are_separate(lm)
    places = {neuron: _value_vector(lm, neuron) for neuron in vectors}
    for neuron, place in places.items():
        if vectors[neuron].shape != place.shape:
            raise ValueError(
                f"the new value vector of {neuron} has the shape {tuple(vectors[neuron].shape)}, not {tuple(place.shape)}"
            )
    with _other_weights(lm), ExitStack() as undo:
        for neuron, place in places.items():
            undo.callback(place.copy_, place.clone())
            place.copy_(vectors[neuron])
        yield


@contextmanager
def _other_weights(lm: LanguageModel) -> Iterator[None]:
    """Have the weights' digest, which a model remembers, computed anew inside, and remember the old one again afterwards."""
    remembered = {name: value for name, value in vars(lm).items() if name == "digest"}
    vars(lm).pop("digest", None)
    try:
        yield
    finally:
        vars(lm).pop("digest", None)
        vars(lm).update(remembered)


def _value_vector(lm: LanguageModel, neuron: Neuron) -> Tensor:
    layer, index = neuron
    if not (0 <= layer < lm.n_layers and 0 <= index < lm.n_neurons):
        raise ValueError(f"{lm.name} has no neuron {neuron}: it has {lm.n_layers} layers of {lm.n_neurons}, counted from 0")
    return value_vectors(lm.downs[layer])[index]


def check_layers_are_separate(lm: LanguageModel) -> None:
    """Raise ValueError for a model whose layers share one feed-forward network (ALBERT)."""
    if len(lm.blocks) < lm.n_layers:
        raise ValueError(f"{lm.name}: layers share one feed-forward network, so no value vector belongs to one layer alone")


def new_vectors(lm: LanguageModel, neurons: Sequence[Neuron], rule: Callable[[Tensor], Tensor]) -> dict[Neuron, Tensor]:
    """Return what `rule` makes of the neurons' value vectors, for `edited_value_vectors`; raises as that does."""
    check_layers_are_separate(lm)
    return {neuron: rule(_value_vector(lm, neuron)) for neuron in neurons}


def scaled_rule(vector: Tensor, old: Tensor, new: Tensor, lambda1: float = 1, lambda2: float = 8) -> Tensor:
    """Take `lambda1` times the old object's embedding from a value vector and add `lambda2` times the new one's (section 5.1).

    All are [hidden]. Both embeddings are first brought to the value vector's length, as in the released code.
    """
    length = vector.norm()
    return vector - lambda1 * length / old.norm() * old + lambda2 * length / new.norm() * new


def fixed_rule(vector: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Take twice the old object's embedding and add twice the new one's, whatever their lengths, as later toolkits do; all are [hidden]."""
    return vector - 2 * old + 2 * new


def erasure(vector: Tensor) -> Tensor:
    """Return zeros in the place of a value vector (section 5.2)."""
    return vector.new_zeros(vector.shape)


def check_editable(lm: LanguageModel) -> None:
    """Raise ValueError for a model whose facts cannot be edited: layers share neurons, or word embeddings have another width."""
    check_layers_are_separate(lm)
    width, wanted = lm.embeddings.shape[1], value_vectors(lm.downs[0]).shape[1]
    if width != wanted:
        raise ValueError(
            f"{lm.name}: word embeddings have {width} coordinates and value vectors {wanted}, so they cannot be added"
        )


def target_embedding(lm: LanguageModel, token: int) -> Tensor:
    """Return the input word embedding of a token, [hidden]; raises as `check_editable`."""
    check_editable(lm)
    return lm.embeddings[token]


def uncommon_neurons(neurons: pd.DataFrame, facts: int, common_share: float = COMMON_SHARE) -> pd.DataFrame:
    """Keep the rows of neurons that few of a relation's facts have: 1 + that number is at most a share of `facts` (section 5.1).

    `neurons` are one relation's and one method's, a row per fact and neuron. The 1 is the released code's: with a share of a tenth, of 44
    facts at most 3 may have it, and of fewer than 20 none. Raises ValueError for a share that is not a number from 0 to 1.
    """
    check_number("common_share", common_share, lambda value: 0 <= value <= 1, "a number from 0 to 1")
    have = neurons.groupby(["layer", "neuron"])["fact"].transform("size")
    return neurons[(1 + have) / facts <= common_share]
