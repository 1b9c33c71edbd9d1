"""Knowledge attribution (section 3.2): integrated gradients of P(target) for all neurons of all layers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from kn_utils.model.gradients import Pass, scaled_gradients
from kn_utils.model.layouts import BLOCK_AGAIN, LAYER_BY_LAYER, value_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import PromptSuffix, prompt_suffix
from kn_utils.model.prompts import Batch
from kn_utils.model.quadrature import NESTED, Rule, gauss_legendre, left_riemann, nested, nested_rules_digest
from kn_utils.parameters import check

RELEASED_NODES = 20
LARGER = (256, 512)  # nodes of the Gauss-Legendre rules that follow the nested rules
MAX_NODES = LARGER[-1]
MIN_SHRINKAGE = 0.2  # the completeness gap reduces the error estimate by this factor at most


@dataclass(frozen=True)
class Quadrature:
    """The quadrature for integrated gradients. Raises ValueError for a value that is not allowed.

    `released` is the authors' left Riemann sum with 20 nodes. `gauss-legendre` adds nodes for each prompt and layer: first nested
    rules of 1 to 127 nodes, then rules of 256 and 512. It stops when the estimated errors of all scores and the completeness gap are within
    `tolerance` times the prompt's largest score. With 512 nodes it stops in any case; the stored error shows what was reached.
    `max_memory_gb` is the limit for one pass, besides the weights.
    """

    quadrature: str = "released"
    tolerance: float = 0.02
    max_memory_gb: float = 2.0

    def __post_init__(self):
        check(**asdict(self))

    @classmethod
    def of_table(cls, inputs: Mapping) -> "Quadrature":
        """Return the quadrature of a table of step 1, given the inputs in its provenance."""
        return cls(**{name: value for name, value in inputs.items() if name in cls.__dataclass_fields__ and value is not None})

    def inputs(self) -> dict:
        """Return the settings on which scores depend, for the provenance."""
        if self.quadrature == "released":
            return asdict(self) | {"tolerance": None}
        return asdict(self) | {"nested_rules": nested_rules_digest()}

    def nodes_at_once(self, lm: LanguageModel, length: int) -> int:
        """Return how many copies (nodes times prompts) of `length` tokens fit into one pass; at least 1."""
        return max(1, int(self.max_memory_gb * 1e9 / _bytes_per_node(lm, length)))

    def prompts_at_once(self, lm: LanguageModel, length: int) -> int:
        """Return how many prompts of `length` tokens are attributed together; at least 1."""
        nodes = RELEASED_NODES if self.quadrature == "released" else NESTED[1] + 1
        return max(1, self.nodes_at_once(lm, length) // nodes)


def _bytes_per_node(lm: LanguageModel, length: int) -> int:
    """Return an upper estimate of the memory that autograd keeps for one node of one prompt, besides the weights.

    It counts hidden states and attention weights in all blocks above, the logits and, for a token behind a KV cache, a copy of the cache.
    """
    layers, hidden = lm.n_layers, value_vectors(lm.downs[0]).shape[1]
    heads = getattr(lm.model.config.get_text_config(), "num_attention_heads", 1)
    whole = lm.masked or lm.way == LAYER_BY_LAYER  # the whole prompt is run for every node
    tokens = length if whole else 1
    states = tokens * (14 * hidden + 4 * lm.n_neurons)
    attention = 4 * heads * tokens * length
    prefix = 0 if whole else 3 * hidden * length
    above = layers * (layers + (1 if lm.way in (BLOCK_AGAIN, LAYER_BY_LAYER) else -1)) // 2
    logits = 4 * len(lm.embeddings) * layers * (length if lm.way == LAYER_BY_LAYER else 1)
    return 4 * ((states + attention + prefix) * above + logits)


@dataclass(frozen=True)
class Attribution:
    """Scores of B prompts.

    [B, layers, neurons]: `score` and `activation`. [B]: the target's `probability` and the most probable token `top_token`.
    [B, layers]: the number of `nodes`; the completeness `gap`, which is the sum of the layer's scores minus the difference of P(target) at
    the full activations and at zero; the estimated `error` of the scores, as a share of the prompt's largest score (NaN for `released`).
    """

    score: Tensor
    activation: Tensor
    nodes: Tensor
    gap: Tensor
    error: Tensor
    probability: Tensor
    top_token: Tensor


def integrated_gradients(lm: LanguageModel, batch: Batch, quadrature: Quadrature = Quadrature()) -> Attribution:
    """Return w * integral over a in [0, 1] of dP(target)/dw at a * w (equations 2 and 3); one layer is scaled at a time.

    Raises FloatingPointError if a score is not a finite number.
    """
    released = quadrature.quadrature == "released"
    rule = left_riemann(RELEASED_NODES) if released else nested(1).with_zero()
    every_layer = torch.ones(lm.n_layers, dtype=torch.bool)
    suffix = prompt_suffix(lm, batch)
    sums, first = _integrate(lm, suffix, rule, every_layer, quadrature)
    probability = first.probability.cpu().double()
    at_zero = torch.stack([layer.probability[0] for layer in first.layers], dim=1).cpu().double()
    total = probability[:, None] - at_zero  # the exact sum of each layer's scores
    if released:
        score, nodes, error = sums[0], torch.full(total.shape, RELEASED_NODES), torch.full(total.shape, torch.nan)
    else:
        score, nodes, error = _refine(lm, suffix, sums, total, quadrature)
    if not score.isfinite().all():
        too_large = ", or its activations are too large for float16: try bfloat16" if lm.model.dtype == torch.float16 else ""
        raise FloatingPointError(f"{lm.name}: a score is not a finite number: its weights may be damaged{too_large}")
    return Attribution(
        score, first.activation.cpu(), nodes, score.double().sum(2) - total, error, probability, first.top_token.cpu()
    )


def _refine(
    lm: LanguageModel, suffix: PromptSuffix, sums: Tensor, total: Tensor, quadrature: Quadrature
) -> tuple[Tensor, Tensor, Tensor]:
    """Add nodes for each prompt and layer until the estimated error and the completeness gap are within the tolerance.

    `sums` [7, B, layers, neurons] has the scores of every nested rule, summed over the nodes evaluated so far; new nodes are added to it.
    """
    score, nodes = sums[0].clone(), torch.full(total.shape, NESTED[0])
    error = torch.full(total.shape, torch.inf, dtype=torch.float64)
    gap = (score.double().sum(2) - total).abs()
    for level, n in enumerate((*NESTED, *LARGER)[1:], start=1):
        inexact = error > quadrature.tolerance
        if not inexact.any():
            break
        rows = inexact.any(1).nonzero()[:, 0]
        next_score = _scores(lm, suffix, level, rows, inexact[rows].any(0), sums, quadrature)
        finer = torch.where(inexact[rows][:, :, None], next_score, score[rows])
        finer_gap = (finer.double().sum(2) - total[rows]).abs()
        change = (finer - score[rows]).abs().amax(2)
        largest = finer.abs().amax((1, 2)).clamp_min(torch.finfo(finer.dtype).tiny)
        finer_error = _estimated_error(change.double(), gap[rows], finer_gap) / largest[:, None].double()
        error[rows] = torch.where(inexact[rows], finer_error, error[rows])
        nodes[rows] = torch.where(inexact[rows], n, nodes[rows])
        score[rows], gap[rows] = finer, finer_gap
    return score, nodes, error


def _scores(
    lm: LanguageModel, suffix: PromptSuffix, level: int, rows: Tensor, layers: Tensor, sums: Tensor, quadrature: Quadrature
) -> Tensor:
    """Return the scores of the prompts `rows` by the next rule, [rows, layers, neurons]; new nodes of a nested rule are added to `sums`."""
    if level == 1:  # its nodes were evaluated with the first one
        return sums[1, rows]
    rule = nested(level) if level < len(NESTED) else gauss_legendre(LARGER[level - len(NESTED)])
    found, _ = _integrate(lm, suffix.select(rows.to(suffix.ids.device)), rule, layers, quadrature)
    if level >= len(NESTED):
        return found[0]
    sums[:, rows] += found
    return sums[level, rows]


def _estimated_error(change: Tensor, gap: Tensor, finer_gap: Tensor) -> Tensor:
    """Estimate the error of the finer rule: the change between the two rules, times the ratio of their completeness gaps.

    The gap is the exact error of the sum of a layer's scores, so the estimate is at least the gap. A gap can be small by chance, so the
    ratio is at least `MIN_SHRINKAGE`.
    """
    return torch.maximum(change * (finer_gap / gap.clamp_min(1e-300)).clamp(MIN_SHRINKAGE, 1), finer_gap)


def _integrate(
    lm: LanguageModel, suffix: PromptSuffix, rule: Rule, wanted: Tensor, quadrature: Quadrature
) -> tuple[Tensor, Pass]:
    """Return activation times weighted mean gradient, [r, B, layers, neurons] for the r rules that share the nodes, and the first pass.

    The means of layers that are not `wanted` are zero.
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
