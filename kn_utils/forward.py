"""Forward passes of prompts of equal length: what the model answers at the prediction position, and its neurons' activations there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from kn_utils.models import LanguageModel
from kn_utils.prompts import group_by_length

TOKENS_AT_ONCE = 2048


def prompts_at_once(length: int) -> int:
    """How many prompts of `length` tokens to read in one pass; at least 1."""
    return max(1, TOKENS_AT_ONCE // length)


@torch.inference_mode()
def probabilities(lm: LanguageModel, ids: Tensor, position: Tensor, arguments: dict | None = None) -> Tensor:
    """Return the probability of every token at `position` [B] of the prompts `ids` [B, tokens]: [B, vocabulary].

    The vocabulary projection runs at that position alone. `arguments` are further ones of the model, as `kn_utils.prefix.tail` makes them.
    """

    def at_position(head: nn.Module, args: tuple) -> tuple:
        return (args[0][torch.arange(len(ids)), position, None],)

    with lm.model.get_output_embeddings().register_forward_pre_hook(at_position):
        logits = lm.model(ids, **(arguments or _no_cache(lm))).logits[:, 0]
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)


@torch.inference_mode()
def activations(lm: LanguageModel, ids: Tensor, position: Tensor) -> Tensor:
    """Return the neurons' activations at `position` [B] of the prompts `ids` [B, tokens]: [B, layers, neurons]."""
    found = []

    def keep(layer: int, inner: Tensor) -> None:
        found.append(inner[torch.arange(len(ids)), position])

    with each_layer(lm, len(ids), keep):
        lm.model.base_model(ids, **_no_cache(lm))
    return torch.stack(found, dim=1)


def activations_of(lm: LanguageModel, prompts: Sequence) -> Iterator[tuple[int, Tensor]]:
    """Yield the number of each prompt (whatever has `ids` and `position`) and its neurons' activations there, [layers, neurons].

    Prompts of equal length are read together, the shortest first.
    """
    for group in group_by_length(prompts, prompts_at_once):
        ids = torch.tensor([prompts[index].ids for index in group], device=lm.device)
        position = torch.tensor([prompts[index].position for index in group], device=lm.device)
        yield from zip(group, activations(lm, ids, position).cpu(), strict=True)


@contextmanager
def each_layer(lm: LanguageModel, prompts: int, visit: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """Call `visit` in every forward pass of so many prompts with each layer's number and activations, [B, tokens, neurons].

    If it returns a tensor, the model goes on with that one in their place.
    """
    calls = 0  # counted, because layers may share one block (ALBERT)

    def begin(embeddings: nn.Module, args: tuple) -> None:
        nonlocal calls
        calls = 0

    def before_down(down: nn.Module, args: tuple) -> tuple | None:
        nonlocal calls
        layer, calls = calls, calls + 1
        inner = args[0]
        changed = visit(layer, inner.view(prompts, -1, inner.shape[-1]))  # OPT joins prompts and tokens
        return None if changed is None else (changed.view_as(inner),)

    with ExitStack() as stack:
        stack.enter_context(lm.model.get_input_embeddings().register_forward_pre_hook(begin))
        for down in lm.downs:
            stack.enter_context(down.register_forward_pre_hook(before_down))
        yield


def _no_cache(lm: LanguageModel) -> dict:
    return {} if lm.masked else {"use_cache": False}
