"""What one prompt's attribution has to compute at least, and how long this machine's matrix products take for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from kn_utils.model.models import LanguageModel

KEYS_AND_VALUES = ("key", "value", "k_proj", "v_proj")


@dataclass
class Product:
    """All products of one prompt with weights of one shape, [rows, inputs] x [inputs, outputs]; counts are multiply-adds."""

    outputs: int
    inputs: int
    forward: float = 0
    backward: float = 0
    weighted_rows: float = 0

    @property
    def rows(self) -> int:
        """The rows of a typical one: the mean, each weighted by its multiply-adds."""
        return round(self.weighted_rows / self.forward)

    def add(self, rows: float, rows_back: float) -> None:
        """Count one product of `rows` rows, `rows_back` of which are also differentiated."""
        size = self.outputs * self.inputs
        self.forward += rows * size
        self.backward += rows_back * size
        self.weighted_rows += rows**2 * size


def minimal_computation(lm: LanguageModel, tokens: int, nodes: int) -> tuple[list[Product], float]:
    """Return the products with weights and the multiply-adds of attention that one prompt needs, forward and to the activations.

    Each layer adds `nodes` copies of the prompt. Copies of an encoder's prompt have all its tokens, copies of a left-to-right model's
    one; the prompt itself goes forward only. The last block needs keys and values of all tokens and the rest, as the vocabulary, at one
    position. Raises ValueError if layers share blocks.
    """
    if len(lm.blocks) != lm.n_layers:
        raise ValueError(f"{lm.name}: its {lm.n_layers} layers share {len(lm.blocks)} blocks, which is not counted here")
    products: dict[tuple[int, ...], Product] = {}
    attention, copied, inside = 0, tokens if lm.masked else 1, set()

    def add(weight: Tensor, rows: float, rows_back: float) -> None:
        products.setdefault(tuple(weight.shape), Product(*weight.shape)).add(rows, rows_back)

    for depth, (block, down) in enumerate(zip(lm.blocks, lm.downs, strict=True)):
        copies, last = nodes * depth, depth == lm.n_layers - 1
        for name, linear in _linears(block):
            one = last and name.split(".")[-1] not in KEYS_AND_VALUES
            back = copies * (1 if one else copied)
            add(linear.weight, back + (1 if one else tokens), back)
            inside.add(linear)
        add(down.weight, nodes, nodes)  # the scaled activations of the copies that join here
        back, own = (copies, 1) if last else (copies * copied, tokens)
        ways = 3 if lm.masked else 2  # gradients of the scores and of the values' weights; in an encoder, of keys and values too
        attention += 2 * tokens * lm.model.config.hidden_size * (ways * back + own)
    for _, linear in _linears(lm.model):
        if linear not in inside:
            add(linear.weight, nodes * lm.n_layers + 1, nodes * lm.n_layers)
    return list(products.values()), attention


def _linears(module: nn.Module) -> list[tuple[str, nn.Linear | Conv1D]]:
    return [(name, child) for name, child in module.named_modules() if isinstance(child, nn.Linear | Conv1D)]


def product_tasks(products: list[Product]) -> dict[str, Callable]:
    """Return the products to time: a typical one for every shape of weights, forward and backward."""
    tasks = {}
    for at, product in enumerate(products):
        tasks[f"forward {at}"] = product_task(product.rows, product.inputs, product.outputs, transposed=True)
        tasks[f"backward {at}"] = product_task(product.rows, product.outputs, product.inputs)
    return tasks


def product_task(rows: int, inner: int, columns: int, transposed: bool = False) -> Callable:
    """Return a function that multiplies [rows, inner] with [inner, columns] in float32."""
    left, out = torch.randn(rows, inner), torch.empty(rows, columns)
    right = torch.randn(columns, inner).T if transposed else torch.randn(inner, columns)
    return lambda turn: torch.mm(left, right, out=out)


def gflop(products: list[Product], attention: float) -> float:
    """Return the GFLOP of one prompt, two for every multiply-add."""
    return 2 * (_with_weights(products) + attention) / 1e9


def gflop_of_all(lm: LanguageModel, lengths: Mapping[int, int], nodes: int) -> float:
    """Return the GFLOP of all prompts; `lengths` maps a number of tokens to the number of prompts that have it."""
    return sum(count * gflop(*minimal_computation(lm, tokens, nodes)) for tokens, count in lengths.items())


def bound(products: list[Product], attention: float, seconds: dict[str, float]) -> tuple[float, float]:
    """Return the GFLOP of one prompt and the seconds they take if each product runs as timed, attention at their mean rate."""
    total = sum(
        getattr(product, way) / (product.rows * product.inputs * product.outputs) * seconds[f"{way} {at}"]
        for at, product in enumerate(products)
        for way in ("forward", "backward")
    )
    return gflop(products, attention), total * (1 + attention / _with_weights(products))


def _with_weights(products: list[Product]) -> float:
    return sum(product.forward + product.backward for product in products)
