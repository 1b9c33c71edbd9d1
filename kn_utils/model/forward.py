"""Forward passes: answers and activations at the prediction position."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from kn_utils.model.layouts import LAYER_BY_LAYER, ONE_QUERY, at_least_float32
from kn_utils.model.models import LanguageModel
from kn_utils.model.one_query import last_layer_at
from kn_utils.model.prefix import PromptSuffix, prompt_suffix
from kn_utils.model.prompts import group_by_length, stack

TOKENS_AT_ONCE = 2048


@dataclass(frozen=True)
class Answers:
    """Answers to n prompts: `top` [n], the most probable token; and of k given tokens [n, k].

    These are `probability`, `log_odds` and `rank` (1 is best).
    """

    top: np.ndarray
    probability: np.ndarray
    log_odds: np.ndarray
    rank: np.ndarray

    @classmethod
    def empty(cls, n: int, k: int) -> "Answers":
        """Return answers to be filled by `put`."""
        return cls(np.zeros(n, int), np.zeros((n, k)), np.zeros((n, k)), np.zeros((n, k), int))

    def put(self, group: Sequence[int], logits: Tensor, tokens: Tensor) -> None:
        """Fill in the answers to a group of prompts: their logits [B, vocabulary] and given tokens [B, k]."""
        every = logits.softmax(-1)
        found = every.gather(1, tokens)
        self.top[group] = every.argmax(1).cpu()
        self.probability[group] = found.cpu()
        self.log_odds[group] = log_odds(logits, tokens).cpu()
        self.rank[group] = 1 + (every[:, None] > found[:, :, None]).sum(-1).cpu()


def prompts_at_once(length: int) -> int:
    """Return how many prompts of `length` tokens are run in one pass; at least 1."""
    return max(1, TOKENS_AT_ONCE // length)


def predict(lm: LanguageModel, prompts: Sequence, tokens: Sequence[Sequence[int]]) -> Answers:
    """Return the answers to all prompts; `tokens` has the k given tokens of each. Prompts of equal length share a pass."""
    wanted = torch.tensor(tokens, device=lm.device)
    answers = Answers.empty(*wanted.shape)
    for group in group_by_length(prompts, prompts_at_once):
        suffix = prompt_suffix(lm, stack([prompts[index] for index in group], lm.device))
        answers.put(group, logits_at(lm, suffix), wanted[group])
    return answers


def log_probability(probability: np.ndarray) -> np.ndarray:
    """Return ln P; where the softmax underflowed to zero, P is the smallest normal float32 number."""
    return np.log(np.maximum(probability, np.finfo(np.float32).tiny))


def log_odds(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return ln(P / (1 - P)) of given tokens [B, k], [B, k], from logits [B, vocabulary].

    It is the token's logit less the logsumexp of all other logits, so nothing is lost where P rounds to 0 or 1.
    """
    others = logits[:, None].repeat(1, tokens.shape[1], 1).scatter_(2, tokens[:, :, None], -torch.inf)
    return logits.gather(1, tokens) - others.logsumexp(-1)


def probability_of(log_odds: np.ndarray) -> np.ndarray:
    """Return P in float64, given ln(P / (1 - P))."""
    return expit(np.asarray(log_odds, dtype=float))


def probabilities(lm: LanguageModel, suffix: PromptSuffix) -> Tensor:
    """Return the probability of every token at the prediction position of B prompts, [B, vocabulary]."""
    return logits_at(lm, suffix).softmax(-1)


@torch.inference_mode()
def logits_at(lm: LanguageModel, suffix: PromptSuffix, way: str = "") -> Tensor:
    """Return the logits of every token at the prediction position of B prompts, [B, vocabulary], in at least float32."""
    return model_logits(lm, suffix, way)


def model_logits(lm: LanguageModel, suffix: PromptSuffix, way: str = "") -> Tensor:
    """Return the logits at the prediction position, [B, vocabulary], in at least float32; gradients can flow through them.

    The vocabulary projection is computed at this position only, and so is the last layer if the model can do this (`ONE_QUERY`); but not in
    models that are run layer by layer. `way` is as in `kn_utils.model.copies.logits_of_copies`.
    """
    way = way or lm.way
    if way == LAYER_BY_LAYER:
        return at_least_float32(lm.model(suffix.ids).logits[torch.arange(len(suffix.ids)), suffix.position])
    with head_at(lm, suffix.position), last_layer_at(lm, suffix.position) if way == ONE_QUERY else nullcontext():
        return at_least_float32(lm.model(suffix.ids, **suffix.arguments).logits[:, 0])


@contextmanager
def head_at(lm: LanguageModel, position: Tensor) -> Iterator[None]:
    """Inside the block, the vocabulary projection is computed at `position` [B] of B prompts only: logits are [B, 1, vocabulary]."""

    def at_position(head: nn.Module, args: tuple) -> tuple:
        return (args[0][here(args[0], position)][:, None],)

    with lm.model.get_output_embeddings().register_forward_pre_hook(at_position):
        yield


def here(states: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Return the index of the prediction position of B prompts in their states [B, tokens, size].

    The last layer may have this position only: see `kn_utils.model.one_query`.
    """
    alone = states.shape[1] == 1
    return torch.arange(len(position), device=position.device), torch.zeros_like(position) if alone else position


@torch.inference_mode()
def activations(lm: LanguageModel, ids: Tensor, position: Tensor) -> Tensor:
    """Return the activations of all neurons at `position` [B] of the prompts `ids` [B, tokens]: [B, layers, neurons].

    They are in at least float32.
    """
    found = []

    def keep(layer: int, inner: Tensor) -> None:
        found.append(inner[torch.arange(len(ids)), position])

    with each_layer(lm, len(ids), keep):
        lm.model.base_model(ids)
    return at_least_float32(torch.stack(found, dim=1))


def activations_of(lm: LanguageModel, prompts: Sequence) -> Iterator[tuple[int, Tensor]]:
    """Yield the index of each prompt (or other object with `ids` and `position`) and its activations, [layers, neurons].

    Prompts of equal length share a pass; the shortest come first.
    """
    for group in group_by_length(prompts, prompts_at_once):
        ids = torch.tensor([prompts[index].ids for index in group], device=lm.device)
        position = torch.tensor([prompts[index].position for index in group], device=lm.device)
        yield from zip(group, activations(lm, ids, position).cpu(), strict=True)


@contextmanager
def each_layer(lm: LanguageModel, prompts: int, visit: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """Call `visit(layer, activations)` for every layer of every forward pass of a batch; activations are [prompts, tokens, neurons].

    If `visit` returns a tensor, it replaces the activations. In passes of `model_logits` the last layer may have one token: see `here`.
    """
    calls = 0  # of blocks, counted since in ALBERT several layers share one

    def begin(embeddings: nn.Module, args: tuple) -> None:
        nonlocal calls
        calls = 0

    def before_block(block: nn.Module, args: tuple) -> None:
        nonlocal calls
        calls += 1

    def before_down(down: nn.Module, args: tuple) -> tuple | None:
        inner = args[0]
        changed = visit(calls - 1, inner.view(prompts, -1, inner.shape[-1]))  # in OPT prompts and tokens are one dimension
        return None if changed is None else (changed.view_as(inner),)

    with ExitStack() as hooks:
        hooks.enter_context(lm.model.get_input_embeddings().register_forward_pre_hook(begin))
        for block, down in zip(lm.blocks, lm.downs, strict=True):
            hooks.enter_context(block.register_forward_pre_hook(before_block))
            hooks.enter_context(down.register_forward_pre_hook(before_down))
        yield
