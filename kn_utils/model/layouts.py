"""Finding the feed-forward neurons of a model by computation.

A neuron is one coordinate of the input of a feed-forward layer's down-projection. Its value vector is the matching column of that
projection. One forward pass on a few tokens finds the projection in every block. It is the linear map that

* ends at the block's width;
* works position by position: its input at one position depends on the linear maps just before it at this position alone. So it belongs to
  no attention and to no state-space layer;
* reaches the block's output without another linear map, at its own position and nowhere else.
"""

from __future__ import annotations  # as in `kn_utils.model.models`

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

import torch
import transformers
from torch import Tensor, nn
from torch.autograd import grad
from transformers.pytorch_utils import Conv1D

from kn_utils.model.architectures import LAST_BLOCKS, Attention, check_no_experts, is_masked

ONE_QUERY = "formula, one query in the last block"
FORMULA = "formula"
BLOCK_AGAIN = "block again"
LAYER_BY_LAYER = "layer by layer"
WAYS = (ONE_QUERY, FORMULA, BLOCK_AGAIN, LAYER_BY_LAYER)  # to run copies of a prompt, the fastest first

MIXES = "mixes positions"  # why an output projection of attention is no down-projection
LENGTH = 5  # tokens of the prompt on which a model is examined


@dataclass(frozen=True)
class Layout:
    """What was found. `blocks` are dotted names of modules inside the model, the other names are those inside a block.

    `layers` is the number of blocks that run in one pass: more than there are `blocks` if layers share a block (ALBERT). In most models the
    output of a block at one position is `after_norm(residual + branch_norm(down(neurons)))`. Either norm may be absent: BERT has
    `after_norm`, Gemma 3 has `branch_norm`, GPT-2 and Llama have neither. `attention_output` is the output projection of the attention,
    "" if there is not exactly one.
    """

    masked: bool
    blocks: tuple[str, ...]
    layers: int
    down: str
    branch_norm: str = ""
    after_norm: str = ""
    attention_output: str = ""
    attention: Attention | None = None


def submodule(block: nn.Module, name: str) -> nn.Module:
    """Return a submodule of a block by its dotted name."""
    return attrgetter(name)(block)


def value_vectors(down: nn.Module) -> Tensor:
    """Return a view of a down-projection's weight in which each row is a value vector, [neurons, hidden]."""
    return down.weight.T if isinstance(down, nn.Linear) else down.weight


def hidden_states(output: object) -> Tensor:
    """Return the hidden states among the outputs of a block."""
    return output if isinstance(output, Tensor) else output[0]


def with_hidden_states(output: object, hidden: Tensor) -> object:
    """Return the outputs of a block with other hidden states."""
    return hidden if isinstance(output, Tensor) else (hidden, *output[1:])


