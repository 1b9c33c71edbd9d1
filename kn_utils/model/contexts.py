"""Suppressed, amplified and edited neurons as context managers, for any use of a model inside the block.

`lm.model` is an ordinary model of transformers. Inside the block its neurons are changed in every forward pass: of a call, of `generate` or
of a pipeline. On exit, also after an exception, the model is as before.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from kn_utils.model.interventions import edited_value_vectors, new_vectors, scaled_neurons, scaled_rule, target_embedding
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron, neuron_list
from kn_utils.model.own_sentences import answer_prompts

Neurons = pd.DataFrame | Iterable[str]  # a table with the columns layer and neuron (both from 0), or names such as "L5.377"


def parse_neurons(neurons: Neurons) -> list[Neuron]:
    """Return the neurons of a table, or those with the given names, as (layer, index). Raises ValueError for a name that is none.

    >>> parse_neurons(["L5.377", "L6.3"])
    [(4, 377), (5, 3)]
    """
    if isinstance(neurons, pd.DataFrame):
        return neuron_list(neurons)
    return [_named(name) for name in ([neurons] if isinstance(neurons, str) else neurons)]


def _named(name: str) -> Neuron:
    found = re.fullmatch(r"L?([1-9]\d*)\.(\d+)", str(name).strip())
    if not found:
        raise ValueError(f"{name!r} names no neuron: write L, the layer from 1, a point and the index from 0, such as L5.377")
    return int(found[1]) - 1, int(found[2])


@contextmanager
def suppress(lm: LanguageModel, neurons: Neurons) -> Iterator[None]:
    """Set neurons to zero at the position from which the model predicts: at the mask, or at the last token.

    Every text has one mask. While a left-to-right model generates, the neurons are suppressed at each new token.
    Raises ValueError for a neuron that the model does not have, and in a forward pass for a text without exactly one mask.

    >>> from kn_utils import answers, find, load, suppress
    >>> lm, sentence = load("starter"), "Brazil's language is [MASK]."
    >>> answers(lm, sentence, n=1)["answer"].item()
    'portuguese'
    >>> with suppress(lm, find(lm, sentence, "portuguese")):
    ...     answers(lm, sentence, n=1)["answer"].item()
    'spanish'
    """
    with _scaled(lm, neurons, "suppress"):
        yield


@contextmanager
def amplify(lm: LanguageModel, neurons: Neurons) -> Iterator[None]:
    """Double neurons at the position from which the model predicts; otherwise as `suppress`."""
    with _scaled(lm, neurons, "amplify"):
        yield


@contextmanager
def edit(
    lm: LanguageModel, neurons: Neurons, sentence: str, answer: str, instead: str, lambda1: float = 1, lambda2: float = 8
) -> Iterator[None]:
    """Change the value vectors of neurons, so that the model gives the answer `instead` (section 5.1, `scaled_rule`).

    The two answers are those to `sentence`. Inside the block the weights are changed, and `lm.model.save_pretrained` saves them.
    Raises ValueError for answers that are not one token each, and for a model whose value vectors cannot be edited.

    >>> from kn_utils import answers, edit, find, load
    >>> lm, sentence = load("starter"), "The Eiffel Tower is in [MASK]."
    >>> with edit(lm, find(lm, sentence, "paris"), sentence, "paris", instead="rome"):
    ...     answers(lm, sentence, n=1)["answer"].item()
    'rome'
    """
    [old], [new] = answer_prompts(lm, [sentence], answer), answer_prompts(lm, [sentence], instead, "instead")
    if old.target == new.target:
        raise ValueError(f"instead is {instead!r}, which is the answer already: give another one")
    rule = partial(
        scaled_rule,
        old=target_embedding(lm, old.target),
        new=target_embedding(lm, new.target),
        lambda1=lambda1,
        lambda2=lambda2,
    )
    with edited_value_vectors(lm, new_vectors(lm, parse_neurons(neurons), rule)):
        yield


@contextmanager
def _scaled(lm: LanguageModel, neurons: Neurons, operation: str) -> Iterator[None]:
    """Apply `scaled_neurons` to every forward pass of `lm.model`."""
    chosen = parse_neurons(neurons)
    with scaled_neurons(lm, torch.zeros(1, dtype=int), [chosen], operation):
        pass  # raises for a neuron that the model does not have, before any pass
    of_pass = ExitStack()

    def begin(model: nn.Module, args: tuple, kwargs: dict) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        position = _prediction_position(lm, ids, kwargs.get("attention_mask"))
        of_pass.enter_context(scaled_neurons(lm, position, [chosen] * len(ids), operation))

    def end(model: nn.Module, args: tuple, output: object) -> None:
        of_pass.close()

    with (
        of_pass,
        lm.model.register_forward_pre_hook(begin, with_kwargs=True),
        lm.model.register_forward_hook(end, always_call=True),
    ):
        yield


def _prediction_position(lm: LanguageModel, ids: Tensor | None, attention_mask: Tensor | None) -> Tensor:
    """Return the position of each text's mask, or of its last token that is not padding, [texts]."""
    if ids is None:
        raise ValueError("while neurons are suppressed or amplified, call the model with input_ids")
    if lm.masked:
        masks = ids == lm.tokenizer.mask_token_id
        if not (masks.sum(1) == 1).all():
            raise ValueError("while neurons are suppressed or amplified, every text must have exactly one mask")
        return masks.int().argmax(1)
    tokens = torch.arange(ids.shape[1], device=ids.device)
    read = torch.ones_like(ids) if attention_mask is None else attention_mask[:, -ids.shape[1] :]
    return (tokens * (read > 0)).amax(1)
