"""Tiny models that know tiny facts, for the steps that change what a model knows."""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd
import tiny_folders
import torch

from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.neurons import METHODS
from kn_utils.model.prompts import Prompt, encode, group_by_length, stack
from kn_utils.store.runs import Run

FACTS = {"P36": tiny_folders.many_facts(40), "P101": tiny_folders.FACTS["P101"]}
TEMPLATES = {
    "P36": ["The capital of [X] is [Y].", "[X] has the capital [Y]", "[X] is the country of [Y].", "In [X] lies [Y]"],
    "P101": tiny_folders.TEMPLATES["P101"],
}
NUMBERS = {"fact": "int32", "layer": "int32", "neuron": "int32"}
PLANTED = 3  # neurons of a fact, and of a word
_ASKED: dict[tuple, pd.DataFrame] = {}
_FOLDER = tempfile.TemporaryDirectory()


@cache
def dataset():
    """40 facts of P36 and 3 of P101, with templates that left-to-right models can read."""
    return load_dataset(tiny_folders.write_data(Path(_FOLDER.name) / "known", FACTS, TEMPLATES))


def trained_run(model_type: str, results_dir: Path) -> tuple[LanguageModel, Run]:
    """A tiny model that has learnt the facts, and a run in `results_dir` with the tables of steps 1 and 2.

    Each of P36's 40 facts has a neuron of its own, one that five or seven facts share, and one that all have; P101's have none.
    """
    lm = trained(model_type)
    run = Run(lm.name, dataset(), results_dir=results_dir)
    neurons = {fact: [(fact % 3, fact), (2, 40 + fact // 7), (1, 45)] for fact in range(40)}
    write_first_steps(lm, run, "P36", neurons)
    write_first_steps(lm, run, "P101", {})
    return lm, run


@cache
def trained(model_type: str) -> LanguageModel:
    """A tiny model that has learnt the facts."""
    lm = load_model(tiny_folders.write_model(Path(_FOLDER.name) / f"knowing-{model_type}", model_type), "cpu")
    learn(lm, dataset())
    return LanguageModel(lm.name, lm.model, lm.tokenizer)  # no longer the one in its files


def write_trained(folder: Path, model_type: str, data: Path) -> Path:
    """A tiny model that has learnt the facts of a data folder, in a folder."""
    lm = load_model(tiny_folders.write_model(folder, model_type), "cpu")
    learn(lm, load_dataset(data))
    lm.model.save_pretrained(folder)
    return folder


def learn(lm: LanguageModel, data: Dataset, steps: int = 35) -> None:
    """Train a tiny model on all facts of a data set."""
    facts = [fact for relation in data.relations for fact in data.facts[relation]]
    prompts = [item for item in encode(lm, data, facts) if isinstance(item, Prompt)]
    batches = [stack([prompts[index] for index in group], lm.device) for group in group_by_length(prompts, lambda _: 1000)]
    lm.model.requires_grad_(True)
    optimizer = torch.optim.Adam(lm.model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        for batch in batches:
            logits = lm.model(batch.ids).logits[torch.arange(len(batch)), batch.position]
            torch.nn.functional.cross_entropy(logits, batch.target, reduction="sum").backward()
        optimizer.step()
    lm.model.requires_grad_(False)


def blank_model(folder: Path) -> LanguageModel:
    """A GPT-2 of one layer of which all weights are 0, but for norms and for word embeddings of length 1 and mean 0.

    It is no longer the one in its files.
    """
    lm = load_model(folder if folder.is_dir() else tiny_folders.write_model(folder, "gpt2", n_layer=1), "cpu")
    with torch.no_grad():
        embeddings = lm.embeddings - lm.embeddings.mean(1, keepdim=True)
        for name, weight in lm.model.named_parameters():
            weight.fill_(1 if name.endswith(".weight") and "ln_" in name else 0)
        lm.embeddings.copy_(embeddings / embeddings.norm(dim=1, keepdim=True))
    return LanguageModel(lm.name, lm.model, lm.tokenizer)


def planted_run(
    folder: Path, facts: dict[str, list], templates: dict[str, list[str]], known: int, word_activation: float | None
) -> tuple[LanguageModel, Run]:
    """A model that knows the first `known` facts of each relation by `PLANTED` neurons each, which the subject's last word switches on.

    If there is a `word_activation`, it has as many neurons for each object too, also of other facts, with this activation everywhere; they
    raise all objects alike. The model is a GPT-2 without attention, so all templates must end with subject and object. The run has the
    tables of steps 1 and 2.
    """
    lm = blank_model(folder / "model")
    mlp = lm.model.transformer.h[0].mlp
    names = {name for pairs in facts.values() for pair in pairs for name in pair}
    embeddings = {name: lm.embeddings[lm.tokenizer(f" {name}")["input_ids"][-1]] for name in names}
    by_subject = [pair for pairs in facts.values() for pair in pairs[:known] for _ in range(PLANTED)]
    objects = dict.fromkeys(answer for pairs in facts.values() for _, answer in pairs)
    with torch.no_grad():
        for neuron, (subject, answer) in enumerate(by_subject):  # a normalised embedding has the length sqrt(width)
            mlp.c_fc.weight[:, neuron] = 4 * embeddings[subject]
            mlp.c_fc.bias[neuron] = -3 * lm.embeddings.shape[1] ** 0.5
            mlp.c_proj.weight[neuron] = embeddings[answer]
        for number, answer in enumerate(objects if word_activation else ()):
            for neuron in range(len(by_subject) + PLANTED * number, len(by_subject) + PLANTED * (number + 1)):
                mlp.c_fc.bias[neuron] = word_activation
                mlp.c_proj.weight[neuron] = embeddings[answer]
    run = Run(
        lm.name,
        load_dataset(tiny_folders.write_data(folder / "planted", facts, templates)),
        results_dir=folder / "results",
        workers=1,
    )
    for relation in facts:
        write_first_steps(lm, run, relation, {0: [(0, 0)]})
    return lm, run


def obstinate_run(results_dir: Path, neurons: dict[int, list]) -> tuple[LanguageModel, Run]:
    """A model that answers everything with "Oslo", because of one neuron, and a run in which P36's facts have the given neurons.

    The model is a GPT-2 of which all weights are 0, but for word embeddings of length 1 and mean 0, and neuron 5 of its one layer, whose
    activation is 10 everywhere and whose value vector is 100 times Oslo's embedding.
    """
    folder = Path(_FOLDER.name) / "obstinate"
    lm = blank_model(folder)
    with torch.no_grad():
        mlp = lm.model.transformer.h[0].mlp
        mlp.c_fc.bias[5] = 10
        mlp.c_proj.weight[5] = 100 * lm.embeddings[lm.tokenizer(" Oslo")["input_ids"][0]]
    run = Run(lm.name, dataset(), results_dir=results_dir)
    write_first_steps(lm, run, "P36", neurons)
    return lm, run


def write_first_steps(lm: LanguageModel, run: Run, relation: str, neurons: dict[int, list], named: Sequence = ()) -> None:
    """Write the tables of steps 1 and 2 that later steps read: what the model answers, and the given neurons of each fact.

    Attribution names the neurons of a fact, and those of `named`.
    """
    facts = run.facts(relation, lm)
    answers = _answers(lm, run.dataset, tuple(facts))
    prompts = answers.assign(correct=answers["top"] == answers["target"])[["relation", "fact", "prompt", "correct"]]
    asked = [int((answers["fact"] == fact.index).sum()) for fact in facts]
    about = pd.DataFrame({"relation": relation, "fact": [fact.index for fact in facts], "prompts": asked})
    rows = [(relation, fact, method, *neuron) for method in METHODS for fact, own in neurons.items() for neuron in own]
    found = pd.DataFrame(rows, columns=["relation", "fact", "method", "layer", "neuron"]).astype(NUMBERS)
    also = [(relation, fact, "attribution", *neuron) for fact in neurons for neuron in named]
    scores = pd.concat([found, pd.DataFrame(also, columns=list(found)).astype(found.dtypes)])
    completeness = prompts[["relation", "fact", "prompt"]].assign(layer=0, nodes=20, gap=0.0, error=0.0)
    first = {"attribution": scores, "facts": about, "prompts": prompts, "completeness": completeness}
    refinement = pd.DataFrame(
        {"relation": [relation], "method": "attribution", "round": 1, "prompt_share": 0.7, "mean_neurons": 3.0}
    )
    run.make("attribution", relation, [None], lambda _: first, {}, lm)
    run.make("knowledge_neurons", relation, [None], lambda _: {"knowledge_neurons": found, "refinement": refinement}, {}, lm)


def _answers(lm: LanguageModel, data: Dataset, facts: tuple) -> pd.DataFrame:
    """Return `plain_answers`, kept for the next test that asks the same."""
    asked = (lm.digest, data.digest_of_others(""), facts)
    if asked not in _ASKED:
        _ASKED[asked] = plain_answers(lm.model, lm, facts, data)
    return _ASKED[asked]


def plain_answers(model, lm: LanguageModel, facts, data=None) -> pd.DataFrame:
    """Every prompt of the facts asked by itself: columns relation, fact, prompt, target, top and shares, the whole distribution."""
    rows = []
    for item in encode(lm, data or dataset(), facts):
        if isinstance(item, Prompt):
            shares = model(torch.tensor([item.ids])).logits[0, item.position].softmax(-1)
            rows.append((item.fact.relation, item.fact.index, item.index, item.target, int(shares.argmax()), shares))
    return pd.DataFrame(rows, columns=["relation", "fact", "prompt", "target", "top", "shares"])