def at_least_float32(values: Tensor) -> Tensor:
    """Return a tensor of half precision in float32, any other one as it is: probabilities, scores and sums need it."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def few_tokens(model: transformers.PreTrainedModel, rows: int = 1) -> Tensor:
    """Return token ids on which a model is examined, [rows, LENGTH]; none is the padding token."""
    size, pad = len(model.get_input_embeddings().weight), getattr(model.config.get_text_config(), "pad_token_id", None)
    step = size // (2 * rows * LENGTH + 2)
    ids = [size - 1 - step * number for number in range(1, 2 * rows * LENGTH)]
    return torch.tensor([token for token in ids if token != pad][: rows * LENGTH], device=model.device).view(rows, LENGTH)


def find_layout(model: transformers.PreTrainedModel) -> Layout:
    """Find the blocks of a model and the down-projection of each, by a forward pass.

    Raises ValueError if a block has none or several, if blocks differ, or if what was found is not what the rest of this package relies on;
    the message says what was seen.
    """
    masked = is_masked(model.config)
    check_no_experts(model)
    maps = _judged_maps(model)
    downs = _downs_by_block(model, maps)
    shapes = {(name, tuple(model.get_submodule(f"{block}.{name}").weight.shape)) for block, name in downs.items()}
    if len(shapes) > 1:
        seen = ", ".join(f"{name} {shape[0]} x {shape[1]}" for name, shape in sorted(shapes))
        raise ValueError(f"its blocks have different feed-forward layers: {seen}")
    blocks, down = tuple(downs), next(iter(downs.values()))
    layers = sum(found.block in downs and found.name == down for found in maps)
    _check_order(model, masked, blocks, layers)
    first = model.get_submodule(blocks[0])
    mixing = {found.name for found in maps if found.block == blocks[0] and found.reason == MIXES}
    attention_output = mixing.pop() if len(mixing) == 1 else ""
    norms = _norms(model, first, submodule(first, down))
    return Layout(masked, blocks, layers, down, *norms, attention_output, _attention_names(first))


@dataclass
class _Map:
    """One call of a linear map: its `input`, its `output` as a leaf of the graph, and why it is no down-projection ("" if it is one)."""

    block: str
    name: str
    input: Tensor | None
    output: Tensor
    reason: str = ""


def _judged_maps(model: transformers.PreTrainedModel) -> list[_Map]:
    """Return every call of a linear map inside blocks in one pass, with the reason why it is no down-projection.

    The graph is cut at every linear map, so a gradient reaches the maps just before and no further.
    """
    maps, by_block = [], _linear_maps(model)

    def cut_before(linear: nn.Module, args: tuple) -> tuple:
        linear_input.append(args[0])
        return (args[0].detach(), *args[1:])

    def cut_after(block: str, name: str, linear: nn.Module, args: tuple, output: Tensor) -> Tensor:
        maps.append(_Map(block, name, linear_input.pop(), output.detach().requires_grad_()))
        return maps[-1].output.clone()  # a leaf must not be changed in place

    def judge(name: str, block: nn.Module, args: tuple, output: object) -> None:
        new = [found for found in maps if found.block == name and found.input is not None]
        for index, found in enumerate(new):
            found.reason = _why_no_down_projection(found, [before.output for before in new[:index]], hidden_states(output))
        for found in new:
            found.input = None

    linear_input: list[Tensor] = []
    with ExitStack() as hooks, torch.enable_grad():
        for block, linears in by_block.items():
            for name, linear in linears.items():
                hooks.enter_context(linear.register_forward_pre_hook(cut_before))
                hooks.enter_context(linear.register_forward_hook(partial(cut_after, block, name)))
            hooks.enter_context(model.get_submodule(block).register_forward_hook(partial(judge, block)))
        try:
            model(few_tokens(model))
        except Exception as reason:  # whatever a model raises
            raise ValueError(f"it cannot be run on a prompt of {LENGTH} tokens alone: {str(reason).strip()}") from reason
    return maps


def _linear_maps(model: transformers.PreTrainedModel) -> dict[str, dict[str, nn.Module]]:
    """Return the linear maps of every block by name. A block is the innermost item of a module list around them."""
    lists = [f"{name}." for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    found: dict[str, dict[str, nn.Module]] = {}
    for name, module in model.named_modules():
        items = [start + name.removeprefix(start).partition(".")[0] for start in lists if name.startswith(start)]
        around = [item for item in items if item != name]
        if _is_linear(module) and around:
            block = max(around, key=len)
            found.setdefault(block, {})[name.removeprefix(f"{block}.")] = module
    return found


def _is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear map with an ordinary matrix; quantised weights are packed, and are no value vectors."""
    weight = getattr(module, "weight", None)
    if not isinstance(module, nn.Linear | Conv1D) or not weight.is_floating_point():
        return False
    return isinstance(module, Conv1D) or weight.shape == (module.out_features, module.in_features)


