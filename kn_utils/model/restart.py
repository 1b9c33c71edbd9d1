"""Passes that start above the blocks that an intervention cannot change.

The blocks below the lowest changed layer give what they give without the change. So one pass of the unchanged model stores the hidden
states behind each block, and later passes of the same prompts go on from there.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from kn_utils.model.layouts import hidden_states, with_hidden_states
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron
from kn_utils.model.one_query import forward_replaced


def lowest_layer(neurons: Iterable[Neuron]) -> int:
    """Return the lowest layer of some neurons, where a pass in which they change can start."""
    return min(layer for layer, _ in neurons)


@contextmanager
def stored_outputs(lm: LanguageModel) -> Iterator[list]:
    """Inside the block, a pass appends the output of each transformer block to the list; the hidden states are copies."""
    outputs: list = []

    def store(block: nn.Module, args: tuple, output) -> None:
        outputs.append(with_hidden_states(output, hidden_states(output).clone()))  # the next block may change its input in place

    with ExitStack() as hooks:
        for block in lm.blocks:
            hooks.enter_context(block.register_forward_hook(store))
        yield outputs


@contextmanager
def started_at(lm: LanguageModel, layer: int, outputs: list, rows: Tensor) -> Iterator[None]:
    """Inside the block, passes start at `layer`: they are of the prompts at `rows` of the batch that gave the `stored_outputs`.

    The blocks below are not run. If layers share a block (ALBERT), all are run.
    """
    with ExitStack() as undo:
        if layer > 0 and len(lm.blocks) == lm.n_layers:
            output = outputs[layer - 1]
            start = with_hidden_states(output, hidden_states(output)[rows])
            for block in lm.blocks[:layer]:
                undo.enter_context(forward_replaced(block, lambda *args, **kwargs: start))
        yield
