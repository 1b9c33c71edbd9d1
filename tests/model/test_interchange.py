"""Interchange against a plain loop: one patch, one hook, one pass; for every architecture."""

import pytest
import torch
from tiny_models import MODELS, assert_no_hooks, near, tiny_model

from kn_utils.data.facts import Fact
from kn_utils.model.interchange import ATTENTION, FEED_FORWARD, Patch, interchanged_logits, states
from kn_utils.model.layouts import submodule
from kn_utils.model.prompts import Prompt

_SELF = "self_attn.o_proj"
ATTENTION_OUTPUTS = {  # the attention's output projection inside a block, as its code names it
    "bert": "attention.output.dense",
    "roberta": "attention.output.dense",
    "xlm-roberta": "attention.output.dense",
    "electra": "attention.output.dense",
    "distilbert": "attention.out_lin",
    "albert": "attention.dense",
    "modernbert": "attn.Wo",
    "gpt2": "attn.c_proj",
    "gpt_neo": "attn.attention.out_proj",
    "gpt_neox": "attention.dense",
    "gptj": "attn.out_proj",
    "opt": "self_attn.out_proj",
    "llama": _SELF,
    "mistral": _SELF,
    "qwen2": _SELF,
    "qwen3": _SELF,
    "gemma": _SELF,
    "gemma2": _SELF,
    "gemma3_text": _SELF,
    "granite": _SELF,
    "bloom": "self_attention.dense",
}

FACT = Fact("P36", 0, "Norway", "Oslo")


def two_prompts(lm):
    """Two prompts of seven tokens that differ at positions 2 and 3."""
    position = 5 if lm.masked else 6
    ids = ((5, 6, 7, 8, 9, 10, 11), (5, 6, 12, 13, 9, 10, 11))
    return [Prompt(FACT, 0, "", one, position, 20) for one in ids]


def projection(lm, part):
    name = ATTENTION_OUTPUTS[lm.model.config.model_type] if part == ATTENTION else lm.layout.down
    return [submodule(block, name) for block in lm.blocks]


def plain_logits(lm, prompt, source, patch):
    """The logits at the prediction position, with each state put in by hand while the prompt is run; `source` is a prompt."""
    kept, calls = [], []

    def visit(module, args):
        flat = args[0].reshape(len(prompt.ids), -1)
        layer = len(calls)
        calls.append(layer)
        if len(kept) < lm.n_layers:  # the first pass, of the source
            kept.append(flat.clone())
            return None
        changed = flat.clone()
        for position in patch.positions:
            if layer - lm.n_layers in patch.layers:
                changed[position] = kept[layer - lm.n_layers][position]
            for at, index in patch.neurons:
                if at == layer - lm.n_layers:
                    changed[position, index] = kept[at][position, index]
        return (changed.view(args[0].shape),)

    handles = [module.register_forward_pre_hook(visit) for module in projection(lm, patch.part)]
    with torch.no_grad():
        lm.model(torch.tensor([source.ids]))
        logits = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position]
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize("model_type, changes", MODELS)
def test_every_patch_is_what_a_plain_loop_gives(model_type, changes):
    lm = tiny_model(model_type, **changes)
    prompt, source = two_prompts(lm)
    at, last = prompt.position, lm.n_layers - 1
    patches = [
        Patch(FEED_FORWARD, (at,), neurons=((0, 3), (last, 7), (last, 2))),
        Patch(FEED_FORWARD, (at,), layers=(0, last)),
        Patch(ATTENTION, (2, 3), layers=(last - 1,)),
        Patch(FEED_FORWARD, (2, 3), layers=tuple(range(lm.n_layers))),
        Patch(ATTENTION, (at,), layers=tuple(range(lm.n_layers))),
        Patch(FEED_FORWARD, (at,)),
    ]
    found = interchanged_logits(lm, prompt, states(lm, source), patches)
    for row, patch in zip(found, patches, strict=True):
        torch.testing.assert_close(row, plain_logits(lm, prompt, source, patch), **near(model_type))
    plain, other = (interchanged_logits(lm, one, states(lm, one), [patches[-1]])[0] for one in (prompt, source))
    torch.testing.assert_close(found[5], plain, **near(model_type))  # nothing is taken over
    torch.testing.assert_close(found[4], other, **near(model_type))  # by attention alone the position learns of other tokens
    assert (found[:4] - plain).abs().amax(1).min() > 1e-6
    assert_no_hooks(lm)


def test_patches_are_the_same_in_one_pass_and_in_several(monkeypatch):
    lm = tiny_model("bert")
    prompt, source = two_prompts(lm)
    patches = [Patch(FEED_FORWARD, (prompt.position,), neurons=((1, index),)) for index in range(5)]
    together = interchanged_logits(lm, prompt, states(lm, source), patches)
    monkeypatch.setattr("kn_utils.model.interchange.prompts_at_once", lambda length: 2)
    torch.testing.assert_close(interchanged_logits(lm, prompt, states(lm, source), patches), together)


@pytest.mark.parametrize("model_type, changes", MODELS)
def test_the_output_projection_of_attention_is_found(model_type, changes):
    assert tiny_model(model_type, **changes).layout.attention_output == ATTENTION_OUTPUTS[model_type]
