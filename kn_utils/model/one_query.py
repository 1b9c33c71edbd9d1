"""The last block of a post-norm encoder, run at the prediction position only: nothing reads it at other positions."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from kn_utils.model.layouts import submodule
from kn_utils.model.models import LanguageModel


@contextmanager
def last_layer_at(lm: LanguageModel, position: Tensor) -> Iterator[None]:
    """Inside the block, the last layer of a pass gives its output at `position` [B] only, [B, 1, hidden]."""
    layers = count()  # counted, since in ALBERT several layers share a block

    def run(block: nn.Module, forward: Callable, hidden: Tensor, *args, **kwargs):
        if next(layers) % lm.n_layers < lm.n_layers - 1:
            return forward(hidden, *args, **kwargs)
        return block_at(lm, block, hidden, position)

    with ExitStack() as undo:
        for block in lm.blocks:
            undo.enter_context(forward_replaced(block, partial(run, block, block.forward)))
        yield


def block_at(lm: LanguageModel, block: nn.Module, hidden: Tensor, position: Tensor) -> Tensor:
    """Return the output of a block at `position` [B], its only query, [rows, 1, hidden].

    `hidden` [rows, tokens, hidden] has the B prompts, or several copies of them one after the other.
    """
    names = lm.layout.attention
    query, key, value, output, norm, up, activation = (submodule(block, name) for name in vars(names).values())
    here = rows_at(hidden, position)
    heads = lm.model.config.num_attention_heads

    def by_head(states: Tensor) -> Tensor:  # [rows, tokens, hidden] -> [rows, heads, tokens, size]
        return states.unflatten(-1, (heads, -1)).transpose(1, 2)

    context = scaled_dot_product_attention(by_head(query(here)), by_head(key(hidden)), by_head(value(hidden)))
    here = norm(output(context.transpose(1, 2).flatten(2)) + here)
    down, after_norm = submodule(block, lm.layout.down), submodule(block, lm.layout.after_norm)
    return after_norm(down(activation(up(here))) + here)


def rows_at(hidden: Tensor, position: Tensor) -> Tensor:
    """Return all rows of [rows, tokens, size] at `position` [B], [rows, 1, size]; the rows are copies of B prompts."""
    position = position.repeat(len(hidden) // len(position))
    return hidden[torch.arange(len(hidden), device=hidden.device), position][:, None]


@contextmanager
def forward_replaced(module: nn.Module, forward: Callable) -> Iterator[None]:
    """Inside the block, a module calls another function; its hooks stay. Blocks may be nested."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before
