"""The slow, plain computation that everything else is checked against: one layer, one node, one prompt, the whole model."""

from collections import Counter

import numpy as np
import torch

from kn_utils.model.models import LanguageModel


def probability_at(lm: LanguageModel, ids: torch.Tensor, position: int, target: int, layer: int, activation=None):
    """Return P(target) and the activation of `layer` at `position`, with that activation replaced if one is given.

    Calls of a block are counted, so that layers which share a block (ALBERT) are told apart.
    """
    seen, calls = {}, []

    def replace(down, args):
        calls.append(None)
        if len(calls) - 1 != layer:
            return None
        flat = args[0].reshape(1, -1, args[0].shape[-1]).clone()
        seen["activation"] = flat[0, position].detach().clone()
        if activation is not None:
            flat[0, position] = activation
        return (flat.view(args[0].shape),)

    handles = [down.register_forward_pre_hook(replace) for down in lm.downs]
    try:
        logits = lm.model(ids[None]).logits[0, position]
    finally:
        for handle in handles:
            handle.remove()
    return logits.softmax(-1)[target], seen["activation"]


def gradient_at(lm: LanguageModel, ids, position: int, target: int, layer: int, scale: float):
    """Return dP(target)/dw of `layer` at `scale` times its activation, P there, and the activation."""
    _, activation = probability_at(lm, ids, position, target, layer)
    leaf = (scale * activation).requires_grad_()
    probability, _ = probability_at(lm, ids, position, target, layer, leaf)
    return torch.autograd.grad(probability, leaf)[0], probability.detach(), activation


def edited_logits(lm, ids, position, neurons, factor):
    """One prompt's logits at its position with its neurons multiplied one after the other, by a hook of its own."""
    calls = []

    def edit(down, args):
        calls.append(down)
        inner = args[0].clone()
        for layer, neuron in neurons:
            if layer == len(calls) - 1:
                inner.view(-1, inner.shape[-1])[position, neuron] *= factor
        return (inner,)

    hooks = [down.register_forward_pre_hook(edit) for down in lm.downs]
    logits = lm.model(ids[None]).logits[0, position]
    for hook in hooks:
        hook.remove()
    return logits


def integrated_gradients(lm: LanguageModel, ids, position: int, target: int, layer: int, nodes, weights) -> torch.Tensor:
    """Return w * sum over nodes of weight * dP/dw at node * w for one layer."""
    _, activation = probability_at(lm, ids, position, target, layer)
    pairs = zip(nodes, weights, strict=True)
    return activation * sum(weight * gradient_at(lm, ids, position, target, layer, float(node))[0] for node, weight in pairs)


def plainly_refined(scores, prompts, score_share, prompt_share):
    """Section 4.2 of the method read aloud: ({fact: its neurons}, [(round, share of prompts, mean)])."""
    standing_out = {fact: Counter() for fact in prompts}
    for (fact, _), by_neuron in scores.items():
        bar = score_share * max(map(np.float32, by_neuron.values()), default=np.float32(0)).item()
        for place, score in by_neuron.items():
            if np.float32(score).item() >= bar:
                standing_out[fact][place] += 1
    rounds = []
    for number in range(1, 7):
        kept = {
            fact: {place for place, count in counter.items() if count >= max(prompt_share * prompts[fact], 3)}
            for fact, counter in standing_out.items()
        }
        mean = sum(map(len, kept.values())) / len(prompts)
        rounds.append((number, prompt_share, mean))
        if mean < 2:
            prompt_share -= 0.05
        elif mean > 5:
            prompt_share += 0.05
        else:
            break
    return kept, rounds
