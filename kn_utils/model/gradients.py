"""Gradients at scaled activations, for all layers in one forward and one backward pass.

Scaling the neurons of layer l at the prediction position changes nothing below l, and no other position of l's output. So the model
runs once on the prompts. After each block the batch grows by copies of the prompts in which that block's activations were scaled; the
copies go through the blocks above together with the rest of the batch. At the top the batch holds the prompts and layers x nodes copies
of each. One backward pass of their summed probabilities gives every gradient, because rows of a batch do not influence each other.

Only the prediction position matters at the top, which saves two things: the last block and the vocabulary projection run at that
position alone, and a left-to-right model's copies are single tokens that attend to the cached keys and values of their prefix.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from kn_utils.model.layouts import submodule
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import PromptSuffix


@dataclass(frozen=True)
class LayerGradients:
    """One layer's part of a pass over B prompts at n nodes.

    `activation` [B, neurons]; `gradient` [n, B, neurons] of the target's probability with respect to the layer's activation at the
    nodes; `probability` [n, B] of the target there.
    """

    activation: Tensor
    gradient: Tensor
    probability: Tensor


@dataclass(frozen=True)
class Pass:
    """The result of one pass: `layers`, and the unscaled prompts' target probability [B] and most probable token [B]."""

    layers: list[LayerGradients]
    probability: Tensor
    top_token: Tensor

    @property
    def activation(self) -> Tensor:
        """The unscaled activations, [B, layers, neurons]."""
        return torch.stack([layer.activation for layer in self.layers], dim=1)


def scaled_gradients(lm: LanguageModel, suffix: PromptSuffix, nodes: list[Tensor]) -> Pass:
    """Return P(target) and its gradient with respect to each layer's activation w at a * w, for every node a of that layer.

    `suffix` is what has to be run of B prompts. `nodes` holds one 1-d tensor per layer, empty for layers that are not wanted.
    """
    copies = _Copies(lm, suffix.position, nodes)
    with copies.attached(), torch.enable_grad():
        logits = lm.model(suffix.ids, **suffix.arguments).logits.flatten(0, 1)
    return copies.finish(logits if lm.model.dtype == torch.float64 else logits.float(), suffix.target)


