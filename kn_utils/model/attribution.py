"""Knowledge attribution (section 3.2): integrated gradients of the target's probability, for every neuron of every layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from kn_utils.model.gradients import Pass, scaled_gradients
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import PromptSuffix, prompt_suffix
from kn_utils.model.prompts import Batch
from kn_utils.model.quadrature import NESTED, Rule, gauss_legendre, left_riemann, nested, nested_rules_digest
from kn_utils.parameters import check

RELEASED_NODES = 20
LARGER = (256, 512)  # nodes of the rules tried after the nested ones
MAX_NODES = LARGER[-1]
MIN_SHRINKAGE = 0.2  # of the estimated error from one rule to the next


@dataclass(frozen=True)
class Quadrature:
    """How to integrate. Raises ValueError for a value that is not allowed.

    `released` is the authors' sum of 20 left nodes. `gauss-legendre` adds nodes for each prompt and layer, to nested rules of 1 to 127 and
    then with larger ones, until neither the estimated error of any score nor the completeness gap exceeds `tolerance` of the prompt's
    largest score, or 512 nodes are reached, which the stored error then shows. `max_memory_gb` bounds the memory of one pass.
    """

    quadrature: str = "released"
    tolerance: float = 0.02
    max_memory_gb: float = 2.0

    def __post_init__(self):
        check(**asdict(self))

    @classmethod
    def of_table(cls, inputs: Mapping) -> "Quadrature":
        """Return the quadrature that a table of step 1 was made with, from the inputs in its provenance."""
        return cls(**{name: value for name, value in inputs.items() if name in cls.__dataclass_fields__ and value is not None})

    def inputs(self) -> dict:
        """What of the quadrature the values depend on, for the provenance."""
        if self.quadrature == "released":
            return asdict(self) | {"tolerance": None}
        return asdict(self) | {"nested_rules": nested_rules_digest()}

    def nodes_at_once(self, lm: LanguageModel, length: int) -> int:
        """How many nodes times prompts of `length` tokens fit into one pass; at least 1."""
        return max(1, int(self.max_memory_gb * 1e9 / _bytes_per_node(lm, length)))

    def prompts_at_once(self, lm: LanguageModel, length: int) -> int:
        """How many prompts of `length` tokens to attribute together; at least 1."""
        nodes = RELEASED_NODES if self.quadrature == "released" else NESTED[1] + 1
        return max(1, self.nodes_at_once(lm, length) // nodes)


def _bytes_per_node(lm: LanguageModel, length: int) -> int:
    """An upper estimate of what autograd keeps for one node of one prompt: in all blocks above its states, its attention weights and, for
    left-to-right models, a copy of the prefix's keys and values; and the vocabulary's logits.
    """
    config, layers = lm.model.config, lm.n_layers
    tokens = length if lm.masked else 1
    states = tokens * (14 * config.hidden_size + 4 * lm.n_neurons)
    attention = 4 * config.num_attention_heads * tokens * length
    prefix = 0 if lm.masked else 3 * config.hidden_size * length
    return 4 * ((states + attention + prefix) * layers * (layers - 1) // 2 + 4 * config.vocab_size * layers)


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


def integrated_gradients(lm: LanguageModel, batch: Batch, quadrature: Quadrature = Quadrature()) -> Attribution:
    """Return w * integral over a in [0, 1] of dP(target)/dw at a * w, with one layer scaled at a time (equations 2 and 3).

    Raises FloatingPointError if a score is not a finite number.
    """
    released = quadrature.quadrature == "released"
    rule = left_riemann(RELEASED_NODES) if released else nested(1).with_zero()
    every_layer = torch.ones(lm.n_layers, dtype=torch.bool)
    suffix = prompt_suffix(lm, batch)
    sums, first = _integrate(lm, suffix, rule, every_layer, quadrature)
    probability = first.probability.cpu().double()
    at_zero = torch.stack([layer.probability[0] for layer in first.layers], dim=1).cpu().double()
    total = probability[:, None] - at_zero  # what each layer's scores should add up to
    if released:
        score, nodes, error = sums[0], torch.full(total.shape, RELEASED_NODES), torch.full(total.shape, torch.nan)
    else:
        score, nodes, error = _refine(lm, suffix, sums, total, quadrature)
    if not score.isfinite().all():
        raise FloatingPointError(f"{lm.name}: a score is not a finite number: its weights may be damaged")
    return Attribution(
        score, first.activation.cpu(), nodes, score.double().sum(2) - total, error, probability, first.top_token.cpu()
    )


def _refine(
    lm: LanguageModel, suffix: PromptSuffix, sums: Tensor, total: Tensor, quadrature: Quadrature
) -> tuple[Tensor, Tensor, Tensor]:
    """Add nodes for each prompt and layer until its estimated error and its completeness gap are within the tolerance.

    `sums` [7, B, layers, neurons] holds the scores by every nested rule as far as their nodes have been evaluated, and is added to.
    """
    score, nodes = sums[0].clone(), torch.full(total.shape, NESTED[0])
    error = torch.full(total.shape, torch.inf, dtype=torch.float64)
    gap = (score.double().sum(2) - total).abs()
    for level, n in enumerate((*NESTED, *LARGER)[1:], start=1):
        wanted = error > quadrature.tolerance
        if not wanted.any():
            break
        rows = wanted.any(1).nonzero()[:, 0]
        found = _scores(lm, suffix, level, rows, wanted[rows].any(0), sums, quadrature)
        finer = torch.where(wanted[rows][:, :, None], found, score[rows])
        finer_gap = (finer.double().sum(2) - total[rows]).abs()
        change = (finer - score[rows]).abs().amax(2)
        largest = finer.abs().amax((1, 2)).clamp_min(torch.finfo(finer.dtype).tiny)
        left = _error_left(change.double(), gap[rows], finer_gap) / largest[:, None].double()
        error[rows] = torch.where(wanted[rows], left, error[rows])
        nodes[rows] = torch.where(wanted[rows], n, nodes[rows])
        score[rows], gap[rows] = finer, finer_gap
    return score, nodes, error


def _scores(
    lm: LanguageModel, suffix: PromptSuffix, level: int, rows: Tensor, layers: Tensor, sums: Tensor, quadrature: Quadrature
) -> Tensor:
    """Return the scores of some prompts by the next rule, [rows, layers, neurons]; a nested rule's new nodes are added to `sums`."""
    if level == 1:  # its nodes were evaluated with the first one
        return sums[1, rows]
    rule = nested(level) if level < len(NESTED) else gauss_legendre(LARGER[level - len(NESTED)])
    found, _ = _integrate(lm, suffix.select(rows.to(suffix.ids.device)), rule, layers, quadrature)
    if level >= len(NESTED):
        return found[0]
    sums[:, rows] += found
    return sums[level, rows]


