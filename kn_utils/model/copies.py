"""Copies of prompts with a changed feed-forward output, for all layers together.

If the output of layer l's down-projection changes at the prediction position, the layers below l do not change, and neither does the output
of layer l at other positions. So the model runs once on the prompts. After each block, one copy of the prompts for each change of this
block is added to the batch, and goes through the blocks above together with the rest. Rows of a batch do not influence each other. At the
end the batch has the prompts, then the copies of every layer.

Only the prediction position is needed at the end. So the last block and the vocabulary projection run at this position only, and in a
left-to-right model a copy is a single token that attends to the KV cache of its prefix.

Not every model can do all of this. `WAYS` are the ways to get the same numbers, the fastest first.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import torch
from torch import Tensor, nn

from kn_utils.model.layouts import BLOCK_AGAIN, LAYER_BY_LAYER, ONE_QUERY, hidden_states, submodule, with_hidden_states
from kn_utils.model.models import LanguageModel
from kn_utils.model.one_query import last_layer_at, rows_at
from kn_utils.model.prefix import PromptSuffix

HIDDEN = "hidden_states"  # the name under which some models give a block its hidden states
Change = Callable[[int, nn.Module, Tensor], Tensor]
"""Layer, down-projection and its activations at the prediction position [B, neurons] -> n changes of its output there, [n, B, hidden]."""


def logits_of_copies(
    lm: LanguageModel, suffix: PromptSuffix, change: Change, skip_blocks: bool = False, way: str = ""
) -> tuple[Tensor, list[Tensor]]:
    """Return the logits at the prediction position [rows, vocabulary], and the unchanged activations of each layer [B, neurons].

    The rows are the B prompts, then n x B copies for each layer. With `skip_blocks` the final norm and the vocabulary projection read a
    changed layer directly, without the blocks above it (the logit lens). `way` is one of `WAYS`; by default it is the model's own.
    """
    way = way or lm.way
    if way == LAYER_BY_LAYER:
        return _layer_by_layer(lm, suffix, change, skip_blocks)
    copies = _GrowingBatch(lm, suffix.position, change, skip_blocks, way)
    with copies.attached():
        logits = lm.model(suffix.ids, **suffix.arguments).logits.flatten(0, 1)
    return logits, copies.activations


class _GrowingBatch:
    """Hooks that add copies to the batch after every block."""

    def __init__(self, lm: LanguageModel, position: Tensor, change: Change, skip_blocks: bool, way: str):
        self.lm, self.position, self.change, self.skip_blocks, self.way = lm, position, change, skip_blocks, way
        self.rows = torch.arange(len(position), device=position.device)
        self.activations: list[Tensor] = []  # per layer whose down-projection has begun, [B, neurons]
        self.residual = None  # input of the current block's `after_norm` at the prediction position, [B, hidden]
        self.inputs = ((), {})  # of the current block, for the unchanged prompts
        self.skipping: list[Tensor] = []  # per finished layer, [n, B, hidden]

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
            if self.way == ONE_QUERY:
                stack.enter_context(last_layer_at(self.lm, self.position))
            yield

    def _at_position(self, hidden: Tensor) -> Tensor:
        """Return the unchanged prompts at the prediction position, [B, size], from [rows, tokens, size] or [rows, size]."""
        if hidden.dim() == 2 or hidden.shape[1] == 1:
            return hidden.reshape(len(hidden), -1)[: len(self.rows)].detach()
        return hidden[self.rows, self.position].detach()

    def _is_last(self, layer: int) -> bool:
        return layer == self.lm.n_layers - 1

    def _before_block(self, block: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Reduce attention masks and position tables to one row; prompts of equal length share it, so it fits any batch size."""

        def shared(value):
            if isinstance(value, tuple):
                return tuple(map(shared, value))
            by_prompt = isinstance(value, Tensor) and value.dim() > 1 and len(value) == len(self.rows)
            return value[:1] if by_prompt and torch.equal(value, value[:1].expand_as(value)) else value

        args = tuple(shared(value) if index else value for index, value in enumerate(args))
        kwargs = {name: value if name == HIDDEN else shared(value) for name, value in kwargs.items()}
        self.inputs = args, kwargs
        return args, kwargs

    def _before_down(self, down: nn.Module, args: tuple) -> None:
        self.activations.append(self._at_position(args[0]))

    def _before_after_norm(self, norm: nn.Module, args: tuple) -> None:
        self.residual = self._at_position(args[0])

    def _after_block(self, block: nn.Module, args: tuple, output):
        hidden, layer = hidden_states(output), len(self.activations) - 1
        added = self._outputs_of_copies(block, layer, hidden)
        if self.skip_blocks:
            self.skipping.append(added)
            added = torch.cat(self.skipping) if self._is_last(layer) else added[:0]
        if self._is_last(layer):
            here = rows_at(hidden, self.position) if hidden.shape[1] > 1 else hidden
            grown = torch.cat([here, added.flatten(0, 1)[:, None]])  # [rows, 1, hidden]
        else:
            grown = torch.cat([hidden, *self._copies_of(hidden, added)])
        return with_hidden_states(output, grown)

    def _outputs_of_copies(self, block: nn.Module, layer: int, hidden: Tensor) -> Tensor:
        """Return the block's exact output at the prediction position for every copy, [n, B, hidden]."""
        layout, activation = self.lm.layout, self.activations[-1]
        down = submodule(block, layout.down)
        change = self.change(layer, down, activation)
        if self.way == BLOCK_AGAIN:
            return self._block_again(block, down, down.forward(activation) + change)
        if layout.branch_norm:
            norm, before = submodule(block, layout.branch_norm), down.forward(activation)
            change = norm.forward(before + change) - norm.forward(before)
        if layout.after_norm:
            return submodule(block, layout.after_norm).forward(self.residual + change)
        return self._at_position(hidden) + change

    def _block_again(self, block: nn.Module, down: nn.Module, written: Tensor) -> Tensor:
        """Run the block on n copies of the prompts, with other outputs of its down-projection; return its output, [n, B, hidden]."""
        n, prompts = written.shape[:2]
        if n == 0:
            return written
        position = self.position.repeat(n)

        def copies(hidden: Tensor) -> Tensor:
            return hidden[:prompts].detach().repeat(n, 1, 1)

        args, kwargs = self.inputs
        args = tuple(value if index else copies(value) for index, value in enumerate(args))
        kwargs = {name: copies(value) if name == HIDDEN else value for name, value in kwargs.items()}
        activations = list(self.activations)
        with down.register_forward_hook(lambda down, args, output: _replaced(position, written.flatten(0, 1), output)):
            again = hidden_states(block.forward(*args, **kwargs))
        self.activations = activations
        return again[torch.arange(n * prompts, device=again.device), position].view(n, prompts, -1)

    def _copies_of(self, hidden: Tensor, added: Tensor) -> list[Tensor]:
        n, prompts = added.shape[:2]
        if n == 0:
            return []
        copies = hidden[:prompts].detach().repeat(n, 1, 1)
        rows = torch.arange(n * prompts, device=hidden.device)
        return [copies.index_put((rows, self.position.repeat(n)), added.flatten(0, 1))]


