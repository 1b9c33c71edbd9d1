"""What has to be read again when something changes at the prediction position alone.

A masked model looks both ways, so that is the whole prompt. A left-to-right model's other tokens do not see the prediction position, the
last one: their keys and values are computed once and lent to any number of passes, and of copies of the prompts in one pass.
"""

from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from kn_utils.models import LanguageModel
from kn_utils.prompts import Batch


@dataclass(frozen=True)
class Tail:
    """The part of B prompts that has to be read: `ids` [B, tokens], the `position` [B] in them and the `target` [B] there.

    `cache` holds the keys and values of a left-to-right model's other tokens, if there are any.
    """

    ids: Tensor
    position: Tensor
    target: Tensor
    masked: bool
    cache: DynamicCache | None = None

    @property
    def arguments(self) -> dict:
        """The model's arguments besides the tokens."""
        return {} if self.masked else {"past_key_values": self.cache, "use_cache": self.cache is not None}

    def select(self, rows: Tensor) -> "Tail":
        """Return the prompts at `rows`."""
        cache = None if self.cache is None else _selected(self.cache, rows)
        return replace(self, ids=self.ids[rows], position=self.position[rows], target=self.target[rows], cache=cache)


def tail(lm: LanguageModel, batch: Batch) -> Tail:
    """Return the prompts themselves for a masked model, else their last tokens with the cached keys and values of the others."""
    if lm.masked:
        return Tail(batch.ids, batch.position, batch.target, masked=True)
    cache = _cached(lm, batch.ids[:, :-1]) if batch.ids.shape[1] > 1 else None
    return Tail(batch.ids[:, -1:], torch.zeros_like(batch.position), batch.target, masked=False, cache=cache)


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


def _selected(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    chosen = copy(cache)
    chosen.layers = [copy(layer) for layer in cache.layers]
    for layer in chosen.layers:
        layer.keys, layer.values = layer.keys[rows], layer.values[rows]
    return chosen
