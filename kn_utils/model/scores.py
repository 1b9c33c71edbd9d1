"""Scores by which neurons can be named: integrated gradients, and cheaper or simpler ones.

Each function takes a batch of one prompt and returns the scores of all neurons, [layers, neurons]. A high score says that the neuron
supports the target.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from kn_utils.model.ablation import changed_logits, chunks_of_neurons
from kn_utils.model.attribution import Quadrature, integrated_gradients
from kn_utils.model.forward import activations, each_layer, here, log_odds, model_logits
from kn_utils.model.gradients import scaled_gradients
from kn_utils.model.layouts import at_least_float32, value_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Batch
from kn_utils.model.quadrature import gauss_legendre

LOG_ODDS_NODES = 20  # of the Gauss-Legendre rule for integrated gradients of the log-odds


def released(lm: LanguageModel, batch: Batch) -> Tensor:
    """Return integrated gradients of the target's probability by the released sum (equation 3)."""
    return integrated_gradients(lm, batch, Quadrature("released")).score[0]


def error_controlled(lm: LanguageModel, batch: Batch) -> Tensor:
    """Return integrated gradients of the target's probability by error-controlled Gauss-Legendre rules."""
    return integrated_gradients(lm, batch, Quadrature("gauss-legendre")).score[0]


def of_log_odds(lm: LanguageModel, batch: Batch) -> Tensor:
    """Return integrated gradients of the target's log-odds, by a Gauss-Legendre rule of `LOG_ODDS_NODES` nodes.

    The gradient of ln(P / (1 - P)) is that of P, divided by P (1 - P).
    """
    suffix, total = prompt_suffix(lm, batch), 0
    for chunk in gauss_legendre(LOG_ODDS_NODES).chunks(Quadrature().nodes_at_once(lm, batch.ids.shape[1])):
        found = scaled_gradients(lm, suffix, [chunk.nodes] * lm.n_layers)
        probability = torch.stack([layer.probability for layer in found.layers])[:, :, 0]  # [layers, nodes]
        slope = (probability * (1 - probability)).clamp_min(torch.finfo(probability.dtype).tiny)
        gradient = torch.stack([layer.gradient for layer in found.layers])[:, :, 0]  # [layers, nodes, neurons]
        total = total + torch.einsum("ln,lni->li", (chunk.weights.to(slope) / slope).to(gradient), gradient)
    return (found.activation[0] * total).cpu()


def gradient_times_activation(lm: LanguageModel, batch: Batch, off: Tensor | None = None) -> Tensor:
    """Return activation times gradient of the target's log-odds, at the activations themselves: one forward and one backward pass.

    The neurons `off` [layers, neurons] are zero meanwhile. The gradient of P is the same but for a factor that all neurons of a prompt
    share, so it gives the same order.
    """
    activation, gradient = _gradients(lm, batch, off)
    return activation * gradient


def largest(scores: Tensor, count: int) -> Tensor:
    """Return the places of the `count` largest scores in the flattened [layers, neurons], largest first; ties go by layer and index."""
    return scores.flatten().sort(descending=True, stable=True).indices[:count]


def frozen_norms(lm: LanguageModel, batch: Batch) -> Tensor:
    """Return activation times gradient of the target's log-odds if the scales of all norms are constants in the backward pass."""
    with _constant_scales(lm):
        activation, gradient = _gradients(lm, batch)
    return activation * gradient


