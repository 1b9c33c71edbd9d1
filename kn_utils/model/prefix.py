"""KV-cached prefixes: only the tokens that depend on the prediction position are run again.

In a masked model all tokens depend on each other, so the whole prompt is run again. In a left-to-right model the prediction position is the
last token, and earlier tokens do not depend on it. Their keys and values are computed once, and shared by all passes and all copies of a
prompt.
"""

from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from kn_utils.model.layouts import LAYER_BY_LAYER
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import Batch


@dataclass(frozen=True)
class PromptSuffix:
    """The tokens of B prompts that are run: `ids` [B, tokens], prediction `position` [B] among them, and `target` token [B].

    `cache` has the keys and values of the prefix. It is None if the whole prompts are run.
    """

    ids: Tensor
    position: Tensor
    target: Tensor
    cache: DynamicCache | None = None

    @property
    def arguments(self) -> dict:
        """Keyword arguments for the model's forward pass, besides the tokens."""
        return {} if self.cache is None else {"past_key_values": self.cache, "use_cache": True}

    def select(self, rows: Tensor) -> "PromptSuffix":
        """Return the suffixes of the prompts at `rows`."""
        cache = None if self.cache is None else _selected(self.cache, rows)
        return replace(self, ids=self.ids[rows], position=self.position[rows], target=self.target[rows], cache=cache)


def prompt_suffix(lm: LanguageModel, batch: Batch, way: str = "") -> PromptSuffix:
    """Return the last tokens of the prompts with the KV cache of the prefixes, for a left-to-right model; otherwise the whole prompts.

    `way` is as in `kn_utils.model.copies.logits_of_copies`. If the model is run layer by layer, the whole prompts are run.
    """
    if lm.masked or (way or lm.way) == LAYER_BY_LAYER or batch.ids.shape[1] == 1:
        return whole_prompts(batch)
    return PromptSuffix(batch.ids[:, -1:], torch.zeros_like(batch.position), batch.target, _cached(lm, batch.ids[:, :-1]))


def whole_prompts(batch: Batch) -> PromptSuffix:
    """Return all tokens of the prompts, for changes that reach the prefix, too."""
    return PromptSuffix(batch.ids, batch.position, batch.target)


class _PrefixLayer(DynamicLayer):
    """Cached keys and values of the prefixes. They are never changed, and any number of copies of a prompt shares them.

    This depends on how `DynamicCache` calls its layers, not a public interface; so pyproject.toml limits transformers.
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
