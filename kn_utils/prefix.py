"""What has to be read again when something changes at the prediction position alone.

A masked model looks both ways, so that is the whole prompt. A left-to-right model's other tokens do not see the prediction position, the
last one: their keys and values are computed once and lent to any number of passes, and of copies of the prompts in one pass.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from kn_utils.models import LanguageModel
from kn_utils.prompts import Batch


@dataclass(frozen=True)
class Tail:
    """The part of B prompts that has to be read: `ids` [B, tokens], `position` [B] in them, and the model's further `arguments`."""

    ids: Tensor
    position: Tensor
    arguments: dict


def tail(lm: LanguageModel, batch: Batch) -> Tail:
    """Return the prompts themselves for a masked model, else their last tokens with the cached keys and values of the others."""
    if lm.masked:
        return Tail(batch.ids, batch.position, {})
    cache = _cached(lm, batch.ids[:, :-1]) if batch.ids.shape[1] > 1 else None
    arguments = {"past_key_values": cache, "use_cache": cache is not None}
    return Tail(batch.ids[:, -1:], torch.zeros_like(batch.position), arguments)


class _PrefixLayer(DynamicLayer):
    """Cached keys and values of the prompts' prefixes, lent to any number of copies of each and never changed."""

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        return self._behind(self.keys, key_states), self._behind(self.values, value_states)

    @staticmethod
    def _behind(prefix: Tensor, states: Tensor) -> Tensor:
        states = states.unflatten(0, (-1, len(prefix)))  # [copies, B, heads, 1, size]
        return torch.cat([prefix.expand(len(states), *prefix.shape), states], dim=-2).flatten(0, 1)


@torch.no_grad()
def _cached(lm: LanguageModel, prefix: Tensor) -> DynamicCache:
    cache = DynamicCache()
    lm.model.base_model(prefix, past_key_values=cache, use_cache=True)
    for layer in cache.layers:
        layer.__class__ = _PrefixLayer
    return cache
