"""Interchange: states of one prompt are put into the pass of another prompt of equal length.

What then changes in the answer has passed through these states (interchange interventions: Geiger et al., NeurIPS 2021). The states are
the activations of a block's neurons, which are the input of its down-projection, and the outputs of its attention heads, which are the
input of the attention's output projection.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kn_utils.model.forward import each_layer, logits_at, prompts_at_once
from kn_utils.model.layouts import FORMULA, ONE_QUERY, submodule
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron
from kn_utils.model.prefix import whole_prompts
from kn_utils.model.prompts import Prompt, stack

FEED_FORWARD, ATTENTION = PARTS = ("feed-forward", "attention")


@dataclass(frozen=True)
class Patch:
    """The states of one part that are taken over, at some positions: those of all `layers`, or of some `neurons` only."""

    part: str
    positions: tuple[int, ...]
    layers: tuple[int, ...] = ()
    neurons: tuple[Neuron, ...] = ()

    def by_layer(self) -> dict[int, list[int] | slice]:
        """Return the indexes of the states in each layer."""
        every: dict[int, list[int] | slice] = {layer: slice(None) for layer in self.layers}
        for layer, index in self.neurons:
            every.setdefault(layer, []).append(index)
        return every


def states(lm: LanguageModel, prompt: Prompt) -> dict[str, Tensor]:
    """Return the states of each part of a prompt, [layers, tokens, width]."""
    found: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    with ExitStack() as hooks:
        for part in PARTS:
            hooks.enter_context(_each_state(lm, part, 1, lambda _, state, kept=found[part]: kept.append(state[0].clone())))
        _logits(lm, prompt, 1)
    return {part: torch.stack(of_layers) for part, of_layers in found.items()}


def interchanged_logits(lm: LanguageModel, prompt: Prompt, source: dict[str, Tensor], patches: Sequence[Patch]) -> Tensor:
    """Return the logits at the prediction position of a prompt that takes over states of another one, [patches, vocabulary].

    Each patch is a pass of its own; `source` are the `states` of the other prompt. A patch without layers and neurons changes nothing.
    """
    found = []
    at_once = prompts_at_once(len(prompt.ids))
    for start in range(0, len(patches), at_once):
        part_of = patches[start : start + at_once]
        with ExitStack() as hooks:
            for part in PARTS:
                hooks.enter_context(_each_state(lm, part, len(part_of), _exchange(part, source[part], part_of)))
            found.append(_logits(lm, prompt, len(part_of)))
    return torch.cat(found)


def _exchange(part: str, source: Tensor, patches: Sequence[Patch]) -> Callable[[int, Tensor], Tensor]:
    """Return a function that takes over the states of a layer, for `_each_state`; row n of the batch is patch n."""
    chosen = [(row, patch.positions, patch.by_layer()) for row, patch in enumerate(patches) if patch.part == part]

    def exchange(layer: int, state: Tensor) -> Tensor:
        changed = state.clone()
        for row, positions, by_layer in chosen:
            if layer in by_layer:
                for position in positions:
                    changed[row, position, by_layer[layer]] = source[layer, position, by_layer[layer]]
        return changed

    return exchange


@contextmanager
def _each_state(lm: LanguageModel, part: str, prompts: int, visit: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """Call `visit(layer, states)` for each layer of a pass, as `each_layer`, for either part."""
    if part == FEED_FORWARD:
        with each_layer(lm, prompts, visit):
            yield
        return
    layer = 0  # counted, since in ALBERT several layers share a block

    def before_output(output: nn.Module, args: tuple) -> tuple | None:
        nonlocal layer
        state = args[0]
        changed = visit(layer, state.view(prompts, -1, state.shape[-1]))
        layer += 1
        return None if changed is None else (changed.view_as(state),)

    with ExitStack() as hooks:
        for block in lm.blocks:
            output = submodule(block, lm.layout.attention_output)
            hooks.enter_context(output.register_forward_pre_hook(before_output))
        yield


def _logits(lm: LanguageModel, prompt: Prompt, count: int) -> Tensor:
    """Return the logits of copies of a whole prompt, [count, vocabulary]; states may change at all positions, so every layer has all."""
    batch = stack([prompt] * count, lm.device)
    return logits_at(lm, whole_prompts(batch), FORMULA if lm.way == ONE_QUERY else lm.way)
