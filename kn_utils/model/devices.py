"""The device that a model runs on, checked against the CPU."""

from __future__ import annotations  # as in `kn_utils.model.models`

import re

import torch
import transformers
from torch import Tensor, nn

from kn_utils.model.layouts import few_tokens


def find_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is a CUDA device if there is one, else the CPU.

    Raises ValueError if it is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(str(name))
        torch.zeros(1, device=device).cpu()  # fails on "meta" too
    except (RuntimeError, AssertionError) as reason:
        why = re.split(r"\n|\. ", str(reason))[0]
        raise ValueError(f"device {name!r} is not available here ({why}); use 'auto', 'cpu', or a device torch has") from None
    return device


def moved(name: str, model: transformers.PreTrainedModel, device: torch.device) -> transformers.PreTrainedModel:
    """Return the model on a device, after a prompt was run there and on the CPU.

    Raises ValueError with both numbers if the device gives other probabilities, or other gradients of one, than the CPU.
    """
    if device.type == "cpu":
        return model
    expected = _probabilities_and_gradient(model)
    model = model.to(device)
    tolerance = max(1e-3, 16 * torch.finfo(model.dtype).eps)
    for what, on_cpu, here in zip(("probability", "gradient"), expected, _probabilities_and_gradient(model), strict=True):
        difference = (on_cpu - here).abs()
        worst = difference.nan_to_num(torch.inf).argmax()
        if not difference[worst] <= tolerance * on_cpu.abs().max():
            raise ValueError(
                f"{name!r} on the device {str(device)!r}: a {what} is {here[worst]:.4g} where the CPU computes {on_cpu[worst]:.4g} for the "
                "same prompt, so this device cannot be trusted with this model; use 'cpu'"
            )
    return model


def _probabilities_and_gradient(model: transformers.PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Return the probabilities after a few tokens, and the gradient of the highest one by the tokens' embeddings."""
    embedded = []

    def as_leaf(embedding: nn.Module, args: tuple, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1].clone()  # some models change it in place

    model.eval()
    with model.get_input_embeddings().register_forward_hook(as_leaf), torch.enable_grad():
        probability = model(few_tokens(model)).logits[0, -1].float().softmax(-1)
        (gradient,) = torch.autograd.grad(probability.max().log(), embedded[:1])
    return probability.detach().cpu(), gradient.float().flatten().cpu()
