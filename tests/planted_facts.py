"""Models in which the truth is known: facts in planted neurons, or carried by attention."""

import tiny_folders
import torch
from known_facts import blank_model, write_first_steps

from kn_utils.data.facts import load_dataset
from kn_utils.model.prompts import Prompt, encode
from kn_utils.store.runs import Run

FACTS = {"P36": [["Norway", "Oslo"], ["Peru", "Lima"], ["France", "Paris"], ["Zealand", "Wellington"]]}
TEMPLATES = {"P36": ["The capital of [X] is [Y].", "In [X] the capital is [Y].", "the capital [X] has is [Y]"]}  # of equal length
RIVAL = "logic"  # an answer that is no fact's object


def planted_run(folder, carrier, per_fact=3, rival=0.0):
    """A GPT-2 of one layer that answers four facts right, and the tables of steps 1 and 2: neurons of a fact are its knowledge neurons.

    The attention of the layer brings the mean of all tokens to the last one. A fact's neurons are active for its subject only. With the
    carrier "neurons" their value vectors are the object's embedding; with "attention" they are next to nothing, and attention turns
    subjects into objects. Neuron 127 adds another answer, `rival` times as strong as all neurons of a fact together.
    """
    lm = blank_model(folder / carrier)
    data = load_dataset(tiny_folders.write_data(folder / f"data-{carrier}", FACTS, TEMPLATES))
    run = Run(lm.name, data, results_dir=folder / "results", workers=1)
    prompts = [item for item in encode(lm, data, data.facts["P36"]) if isinstance(item, Prompt)]
    tokens = sorted({token for prompt in prompts for token in prompt.ids})
    detectors = torch.linalg.pinv(lm.embeddings[tokens])  # [hidden, tokens]: 1 for one of the tokens, 0 for all others
    block, width = lm.model.transformer.h[0], lm.embeddings.shape[1]
    with torch.no_grad():
        to_value = block.attn.c_attn.weight[:, 2 * width :]
        block.attn.c_proj.weight.copy_(torch.eye(width))
        if carrier == "neurons":
            to_value.copy_(torch.eye(width))
        for number, (subject, answer) in enumerate(FACTS["P36"]):
            detector = detectors[:, tokens.index(_token(lm, subject))]
            object_vector = lm.embeddings[_token(lm, answer)]
            if carrier == "attention":
                to_value.add_(torch.outer(detector, 100 * object_vector))
            for index in range(per_fact * number, per_fact * (number + 1)):
                block.mlp.c_fc.weight[:, index] = 20 * detector
                block.mlp.c_proj.weight[index] = object_vector * (100 if carrier == "neurons" else 0.001)
        if rival:
            strength = _activation(lm, prompts[0]) * 100 * per_fact
            block.mlp.c_fc.bias[127] = 10
            block.mlp.c_proj.weight[127] = rival * strength / 10 * lm.embeddings[_token(lm, RIVAL)]
    neurons = {fact: [(0, index) for index in range(per_fact * fact, per_fact * (fact + 1))] for fact in range(4)}
    write_first_steps(lm, run, "P36", neurons)
    return lm, run


def _token(lm, word):
    [token] = lm.tokenizer(f" {word}")["input_ids"]
    return token


def _activation(lm, prompt):
    """The activation of the first fact's first neuron in its prompt."""
    kept = []
    with lm.downs[0].register_forward_pre_hook(lambda module, args: kept.append(float(args[0][0, -1, 0]))):
        lm.model(torch.tensor([prompt.ids]))
    return kept[0]