def _why_no_down_projection(found: _Map, before: list[Tensor], hidden: Tensor) -> str:
    """Return the reason why a linear map is not the down-projection of a block with the output `hidden`, or ""."""
    if found.output.shape[-1] != hidden.shape[-1]:
        return f"ends at the width {found.output.shape[-1]}, not {hidden.shape[-1]}"
    positions = {tensor.numel() // tensor.shape[-1] for tensor in (found.input, found.output, hidden)}
    if positions != {LENGTH}:
        return f"is run on {max(positions)} positions, and not on the {LENGTH} of the prompt"
    reached = [_dependence(found.input, output) for output in before]
    if not any(depends.any() for depends in reached):
        return "follows no other linear map"
    if any(_elsewhere(depends) for depends in reached):
        return MIXES
    behind = _dependence(hidden, found.output)
    if not behind.any():
        return "does not reach the output directly"
    return "changes the output at other positions" if _elsewhere(behind) else ""


def _dependence(later: Tensor, earlier: Tensor) -> Tensor:
    """Return whether a tensor depends on an earlier one, from position to position, [LENGTH, LENGTH]."""
    depends = torch.zeros(LENGTH, LENGTH, dtype=torch.bool)
    if not later.requires_grad or earlier.numel() % LENGTH:
        return depends
    for position, values in enumerate(later.reshape(LENGTH, -1)):
        weights = torch.linspace(1, 2, len(values), dtype=values.dtype, device=values.device)
        (gradient,) = grad((values * weights).sum(), earlier, retain_graph=True, allow_unused=True)
        if gradient is not None:
            depends[position] = gradient.reshape(LENGTH, -1).any(1).cpu()
    return depends


def _elsewhere(depends: Tensor) -> bool:
    return bool((depends & ~torch.eye(LENGTH, dtype=torch.bool)).any())


def _downs_by_block(model: transformers.PreTrainedModel, maps: list[_Map]) -> dict[str, str]:
    """Return the name of the down-projection in each block of the one list of blocks that has them, in the order of the pass."""
    seen: dict[str, dict[str, str]] = {}
    for found in maps:
        seen.setdefault(found.block, {})[found.name] = found.reason
    downs = {block: [name for name, reason in names.items() if not reason] for block, names in seen.items()}
    for block, names in downs.items():
        if len(names) > 1:
            raise ValueError(f"{block} has several feed-forward layers, which end with {', '.join(names)}")
    if not any(downs.values()):
        block, names = next(iter(seen.items()), ("it", {}))
        why = "; ".join(_by_reason(names)) or "no linear map in a list of blocks"
        kind = f" ({type(model.get_submodule(block)).__name__})" if seen else ""
        raise ValueError(f"{block}{kind} has no dense feed-forward layer: {why}")
    return {block: names[0] for block, names in downs.items() if names}


def _by_reason(names: dict[str, str]) -> list[str]:
    """Return the reasons why linear maps are no down-projections, each with the names of its maps."""
    return [f"{', '.join(name for name in names if names[name] == reason)} {reason}" for reason in dict.fromkeys(names.values())]


def _check_order(model: transformers.PreTrainedModel, masked: bool, blocks: tuple[str, ...], layers: int) -> None:
    """Raise ValueError unless every block starts with the output of the one before, and later tokens matter in masked models only."""
    starts, ends = [], []

    def start(block: nn.Module, args: tuple, kwargs: dict) -> None:
        starts.append(args[0] if args else kwargs["hidden_states"])

    with ExitStack() as hooks, torch.no_grad():
        for name in blocks:
            block = model.get_submodule(name)
            hooks.enter_context(block.register_forward_pre_hook(start, with_kwargs=True))
            hooks.enter_context(block.register_forward_hook(lambda block, args, output: ends.append(hidden_states(output))))
        ids = few_tokens(model)
        logits = model(ids).logits
    if len(ends) != layers or not all(torch.equal(end, begin) for end, begin in zip(ends, starts[1:], strict=False)):
        raise ValueError(
            f"{blocks[0]} and the blocks after it are not a chain: a block does not start with the output of the one before"
        )
    with torch.no_grad():
        other = model(torch.cat([ids[:, :-1], ids[:, :1]], dim=1)).logits
    if torch.allclose(logits[:, :-1], other[:, :-1], rtol=1e-4) == masked:
        kind = (
            "masked language model, but later tokens do not matter" if masked else "left-to-right model, but later tokens matter"
        )
        raise ValueError(f"it is loaded as a {kind}")


def _norms(model: transformers.PreTrainedModel, block: nn.Module, down: nn.Module) -> tuple[str, str]:
    """Return the names of `branch_norm`, which reads the output of the down-projection, and `after_norm`, which gives that of the block."""
    first: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # input and output in the first call

    def keep(module: nn.Module, args: tuple, output: object) -> None:
        if args and isinstance(args[0], Tensor):
            first.setdefault(module, (args[0], hidden_states(output)))

    with ExitStack() as hooks, torch.no_grad():
        for module in block.modules():
            hooks.enter_context(module.register_forward_hook(keep))
        model(few_tokens(model))

    def named(is_norm: Callable[[Tensor, Tensor], bool]) -> str:
        leaves = [name for name, part in block.named_modules() if part in first and not any(part.children()) and part is not down]
        return next(
            (name for name in leaves if not _same(*first[submodule(block, name)]) and is_norm(*first[submodule(block, name)])), ""
        )

    written, end = first[down][1], hidden_states(first[block][1])
    return named(lambda start, stop: _same(start, written)), named(lambda start, stop: _same(stop, end))


def _same(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and torch.equal(one.flatten(), other.flatten())


def _attention_names(block: nn.Module) -> Attention | None:
    """Return the entry of `LAST_BLOCKS` whose modules the block has."""
    inside = {name for name, _ in block.named_modules()}
    return next((names for names in LAST_BLOCKS if inside.issuperset(vars(names).values())), None)
