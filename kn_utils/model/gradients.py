"""Gradients at scaled activations, for all layers in one forward and one backward pass.

If the neurons of layer l are scaled at the prediction position, the layers below l do not change, and neither does the output of layer l
at other positions. So the model runs once on the prompts. After each block, copies of the prompts with scaled activations of that block are
added to the batch, and go through the blocks above together with the rest. At the end the batch has the prompts and layers x nodes copies
of each. Rows of a batch do not influence each other, so one backward pass of the sum of their probabilities gives all gradients.

Only the prediction position is needed at the end. So the last block and the vocabulary projection run at this position only, and in a
left-to-right model a copy is a single token that attends to the KV cache of its prefix.
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
    """The results of one layer, for B prompts and n nodes.

    `activation` [B, neurons], unscaled; `probability` [n, B] of the target at the nodes; `gradient` [n, B, neurons] of this probability
    with respect to the activations.
    """

    activation: Tensor
    gradient: Tensor
    probability: Tensor


@dataclass(frozen=True)
class Pass:
    """The results of all layers, and of the unscaled prompts: the target's `probability` [B] and the most probable token [B]."""

    layers: list[LayerGradients]
    probability: Tensor
    top_token: Tensor

    @property
    def activation(self) -> Tensor:
        """The unscaled activations, [B, layers, neurons]."""
        return torch.stack([layer.activation for layer in self.layers], dim=1)


def scaled_gradients(lm: LanguageModel, suffix: PromptSuffix, nodes: list[Tensor]) -> Pass:
    """Return P(target) and its gradient with respect to a layer's activations, at a * w for every layer w and every node a.

    `nodes` has one 1-d tensor per layer; it is empty for layers that are not needed.
    """
    copies = Copies(lm, suffix.position, nodes)
    with copies.attached(), torch.enable_grad():
        logits = lm.model(suffix.ids, **suffix.arguments).logits.flatten(0, 1)
    return copies.finish(logits if lm.model.dtype == torch.float64 else logits.float(), suffix.target)


class Copies:
    """Hooks that add copies to the batch after every block, and the leaf tensors of the gradients."""

    def __init__(self, lm: LanguageModel, position: Tensor, nodes: list[Tensor]):
        self.lm, self.position, self.nodes = lm, position, nodes
        self.rows = torch.arange(len(position), device=position.device)
        self.activations: list[Tensor] = []  # per finished layer, [B, neurons]
        self.leaves: list[Tensor] = []  # per finished layer, [n, B, neurons]
        self.residual = None  # input of the current block's `after_norm` at the prediction position, [B, hidden]

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
        """Separate prompts from copies, and differentiate the copies' probabilities: dP/dlogits = P * (onehot - softmax)."""
        count = len(target)
        targets = target.repeat(len(logits) // count)[:, None]
        softmax = logits.detach().softmax(-1)
        top_token, probability = softmax[:count].argmax(-1), softmax.gather(1, targets)
        upstream = softmax.mul_(-probability).scatter_add_(1, targets, probability)  # in place: the largest tensor of the pass
        upstream[:count] = 0
        gradients = iter(torch.autograd.grad(logits, [leaf for leaf in self.leaves if len(leaf)], upstream))
        unscaled, *by_layer = torch.split(probability.view(-1, count), [1, *(len(leaf) for leaf in self.leaves)])
        layers = [
            LayerGradients(activation, next(gradients) if len(leaf) else leaf.detach(), at_nodes)
            for activation, leaf, at_nodes in zip(self.activations, self.leaves, by_layer, strict=True)
        ]
        return Pass(layers, unscaled[0], top_token)

    def _at_position(self, hidden: Tensor) -> Tensor:
        """Return the unscaled prompts at the prediction position, [B, size], from [rows, tokens, size] or [rows, size]."""
        if hidden.dim() == 2 or hidden.shape[1] == 1:
            return hidden.reshape(len(hidden), -1)[: len(self.rows)].detach()
        return hidden[self.rows, self.position].detach()

    def _every_row_at_position(self, hidden: Tensor) -> Tensor:
        """Return all rows of [rows, tokens, size] at the prediction position, [rows, 1, size]."""
        position = self.position.repeat(len(hidden) // len(self.position))
        return hidden[torch.arange(len(hidden), device=hidden.device), position][:, None]

    def _is_last(self) -> bool:
        return len(self.leaves) == self.lm.n_layers - 1

    def _before_block(self, block: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Reduce attention masks and position tables to one row; prompts of equal length share it, so it fits any batch size."""

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
            here = self._every_row_at_position(hidden) if hidden.shape[1] > 1 else hidden
            grown = torch.cat([here, scaled.flatten(0, 1)[:, None]])  # [rows, 1, hidden]
        else:
            grown = torch.cat([hidden, *self._copies_of(hidden, scaled)])
        self.leaves.append(self.leaf)
        return (grown, *output[1:]) if isinstance(output, tuple) else grown

    def _scaled_output(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """Return the block's exact output at the prediction position for every node, [n, B, hidden], without running the block again."""
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

    def _block(self, block: nn.Module, forward, hidden: Tensor, *args, **kwargs) -> Tensor:
        """Run a block of a post-norm encoder. In the last block the prediction position is the only query."""
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