def _layer_by_layer(lm: LanguageModel, suffix: PromptSuffix, change: Change, skip_blocks: bool) -> tuple[Tensor, list[Tensor]]:
    """Run the whole model on the copies of one layer after another: right for any model, and several times slower."""
    prompts = len(suffix.position)
    found: list[tuple[nn.Module, Tensor]] = []  # down-projection and activations of each layer

    def keep(layer: int, down: nn.Module, inner: Tensor, output: Tensor) -> None:
        found.append((down, inner.view(prompts, -1, inner.shape[-1])[torch.arange(prompts), suffix.position].detach()))

    logits = [_logits_of_pass(lm, suffix, 1, keep)]
    for wanted, (down, activation) in enumerate(found):
        written = down.forward(activation) + change(wanted, down, activation)
        position, rows = suffix.position.repeat(len(written)), written.flatten(0, 1)

        def replace(layer: int, down: nn.Module, inner: Tensor, output: Tensor, wanted=wanted, position=position, rows=rows):
            return _replaced(position, rows, output) if layer == wanted else None

        if len(written):
            logits.append(_logits_of_pass(lm, suffix, len(written), replace, wanted if skip_blocks else None))
    return torch.cat(logits), [activation for _, activation in found]


def _logits_of_pass(lm: LanguageModel, suffix: PromptSuffix, n: int, visit: Callable, last: int | None = None) -> Tensor:
    """Return the logits of n copies of whole prompts at the prediction position, [n x B, vocabulary].

    `visit(layer, down-projection, its input, its output)` may return another output. If `last` is given, the final norm reads the output
    of this layer.
    """
    position, layers, blocks, kept = suffix.position.repeat(n), count(), count(), []
    here = torch.arange(len(position), device=position.device), position

    def skip(block: nn.Module, args: tuple, output):
        hidden, layer = hidden_states(output), next(blocks)
        if layer == last:
            kept.append(hidden[here])
        if layer < lm.n_layers - 1:
            return None
        read = hidden.index_put(here, kept[0])
        return with_hidden_states(output, read)

    with ExitStack() as hooks:
        for down in lm.downs:
            hook = down.register_forward_hook(lambda down, args, output: visit(next(layers), down, args[0], output))
            hooks.enter_context(hook)
        for block in lm.blocks if last is not None else ():
            hooks.enter_context(block.register_forward_hook(skip))
        return lm.model(suffix.ids.repeat(n, 1)).logits[here]


def _replaced(position: Tensor, written: Tensor, output: Tensor) -> Tensor:
    """Return the output of a down-projection with `written` [rows, hidden] at `position` [rows]."""
    by_row = output.view(len(position), -1, output.shape[-1])  # in some models prompts and tokens are one dimension
    return by_row.index_put((torch.arange(len(position), device=output.device), position), written).view_as(output)
