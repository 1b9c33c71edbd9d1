"""KV-cached prefixes: only the tokens that depend on the prediction position are run again.

A masked model looks both ways, so those are all tokens of the prompt. In a left-to-right model the tokens before the prediction position,
which is the last one, do not see it: their keys and values are computed once and shared by any number of passes, and of copies of the
prompts in one pass.
"""

from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import Batch


@dataclass(frozen=True)
class PromptSuffix:
    """The tokens of B prompts that have to be run: `ids` [B, tokens], the `position` [B] in them and the `target` [B] there.

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

    def select(self, rows: Tensor) -> "PromptSuffix":
        """Return the prompts at `rows`."""
        cache = None if self.cache is None else _selected(self.cache, rows)
        return replace(self, ids=self.ids[rows], position=self.position[rows], target=self.target[rows], cache=cache)


def prompt_suffix(lm: LanguageModel, batch: Batch) -> PromptSuffix:
    """Return whole prompts for a masked model, else their last tokens with the cached keys and values of the others."""
    if lm.masked:
        return PromptSuffix(batch.ids, batch.position, batch.target, masked=True)
    cache = _cached(lm, batch.ids[:, :-1]) if batch.ids.shape[1] > 1 else None
    return PromptSuffix(batch.ids[:, -1:], torch.zeros_like(batch.position), batch.target, masked=False, cache=cache)


class _PrefixLayer(DynamicLayer):
    """Cached keys and values of the prompts' prefixes, shared by any number of copies of each and never changed.

    This relies on how `DynamicCache` calls its layers, which has no public interface; pyproject.toml bounds transformers for it.
    """

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
