"""Gradients at scaled activations, for all layers in one forward and one backward pass.

A copy of a prompt has the activations of one layer scaled at the prediction position, see `kn_utils.model.copies`. Rows of a batch do not
influence each other, so one backward pass of the sum of the copies' probabilities gives all gradients.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kn_utils.model.copies import logits_of_copies
from kn_utils.model.layouts import at_least_float32
from kn_utils.model.models import LanguageModel
from kn_utils.model.prefix import PromptSuffix


@dataclass(frozen=True)
class LayerGradients:
    """The results of one layer, for B prompts and n nodes.

    `activation` [B, neurons], unscaled; `probability` [n, B] of the target at the nodes; `gradient` [n, B, neurons] of this probability
    with respect to the activations. All are in at least float32.
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


def scaled_gradients(lm: LanguageModel, suffix: PromptSuffix, nodes: list[Tensor], way: str = "") -> Pass:
    """Return P(target) and its gradient with respect to a layer's activations, at a * w for every layer w and every node a.

    `nodes` has one 1-d tensor per layer; it is empty for layers that are not needed. `way` is as in `logits_of_copies`.
    """
    leaves: list[Tensor] = []  # per layer, [n, B, neurons]

    def scaled(layer: int, down: nn.Module, activation: Tensor) -> Tensor:
        exact = at_least_float32(activation)
        leaf = (nodes[layer].to(exact)[:, None, None] * exact).to(activation).requires_grad_()
        leaves.append(leaf)
        return down.forward(leaf - activation) - down.forward(torch.zeros_like(activation))

    with torch.enable_grad():
        logits, activations = logits_of_copies(lm, suffix, scaled, way=way)
        logits = at_least_float32(logits)
    return _differentiated(logits, suffix.target, activations, leaves)


def _differentiated(logits: Tensor, target: Tensor, activations: list[Tensor], leaves: list[Tensor]) -> Pass:
    """Separate prompts from copies, and differentiate the copies' probabilities: dP/dlogits = P * (onehot - softmax).

    For the backward pass P is divided by a power of two near it, since gradients of a small probability underflow in float16.
    """
    count = len(target)
    targets = target.repeat(len(logits) // count)[:, None]
    softmax = logits.detach().softmax(-1)
    top_token, probability = softmax[:count].argmax(-1), softmax.gather(1, targets)
    power = probability.clamp_min(torch.finfo(probability.dtype).tiny).log2().floor().exp2()  # so nothing is rounded
    scaled = probability / power
    upstream = softmax.mul_(-scaled).scatter_add_(1, targets, scaled)  # in place: the largest tensor of the pass
    upstream[:count] = 0
    gradients = map(at_least_float32, torch.autograd.grad(logits, [leaf for leaf in leaves if len(leaf)], upstream))
    sizes = [1, *(len(leaf) for leaf in leaves)]
    unscaled, *by_layer = torch.split(probability.view(-1, count), sizes)
    powers = torch.split(power.view(-1, count, 1), sizes)[1:]
    layers = [
        LayerGradients(
            at_least_float32(activation),
            next(gradients) * of_layer if len(leaf) else at_least_float32(leaf.detach()),
            at_nodes,
        )
        for activation, leaf, at_nodes, of_layer in zip(activations, leaves, by_layer, powers, strict=True)
    ]
    return Pass(layers, unscaled[0], top_token)