def _gradients(lm: LanguageModel, batch: Batch, off: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the activations and the gradient of the target's log-odds with respect to them, [layers, neurons] each.

    The neurons `off` are zero.
    """
    suffix, found, leaves = prompt_suffix(lm, batch), [], []

    def add_leaf(layer: int, inner: Tensor) -> Tensor:
        at = here(inner, suffix.position)
        if off is not None:
            inner = inner.index_put(at, inner[at].masked_fill(off[layer].to(inner.device), 0))
        found.append(at_least_float32(inner[at][0].detach()))
        leaves.append(torch.zeros_like(found[-1]).requires_grad_())
        return inner.index_put(at, leaves[-1][None].to(inner), accumulate=True)

    with each_layer(lm, 1, add_leaf), torch.enable_grad():
        logits = model_logits(lm, suffix)
        gradient = torch.autograd.grad(log_odds(logits, suffix.target[:, None]).sum(), leaves)
    return torch.stack(found).cpu(), torch.stack(gradient).cpu()


@contextmanager
def _constant_scales(lm: LanguageModel) -> Iterator[None]:
    """Inside the block, the scale by which a norm divides is a constant for gradients (LayerNorm's mean is not); outputs do not change."""
    with ExitStack() as hooks:
        for module in lm.model.modules():
            if isinstance(module, nn.LayerNorm) or type(module).__name__.endswith("RMSNorm"):
                hooks.enter_context(module.register_forward_hook(_with_constant_scale))
        yield


def _with_constant_scale(norm: nn.Module, args: tuple, output: Tensor) -> Tensor:
    """Return the output of a norm as a constant times its unscaled output."""
    values, shift = args[0], 0
    if isinstance(norm, nn.LayerNorm):
        unscaled = (values - values.mean(-1, keepdim=True)) * norm.weight
        shift = 0 if norm.bias is None else norm.bias
    else:  # the factors of an RMSNorm's dimensions are its output for ones, but for a common factor
        unscaled = values * norm.forward(torch.ones_like(values[..., :1, :]))
    tiny = torch.finfo(values.dtype).tiny
    scale = ((output - shift) * unscaled).sum(-1, keepdim=True) / unscaled.square().sum(-1, keepdim=True).clamp_min(tiny)
    return scale.detach() * unscaled + shift


def log_probability_increase(lm: LanguageModel, batch: Batch) -> Tensor:
    """Return ln P(target | h + w_i v_i) - ln P(target | h) (Yu and Ananiadou, EMNLP 2024).

    h is the residual stream of a layer without its feed-forward neurons, w_i the activation and v_i the value vector. P is read from it
    directly: by the layer's own norm, if it has one, the final norm and the vocabulary projection.
    """
    suffix, found = prompt_suffix(lm, batch), []
    for neurons in chunks_of_neurons(lm, suffix):

        def change(layer: int, down: nn.Module, activation: Tensor, neurons: Tensor = neurons) -> Tensor:
            vectors = value_vectors(down)
            none, alone = -(activation @ vectors)[None], activation[neurons, None] * vectors[neurons]
            return torch.cat([none, none + alone])

        logits = changed_logits(lm, suffix, change, skip_blocks=True)
        log_probability = logits.log_softmax(-1)[:, int(suffix.target)].view(lm.n_layers, 1 + len(neurons))
        found.append((log_probability[:, 1:] - log_probability[:, :1]).cpu())
    return torch.cat(found, dim=1)


def static_logit(lm: LanguageModel, batch: Batch) -> Tensor:
    """Return the activation times the product of the value vector and the target's row of the vocabulary projection.

    It is the direct contribution to the target's logit, without norms and the blocks above.
    """
    row = at_least_float32(lm.model.get_output_embeddings().weight[int(batch.target)])
    return activation(lm, batch) * _by_layer(lm, batch, lambda vectors: at_least_float32(vectors) @ row)


def activation(lm: LanguageModel, batch: Batch) -> Tensor:
    """Return the activations themselves, the paper's baseline."""
    return activations(lm, batch.ids, batch.position)[0].cpu()


def magnitude(lm: LanguageModel, batch: Batch) -> Tensor:
    """Return the absolute activation times the length of the value vector: how much the neuron writes."""
    return activation(lm, batch).abs() * _by_layer(lm, batch, lambda vectors: at_least_float32(vectors).norm(dim=1))


def _by_layer(lm: LanguageModel, batch: Batch, of_vectors: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a number for each value vector, [layers, neurons]. The model is run, since layers may share a block (ALBERT)."""
    suffix, found = prompt_suffix(lm, batch), []
    with ExitStack() as hooks, torch.inference_mode():
        for down in lm.downs:
            hook = down.register_forward_pre_hook(lambda down, args: found.append(of_vectors(value_vectors(down))))
            hooks.enter_context(hook)
        lm.model.base_model(suffix.ids, **suffix.arguments)
    return torch.stack(found).cpu()


SCORES: dict[str, Callable[[LanguageModel, Batch], Tensor]] = {
    "released": released,
    "controlled": error_controlled,
    "log_odds": of_log_odds,
    "gradient": gradient_times_activation,
    "frozen_norms": frozen_norms,
    "log_probability": log_probability_increase,
    "static_logit": static_logit,
    "activation": activation,
    "magnitude": magnitude,
}


def scores_of(lm: LanguageModel) -> dict[str, Callable[[LanguageModel, Batch], Tensor]]:
    """Return the scores that a model has: no `static_logit` if the vocabulary projection has another width than value vectors.

    This is so in ALBERT and ELECTRA.
    """
    width = lm.model.get_output_embeddings().weight.shape[1]
    same = width == value_vectors(lm.downs[0]).shape[1]
    return {name: score for name, score in SCORES.items() if same or score is not static_logit}
