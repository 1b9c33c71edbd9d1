"""Step 3 as a table: the object's probability before and after a fact's knowledge neurons are suppressed or amplified."""

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from kn_utils.facts import Dataset, Fact
from kn_utils.forward import probabilities, prompts_at_once
from kn_utils.interventions import OPERATIONS, Neuron, scaled_neurons
from kn_utils.models import LanguageModel
from kn_utils.prefix import tail
from kn_utils.prompts import Prompt, askable, group_by_length, stack
from kn_utils.results import compute_in_parts
from kn_utils.runs import Run

METHODS = ("attribution", "activation", "random")
CHANGES = [(method, operation) for method in METHODS for operation in OPERATIONS]
FACTS_PER_PART = 32
CANDIDATES = 100  # random facts of other relations to try before giving up
_COLUMNS = {"relation": str, "fact": "int32", "prompt": "int32", "method": str, "operation": str, "target": str}
_COLUMNS |= {"neurons": "int32", "probability_before": "float64", "probability_after": "float64"}
_COLUMNS |= {"answer_before": str, "answer_after": str, "correct_before": bool, "correct_after": bool}
_COLUMNS |= {"answer_changed": bool}
_COLUMNS |= {"other_relation": str, "other_fact": "int32"}


@dataclass(frozen=True)
class Case:
    """A prompt to be asked while the neurons of `fact` are changed; `target` says whose prompt it is, the fact's "own" or an "other"'s."""

    fact: Fact
    prompt: Prompt
    target: str

    @property
    def ids(self) -> tuple[int, ...]:
        """The prompt's tokens."""
        return self.prompt.ids


@dataclass(frozen=True)
class Answer:
    """What the model says to a case: the object's probability and the most probable token."""

    probability: float
    top: int


def modify_activations(lm: LanguageModel, run: Run, relation: str) -> Path:
    """Make the table `modify_activation` of a relation from step 2's and return its path (section 4.3).

    One row per prompt, method, operation and target: the fact's own prompts, and those of one random fact of another relation. Besides
    integrated gradients and the baseline, "random" changes as many random neurons in the same layers as the fact's own by integrated
    gradients. Facts without neurons stay as they are. A data set of one relation has no other target.
    Raises FileNotFoundError if step 2 has not been run, and ValueError if it was with other facts, another draw or other weights.
    """
    upstream = run.made_with("knowledge_neurons", relation, lm)
    others = {name: run.dataset.digest(name) for name in run.dataset.relations if name != relation}
    inputs = run.inputs("modify_activation", relation, lm) | {"other_relations": others, "knowledge_neurons": upstream}
    main = run.path("modify_activation", relation)
    neurons = _neurons(lm, run, relation)
    facts = run.facts(relation, lm)
    compute_in_parts(
        main,
        (),
        inputs,
        facts,
        lambda part: {"modify_activation": modified_answers(lm, run.dataset, part, neurons, run.seed)},
        FACTS_PER_PART,
    )
    return main


def _neurons(lm: LanguageModel, run: Run, relation: str) -> dict[tuple[str, int], list[Neuron]]:
    """The neurons of every method and fact that has any."""
    table = run.read("knowledge_neurons", [relation])
    found = {
        (method, fact): list(zip(own["layer"], own["neuron"], strict=True))
        for (method, fact), own in table.groupby(["method", "fact"])
    }
    random_ones = {
        ("random", fact): random_neurons(own, lm.n_neurons, f"{run.seed}-random-{relation}-{fact}")
        for (method, fact), own in found.items()
        if method == "attribution"
    }
    return found | random_ones


