"""Every device that this machine has gives the CPU's numbers, and one that does not is refused."""

import pytest
import torch
from spoilt_models import other_device, scale_a_weight

from kn_utils.model.attribution import Quadrature, integrated_gradients
from kn_utils.model.devices import moved
from kn_utils.model.models import load_model
from kn_utils.model.prompts import stack, usable_prompts

ACCELERATORS = [name for name in ("cuda", "mps", "xpu") if getattr(torch, name).is_available()]
NO_ACCELERATOR = pytest.param("", marks=pytest.mark.skip(reason="this machine has no accelerator"))


@pytest.mark.parametrize("device", ACCELERATORS or [NO_ACCELERATOR])
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_an_accelerator_gives_the_cpus_scores(folder_of, loaded, tiny_dataset, model_type, device):
    on_cpu, there = loaded(model_type), load_model(folder_of(model_type), device)
    prompts = usable_prompts(on_cpu, tiny_dataset, tiny_dataset.facts["P36"][0])
    expected, found = (integrated_gradients(lm, stack(prompts, lm.device), Quadrature()).score for lm in (on_cpu, there))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def spoil_nothing(model):
    pass


def write_nan(model):
    model.get_output_embeddings().weight.data[7] = torch.nan


@pytest.fixture(params=["bert", "gpt2"])
def model(request, folder_of):
    return load_model(folder_of(request.param), "cpu").model


def test_a_device_that_agrees_is_taken(model):
    assert moved("mine", model, other_device(model, spoil_nothing)) is model
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(("spoil", "seen"), [(scale_a_weight, r"[\d.e-]+"), (write_nan, "nan")])
def test_a_device_that_computes_something_else_is_refused_with_both_numbers(model, spoil, seen):
    refused = (
        rf"^'mine' on the device 'mps': a probability is {seen} where the CPU computes [\d.e-]+ for the same prompt, "
        "so this device cannot be trusted with this model; use 'cpu'$"
    )
    with pytest.raises(ValueError, match=refused):
        moved("mine", model, other_device(model, spoil))


def test_wrong_gradients_alone_are_refused(model):
    def halve_gradients(model):
        model.get_output_embeddings().register_forward_pre_hook(lambda head, args: (args[0].detach() / 2 + args[0] / 2,))

    with pytest.raises(ValueError, match="a gradient is .* where the CPU computes"):
        moved("mine", model, other_device(model, halve_gradients))


def test_the_cpu_is_not_compared_with_itself(monkeypatch, model):
    monkeypatch.setattr(model, "forward", None)
    assert moved("mine", model, torch.device("cpu")) is model