def _error_left(change: Tensor, gap: Tensor, finer_gap: Tensor) -> Tensor:
    """Estimate the finer rule's error: the change between the two rules, reduced as the completeness gap was; at least the gap.

    The gap is the error of the sum of a layer's scores, known exactly. It may be small by chance, so it reduces the estimate to a fifth
    at most.
    """
    return torch.maximum(change * (finer_gap / gap.clamp_min(1e-300)).clamp(MIN_SHRINKAGE, 1), finer_gap)


def _integrate(
    lm: LanguageModel, suffix: PromptSuffix, rule: Rule, wanted: Tensor, quadrature: Quadrature
) -> tuple[Tensor, Pass]:
    """Return activation times the weighted mean gradient, for each of the rule's r weightings, and the first pass made.

    The means are [r, B, layers, neurons], zero for layers that are not wanted.
    """
    first, total = None, 0
    for chunk in rule.chunks(max(1, quadrature.nodes_at_once(lm, suffix.ids.shape[1]) // len(suffix.ids))):
        nodes = [chunk.nodes if layer else chunk.nodes[:0] for layer in wanted.tolist()]
        done = scaled_gradients(lm, suffix, nodes)
        weights = chunk.weights.view(len(chunk.nodes), -1).to(done.layers[0].activation)
        means = [torch.einsum("kr,kbn->rbn", weights[: len(layer.gradient)], layer.gradient) for layer in done.layers]
        total = total + torch.stack(means, dim=2)
        first = first or done
    return (first.activation * total).cpu(), first
