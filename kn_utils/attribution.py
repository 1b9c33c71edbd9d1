"""Knowledge attribution (section 3.2): integrated gradients of the target's probability, for every neuron of every layer."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from kn_utils.models import LanguageModel
from kn_utils.prompts import Batch
from kn_utils.quadrature import Rule, gauss_legendre, left_riemann
from kn_utils.scaled_copies import Pass, scaled_gradients

QUADRATURES = ("released", "gauss-legendre")
PRECISIONS = ("float32", "bfloat16")
RELEASED_NODES = 20
FIRST_NODES, MOST_NODES = 3, 384


@dataclass(frozen=True)
class Method:
    """How to integrate. Raises ValueError for a value that is not allowed.

    `released` is the authors' sum of 20 left nodes. `gauss-legendre` doubles the nodes of each prompt and layer until two successive
    results differ by at most `tolerance` of the prompt's largest score, or 384 nodes are reached, which the stored error then shows.
    With `bfloat16` the matrix products are computed in that type. `max_memory_gb` bounds the memory of one pass.
    """

    quadrature: str = "released"
    tolerance: float = 0.01
    precision: str = "float32"
    max_memory_gb: float = 2.0

    def __post_init__(self):
        for name, allowed in (("quadrature", QUADRATURES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        for name in ("tolerance", "max_memory_gb"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value!r}; it must be a positive number")

    @property
    def bfloat16(self) -> bool:
        """Whether matrix products are computed in bfloat16."""
        return self.precision == "bfloat16"

    def inputs(self) -> dict:
        """What of the method the values depend on, for the provenance."""
        return asdict(self) | ({"tolerance": None} if self.quadrature == "released" else {})

    def nodes_at_once(self, lm: LanguageModel, length: int) -> int:
        """How many nodes times prompts of `length` tokens fit into one pass; at least 1."""
        return max(1, int(self.max_memory_gb * 1e9 / _bytes_per_node(lm, length)))

    def prompts_at_once(self, lm: LanguageModel, length: int) -> int:
        """How many prompts of `length` tokens to attribute together; at least 1."""
        nodes = RELEASED_NODES if self.quadrature == "released" else 2 * FIRST_NODES
        return max(1, self.nodes_at_once(lm, length) // nodes)


def _bytes_per_node(lm: LanguageModel, length: int) -> int:
    """An upper estimate of what autograd keeps for one node of one prompt: states of all blocks above, and the vocabulary's logits."""
    config, layers = lm.model.config, lm.n_layers
    tokens = length if lm.masked else 1
    per_token = 14 * config.hidden_size + 4 * lm.n_neurons
    return 4 * (tokens * per_token * layers * (layers - 1) // 2 + 4 * config.vocab_size * layers)


@dataclass(frozen=True)
class Attribution:
    """Scores of B prompts.

    `score` and `activation` [B, layers, neurons]; `nodes`, `gap` and `error` [B, layers]: the quadrature's size, the completeness gap
    (sum of the layer's scores minus P(target) at the activation plus P(target) at zero), and the estimated error of the scores as a
    share of the prompt's largest (NaN for `released`, which does not estimate it); `probability` and `top_token` [B].
    """

    score: Tensor
    activation: Tensor
    nodes: Tensor
    gap: Tensor
    error: Tensor
    probability: Tensor
    top_token: Tensor


def integrated_gradients(lm: LanguageModel, batch: Batch, method: Method = Method()) -> Attribution:
    """Return w * integral over a in [0, 1] of dP(target)/dw at a * w, one layer scaled at a time (equations 2 and 3)."""
    every_layer = torch.ones(lm.n_layers, dtype=torch.bool)
    if method.quadrature == "released":
        score, first = _integrate(lm, batch, left_riemann(RELEASED_NODES), every_layer, method)
        nodes = torch.full((len(batch), lm.n_layers), RELEASED_NODES)
        return _attribution(first, score, nodes, torch.full(nodes.shape, torch.nan))
    score, first = _integrate(lm, batch, gauss_legendre(FIRST_NODES).with_zero(), every_layer, method)
    return _attribution(first, *_refine(lm, batch, score, method))


def _refine(lm: LanguageModel, batch: Batch, score: Tensor, method: Method) -> tuple[Tensor, Tensor, Tensor]:
    """Double the nodes of the prompts and layers whose last two results differ by more than the tolerance."""
    score = score.clone()
    nodes = torch.full(score.shape[:2], FIRST_NODES)
    error = torch.full(score.shape[:2], torch.inf)
    n = FIRST_NODES
    while (error > method.tolerance).any() and 2 * n <= MOST_NODES:
        n = 2 * n
        wanted = error > method.tolerance
        rows = wanted.any(1).nonzero()[:, 0]
        finer, _ = _integrate(lm, batch.select(rows.to(batch.ids.device)), gauss_legendre(n), wanted[rows].any(0), method)
        finer = torch.where(wanted[rows][:, :, None], finer, score[rows])
        largest = finer.amax((1, 2), keepdim=True).clamp_min(torch.finfo(finer.dtype).tiny)
        error[rows] = torch.where(wanted[rows], ((finer - score[rows]).abs() / largest).amax(2), error[rows])
        nodes[rows] = torch.where(wanted[rows], n, nodes[rows])
        score[rows] = finer
    return score, nodes, error


def _integrate(lm: LanguageModel, batch: Batch, rule: Rule, wanted: Tensor, method: Method) -> tuple[Tensor, Pass]:
    """Return activation times the weighted mean gradient, [B, layers, neurons] (zero where not wanted), and the first pass made."""
    first, total = None, 0
    for chunk in rule.chunks(max(1, method.nodes_at_once(lm, batch.ids.shape[1]) // len(batch))):
        nodes = [chunk.nodes if layer else chunk.nodes[:0] for layer in wanted.tolist()]
        done = scaled_gradients(lm, batch, nodes, method.bfloat16)
        weights = chunk.weights.to(done.layers[0].activation)
        means = [torch.einsum("k,kbn->bn", weights[: len(layer.gradient)], layer.gradient) for layer in done.layers]
        total = total + torch.stack(means, dim=1)
        first = first or done
    activation = torch.stack([layer.activation for layer in first.layers], dim=1)
    return (activation * total).cpu(), first


def _attribution(first: Pass, score: Tensor, nodes: Tensor, error: Tensor) -> Attribution:
    """Add the completeness gap; `first` must hold every layer's node 0."""
    activation = torch.stack([layer.activation for layer in first.layers], dim=1).cpu()
    at_zero = torch.stack([layer.probability[0] for layer in first.layers], dim=1).cpu().double()
    probability = first.probability.cpu()
    gap = score.double().sum(2) - (probability.double()[:, None] - at_zero)
    return Attribution(score, activation, nodes, gap, error, probability, first.top_token.cpu())
