"""The fastest way in which a model can run copies of its prompts, chosen by a check against the loop over layers."""

import logging

import torch
from torch import Tensor

from kn_utils.model.forward import model_logits
from kn_utils.model.gradients import scaled_gradients
from kn_utils.model.layouts import LAYER_BY_LAYER, LENGTH, ONE_QUERY, WAYS, few_tokens
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Batch

LAYERS = 4  # at most so many layers are compared: each takes a pass of the whole model
NODES = (0.0, 0.6)


def fastest_way(lm: LanguageModel) -> str:
    """Return the first of `WAYS` that gives the gradients, activations and logits of the loop over layers, to rounding.

    A model that only the loop fits is said once.
    """
    batch = _some_prompts(lm)
    expected = _numbers(lm, batch, LAYER_BY_LAYER)
    for way in WAYS:
        if way == ONE_QUERY and not lm.layout.attention:
            continue
        if way == LAYER_BY_LAYER or _agrees(lm, batch, way, expected):
            break
    if way == LAYER_BY_LAYER:
        logging.getLogger(__name__).warning(
            "%s: its batch cannot grow from layer to layer, so each layer is run alone: the same numbers, several times slower",
            lm.name,
        )
    return way


def _some_prompts(lm: LanguageModel) -> Batch:
    """Two prompts of a few tokens. The target is the second best answer, whose probability is far from 0 and 1."""
    ids = few_tokens(lm.model, rows=2)
    position = torch.tensor([1, LENGTH - 1] if lm.masked else [LENGTH - 1] * 2, device=lm.device)
    with torch.no_grad():
        logits = lm.model(ids).logits[torch.arange(2), position]
    return Batch(ids, position, logits.topk(2).indices[:, 1])


def _numbers(lm: LanguageModel, batch: Batch, way: str) -> list[Tensor]:
    """Return logits, and for some layers activations, gradients and probabilities."""
    suffix = prompt_suffix(lm, batch, way)
    some = _compared_layers(lm)
    nodes = [torch.tensor(NODES if layer in some else (), dtype=torch.float64) for layer in range(lm.n_layers)]
    found = scaled_gradients(lm, suffix, nodes, way)
    with torch.no_grad():
        numbers = [model_logits(lm, suffix, way), found.probability]
    for layer in some:
        numbers += vars(found.layers[layer]).values()
    return numbers


def _compared_layers(lm: LanguageModel) -> set[int]:
    """Return `LAYERS` layers from the first to the last; in half precision the last ones, as rounding grows through the blocks above."""
    last = lm.n_layers - 1
    if torch.finfo(lm.model.dtype).bits < 32:
        return set(range(max(0, lm.n_layers - LAYERS), lm.n_layers))
    return {round(number * last / (LAYERS - 1)) for number in range(LAYERS)}


def _agrees(lm: LanguageModel, batch: Batch, way: str, expected: list[Tensor]) -> bool:
    """Return whether a way gives the expected numbers, each within a share of the largest one that rounding explains."""
    try:
        found = _numbers(lm, batch, way)
    except Exception:  # models fail in their own ways if a batch grows inside them; the next way is tried
        return False
    tolerance = max(1e-3, 32 * torch.finfo(lm.model.dtype).eps)
    return all(
        one.shape == other.shape and bool((one - other).abs().max() <= tolerance * other.abs().max())
        for one, other in zip(found, expected, strict=True)
    )