class _Copies:
    """Hooks that let the batch grow behind every block, and the leaves whose gradients are wanted."""

    def __init__(self, lm: LanguageModel, position: Tensor, nodes: list[Tensor]):
        self.lm, self.position, self.nodes = lm, position, nodes
        self.rows = torch.arange(len(position), device=position.device)
        self.activations: list[Tensor] = []  # per finished layer, [B, neurons]
        self.leaves: list[Tensor] = []  # per finished layer, [n, B, neurons]
        self.residual = None  # input of the norm after the current block's sum, at the prediction position, [B, hidden]

    @contextmanager
    def attached(self) -> Iterator[None]:
        with ExitStack() as stack:
            for block, down in zip(self.lm.blocks, self.lm.downs, strict=True):
                stack.enter_context(block.register_forward_pre_hook(self._before_block, with_kwargs=True))
                stack.enter_context(down.register_forward_pre_hook(self._before_down))
                stack.enter_context(block.register_forward_hook(self._after_block))
                if norm := self.lm.layout.after_norm:
                    hook = submodule(block, norm).register_forward_pre_hook(self._before_after_norm)
                    stack.enter_context(hook)
                if self.lm.layout.attention:
                    stack.enter_context(_forward_replaced(block, partial(self._block, block, block.forward)))
            yield

    def finish(self, logits: Tensor, target: Tensor) -> Pass:
        """Split the rows into prompts and copies and differentiate the copies' probabilities, dP/dlogits = P * (onehot - softmax)."""
        count = len(target)
        targets = target.repeat(len(logits) // count)[:, None]
        softmax = logits.detach().softmax(-1)
        top_token, probability = softmax[:count].argmax(-1), softmax.gather(1, targets)
        upstream = softmax.mul_(-probability).scatter_add_(1, targets, probability)  # in place: the largest tensor of the pass
        upstream[:count] = 0
        found = iter(torch.autograd.grad(logits, [leaf for leaf in self.leaves if len(leaf)], upstream))
        own, *steps = torch.split(probability.view(-1, count), [1, *(len(leaf) for leaf in self.leaves)])
        layers = [
            LayerGradients(activation, next(found) if len(leaf) else leaf.detach(), step)
            for activation, leaf, step in zip(self.activations, self.leaves, steps, strict=True)
        ]
        return Pass(layers, own[0], top_token)

    def _at_position(self, hidden: Tensor) -> Tensor:
        """The prompts' rows of [rows, tokens, size] (or [rows, size]) at the prediction position, [B, size]."""
        if hidden.dim() == 2 or hidden.shape[1] == 1:
            return hidden.reshape(len(hidden), -1)[: len(self.rows)].detach()
        return hidden[self.rows, self.position].detach()

    def _every_row_at_position(self, hidden: Tensor) -> Tensor:
        """Prompts and copies, [rows, tokens, size], at the prediction position, [rows, 1, size]."""
        position = self.position.repeat(len(hidden) // len(self.position))
        return hidden[torch.arange(len(hidden), device=hidden.device), position][:, None]

    def _is_last(self) -> bool:
        return len(self.leaves) == self.lm.n_layers - 1

    def _before_block(self, block: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Reduce masks and position tables of B prompts to one row, which fits any number of rows: prompts of one length share them."""

        def shared(value):
            if isinstance(value, tuple):
                return tuple(map(shared, value))
            return value[:1] if isinstance(value, Tensor) and value.dim() > 1 and len(value) == len(self.rows) else value

        return (args[0], *map(shared, args[1:])), {name: shared(value) for name, value in kwargs.items()}

    def _before_down(self, down: nn.Module, args: tuple) -> None:
        self.activations.append(self._at_position(args[0]))

    def _before_after_norm(self, norm: nn.Module, args: tuple) -> None:
        self.residual = self._at_position(args[0])

    def _after_block(self, block: nn.Module, args: tuple, output):
        hidden = output[0] if isinstance(output, tuple) else output
        scaled = self._scaled_output(block, hidden)
        if self._is_last():
            grown = self._last_hidden(hidden, scaled)
        else:
            grown = torch.cat([hidden, *self._copies_of(hidden, scaled)])
        self.leaves.append(self.leaf)
        return (grown, *output[1:]) if isinstance(output, tuple) else grown

    def _scaled_output(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """The block's output at the prediction position for every node, [n, B, hidden]; exact, without running the block again."""
        activation = self.activations[-1]
        nodes = self.nodes[len(self.leaves)].to(activation)
        self.leaf = (nodes[:, None, None] * activation).requires_grad_()
        down = submodule(block, self.lm.layout.down)
        if self.lm.layout.branch_norm:
            norm = submodule(block, self.lm.layout.branch_norm)
            change = norm.forward(down.forward(self.leaf)) - norm.forward(down.forward(activation))
        else:
            change = down.forward(self.leaf - activation) - down.forward(torch.zeros_like(activation))
        if self.lm.layout.after_norm:
            return submodule(block, self.lm.layout.after_norm).forward(self.residual + change)
        return self._at_position(hidden) + change

    def _copies_of(self, hidden: Tensor, scaled: Tensor) -> list[Tensor]:
        n, count = scaled.shape[:2]
        if n == 0:
            return []
        copies = hidden[:count].detach().repeat(n, 1, 1)
        position = self.position.repeat(n)
        return [copies.index_put((torch.arange(n * count, device=hidden.device), position), scaled.flatten(0, 1))]

    def _last_hidden(self, hidden: Tensor, scaled: Tensor) -> Tensor:
        """All rows at the prediction position alone, [rows, 1, hidden]."""
        here = self._every_row_at_position(hidden) if hidden.shape[1] > 1 else hidden
        return torch.cat([here, scaled.flatten(0, 1)[:, None]])

    def _block(self, block: nn.Module, forward, hidden: Tensor, *args, **kwargs) -> Tensor:
        """Run a post-norm encoder's block; the last one with a single query, at the prediction position."""
        if not self._is_last():
            return forward(hidden, *args, **kwargs)
        names = self.lm.layout.attention
        query, key, value, output, norm, up, activation = (submodule(block, name) for name in vars(names).values())
        here = self._every_row_at_position(hidden)
        heads = self.lm.model.config.num_attention_heads

        def by_head(states: Tensor) -> Tensor:  # [rows, tokens, hidden] -> [rows, heads, tokens, size]
            return states.unflatten(-1, (heads, -1)).transpose(1, 2)

        context = scaled_dot_product_attention(by_head(query(here)), by_head(key(hidden)), by_head(value(hidden)))
        here = norm(output(context.transpose(1, 2).flatten(2)) + here)
        down, after_norm = submodule(block, self.lm.layout.down), submodule(block, self.lm.layout.after_norm)
        return after_norm(down(activation(up(here))) + here)


@contextmanager
def _forward_replaced(module: nn.Module, forward) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