def random_neurons(neurons: Sequence[Neuron], n_neurons: int, seed: str) -> list[Neuron]:
    """Return as many random neurons in each layer as `neurons` has there, none of them twice and none of `neurons`.

    Raises ValueError if a layer has not so many others.
    """
    draw = random.Random(seed)
    layers = sorted({layer for layer, _ in neurons})
    own = {layer: {neuron for at, neuron in neurons if at == layer} for layer in layers}
    if crowded := [layer for layer in layers if 2 * len(own[layer]) > n_neurons]:
        raise ValueError(
            f"{len(own[crowded[0]])} of the {n_neurons} neurons of layer {crowded[0]} are taken: too few others to draw from"
        )
    return [
        (layer, neuron) for layer in layers for neuron in draw.sample(sorted(set(range(n_neurons)) - own[layer]), len(own[layer]))
    ]


def modified_answers(
    lm: LanguageModel, dataset: Dataset, facts: Sequence[Fact], neurons: dict[tuple[str, int], list[Neuron]], seed: int
) -> pd.DataFrame:
    """Return the rows of `modify_activation` for facts of one relation; `neurons` maps (method, fact) to the neurons to change."""
    cases = [case for fact in facts for case in _cases(lm, dataset, fact, seed)]
    own = {method: [neurons.get((method, case.fact.index), []) for case in cases] for method in METHODS}
    answers = _ask(lm, cases, own)
    rows = [
        _row(lm, case, *change, len(changed), found[None], found[change if changed else None])
        for change in CHANGES
        for case, changed, found in zip(cases, own[change[0]], answers, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _cases(lm: LanguageModel, dataset: Dataset, fact: Fact, seed: int) -> list[Case]:
    """The fact's own prompts and those of a random fact of another relation; none if the fact itself cannot be asked."""
    own = [Case(fact, prompt, "own") for prompt in askable(lm, dataset, fact)]
    return own + [Case(fact, prompt, "other") for prompt in _other_prompts(lm, dataset, fact, seed)] if own else []


def _other_prompts(lm: LanguageModel, dataset: Dataset, fact: Fact, seed: int) -> list[Prompt]:
    """The prompts of the first fact that can be asked among random ones of random other relations."""
    draw = random.Random(f"{seed}-other-{fact.relation}-{fact.index}")
    relations = [relation for relation in dataset.relations if relation != fact.relation]
    for _ in range(CANDIDATES if relations else 0):
        if prompts := askable(lm, dataset, draw.choice(dataset.facts[draw.choice(relations)])):
            return prompts
    return []


def _ask(lm: LanguageModel, cases: Sequence[Case], neurons: dict[str, list[list[Neuron]]]) -> list[dict[tuple | None, Answer]]:
    """The model's answers to every case as it is (None) and after the changes; `neurons` holds each case's by method."""
    found: list[dict] = [{} for _ in cases]
    for group in group_by_length(cases, prompts_at_once):
        read = tail(lm, stack([cases[index].prompt for index in group], lm.device))
        for change in (None, *CHANGES):
            own = [neurons[change[0]][index] if change else [] for index in group]
            if change and not any(own):
                continue
            with scaled_neurons(lm, read.position, own, change[1]) if change else nullcontext():
                shares = probabilities(lm, read.ids, read.position, read.arguments)
            for index, answer in zip(group, _answers(shares, read.target), strict=True):
                found[index][change] = answer
    return found


def _answers(shares: Tensor, target: Tensor) -> list[Answer]:
    return list(map(Answer, shares.gather(1, target[:, None])[:, 0].tolist(), shares.argmax(1).tolist()))


def _row(lm: LanguageModel, case: Case, method: str, operation: str, neurons: int, before: Answer, after: Answer) -> tuple:
    fact, asked = case.fact, case.prompt
    place = (fact.relation, fact.index, asked.index, method, operation, case.target, neurons)
    words = [lm.tokenizer.decode([token]).strip() for token in (before.top, after.top)]
    correct = (before.top == asked.target, after.top == asked.target, before.top != after.top)
    other = (asked.fact.relation, asked.fact.index) if case.target == "other" else ("", -1)
    return (*place, before.probability, after.probability, *words, *correct, *other)
