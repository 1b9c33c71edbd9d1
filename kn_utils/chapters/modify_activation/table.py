"""Step 3: the object's probability before and after the knowledge neurons of a fact are suppressed or amplified."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.changed_answers import Answer, changed_answers
from kn_utils.model.controls import matched_neurons, mean_activations, named_neurons, neurons_by_half, template_halves
from kn_utils.model.forward import probability_of
from kn_utils.model.interventions import OPERATIONS
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import METHODS, Neuron, neurons_by_fact, random_neurons
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.store.runs import Run

WITH_RANDOM = (*METHODS, "random")  # for both targets
CONTROLS = ("matched", "same object", "same templates", "held-out templates")  # for the fact's own prompts
FACTS_PER_PART = 32
CANDIDATES = 100  # how many random facts of other relations are tried until one has a prompt
_COLUMNS = {"relation": str, "fact": "int32", "prompt": "int32", "method": str, "operation": str, "target": str}
_COLUMNS |= {"neurons": "int32", "activation": "float32", "probability_before": "float64", "probability_after": "float64"}
_COLUMNS |= {"log_odds_before": "float32", "log_odds_after": "float32"}
_COLUMNS |= {"answer_before": str, "answer_after": str, "correct_before": bool, "correct_after": bool}
_COLUMNS |= {"answer_changed": bool, "other_relation": str, "other_fact": "int32"}

Neurons = tuple[Neuron, ...]  # sorted


@dataclass(frozen=True)
class Chosen:
    """What is known of the neurons of a relation's facts before the model is run.

    * `neurons`: those of each method of `WITH_RANDOM` and fact.
    * `named`: those that attribution names in any prompt of a fact.
    * `halves`: the half, 0 or 1, of each template; `by_half`: the neurons that each fact and half choose.
    * `partners`: for a fact, another fact with the same object.

    All but `neurons` are for the `CONTROLS`, and only of facts with knowledge neurons. A control that lacks its part has no rows.
    """

    neurons: dict[tuple[str, int], list[Neuron]]
    named: dict[int, frozenset[Neuron]] = field(default_factory=dict)
    halves: dict[int, int] = field(default_factory=dict)
    by_half: dict[tuple[int, int], list[Neuron]] = field(default_factory=dict)
    partners: dict[int, int] = field(default_factory=dict)

    def of(self, method: str, fact: int) -> list[Neuron]:
        """Return the neurons of a method and fact; none if the fact has none."""
        return self.neurons.get((method, fact), [])


class Case(NamedTuple):
    """A prompt that is run while neurons of `fact` are changed: those of every method that has rows for it.

    `target` is "own" for a prompt of this fact, else "other". `activation` is the mean activation of the neurons of each method.
    """

    fact: Fact
    prompt: Prompt
    target: str
    neurons: dict[str, Neurons]
    activation: dict[str, float]


def modify_activations(lm: LanguageModel, run: Run, relation: str) -> Path:
    """Make the table `modify_activation` of a relation, and return its path (section 4.3).

    It has a row per prompt, method, operation and target. The target is "own" for the prompts of the fact, and "other" for those of a
    random fact of another relation, if there is one. The methods say which neurons are changed:

    * "attribution" and "activation": the fact's knowledge neurons, and the baseline's.
    * "random": random neurons, as many in each layer as the fact has knowledge neurons.

    The other methods are for the own prompts of facts with knowledge neurons only:

    * "matched": neurons of the same layers and nearly the same mean activation that attribution names in no prompt of the fact: see
      `matched_neurons`. No rows if a layer has too few.
    * "same object": the knowledge neurons of another fact of the relation with the same object and another subject, drawn with the seed
      among those with neurons. `other_relation` and `other_fact` name it. No rows if there is none.
    * "same templates" and "held-out templates": as many neurons as the fact has knowledge neurons, chosen on one half of the templates: see
      `neurons_by_half`. The first are chosen on the half that the prompt belongs to, the second on the other half. No rows if the fact has
      prompts in one half only.

    Where a fact has no neurons nothing is changed. `neurons` is the number of neurons changed; `activation` is the mean of their
    activations over the fact's own prompts, NaN for none. `log_odds_before` and `log_odds_after` are ln(P / (1 - P)) of the object;
    `probability_before` and `probability_after` are computed from them. Raises as `Run.made_with` for steps 1 and 2.
    """
    chosen = _chosen(lm, run, relation)

    def work(part: Sequence[Fact]) -> dict[str, pd.DataFrame]:
        return {"modify_activation": modified_answers(lm, run.dataset, part, chosen, run.seed)}

    inputs = {"other_relations": run.dataset.digest_of_others(relation)}
    return run.make("modify_activation", relation, run.facts(relation, lm), work, inputs, lm, FACTS_PER_PART)


def _chosen(lm: LanguageModel, run: Run, relation: str) -> Chosen:
    table, scores = run.read("knowledge_neurons", [relation]), run.read("attribution", [relation])
    by_method = {method: neurons_by_fact(table[table["method"] == method]) for method in METHODS}
    own = by_method["attribution"]
    by_method["random"] = {
        fact: random_neurons(neurons, lm.n_neurons, f"{run.seed}-random-{relation}-{fact}") for fact, neurons in own.items()
    }
    scores, halves = scores[scores["fact"].isin(own)], template_halves(lm, run.dataset, relation)
    return Chosen(
        {(method, fact): neurons for method, facts in by_method.items() for fact, neurons in facts.items()},
        named_neurons(scores),
        halves,
        neurons_by_half(scores, halves, {fact: len(neurons) for fact, neurons in own.items()}),
        _partners([run.dataset.facts[relation][fact] for fact in own], run.seed),
    )


def _partners(facts: Sequence[Fact], seed: int) -> dict[int, int]:
    """Return for each fact a random one of these facts with the same object and another subject, if there is one."""
    partners = {}
    for fact in facts:
        others = [other.index for other in facts if other.object == fact.object and other.subject != fact.subject]
        if others:
            partners[fact.index] = random.Random(f"{seed}-same-object-{fact.relation}-{fact.index}").choice(others)
    return partners


def modified_answers(lm: LanguageModel, dataset: Dataset, facts: Sequence[Fact], chosen: Chosen, seed: int) -> pd.DataFrame:
    """Return the rows of `modify_activation` for facts of one relation."""
    cases = _cases(lm, dataset, facts, chosen, seed)
    answers, word = _answers(lm, cases), cache(lambda token: lm.words([token])[0])
    rows = [
        _row(case, chosen, method, operation, found, word)
        for method in (*WITH_RANDOM, *CONTROLS)
        for operation in OPERATIONS
        for case, found in zip(cases, answers, strict=True)
        if method in case.neurons
    ]
    table = pd.DataFrame(rows, columns=[name for name in _COLUMNS if not name.startswith("probability")])
    for when in ("before", "after"):  # rounded first, so that the columns of a stored table agree
        table[f"probability_{when}"] = probability_of(table[f"log_odds_{when}"].astype("float32"))
    return table[list(_COLUMNS)].astype(_COLUMNS)


def _cases(lm: LanguageModel, dataset: Dataset, facts: Sequence[Fact], chosen: Chosen, seed: int) -> list[Case]:
    """Return the own prompts of each fact and those of a random fact of another relation; none if the fact has no prompt."""
    own = {fact: prompts for fact in facts if (prompts := usable_prompts(lm, dataset, fact))}
    activations = mean_activations(lm, [prompt for prompts in own.values() for prompt in prompts])
    cases = []
    for fact, prompts in own.items():
        every = {method: chosen.of(method, fact.index) for method in WITH_RANDOM}
        controls = _controls(chosen, fact, prompts, activations[fact])
        asked = [(prompt, "own", every | controls[prompt.index]) for prompt in prompts]
        asked += [(prompt, "other", every) for prompt in _other_prompts(lm, dataset, fact, seed)]
        for prompt, target, neurons in asked:
            means = {method: _mean(activations[fact], of_method) for method, of_method in neurons.items()}
            cases.append(Case(fact, prompt, target, {name: tuple(sorted(found)) for name, found in neurons.items()}, means))
    return cases


def _controls(
    chosen: Chosen, fact: Fact, prompts: Sequence[Prompt], activation: np.ndarray
) -> dict[int, dict[str, list[Neuron]]]:
    """Return for each prompt the neurons of those of the `CONTROLS` that have rows for it."""
    index, shared = fact.index, {}
    if index in chosen.named:
        matched = matched_neurons(chosen.of("attribution", index), activation, chosen.named[index])
        shared |= {"matched": matched} if matched is not None else {}
    if index in chosen.partners:
        shared["same object"] = chosen.of("attribution", chosen.partners[index])
    by_half = [chosen.by_half.get((index, half)) for half in (0, 1)]
    if None in by_half:
        return {prompt.index: shared for prompt in prompts}
    of_template = {template: (by_half[half], by_half[1 - half]) for template, half in chosen.halves.items()}
    names = ("same templates", "held-out templates")
    return {prompt.index: shared | dict(zip(names, of_template[prompt.index], strict=True)) for prompt in prompts}


def _mean(activation: np.ndarray, neurons: Sequence[Neuron]) -> float:
    """Return the mean activation of neurons, given all activations [layers, neurons]; NaN for no neurons."""
    return float(np.mean([activation[neuron] for neuron in neurons])) if neurons else np.nan


def _other_prompts(lm: LanguageModel, dataset: Dataset, fact: Fact, seed: int) -> list[Prompt]:
    """Return the prompts of a random fact of another relation."""
    draw = random.Random(f"{seed}-other-{fact.relation}-{fact.index}")
    relations = [relation for relation in dataset.relations if relation != fact.relation]
    for _ in range(CANDIDATES if relations else 0):
        if prompts := usable_prompts(lm, dataset, draw.choice(dataset.facts[draw.choice(relations)])):
            return prompts
    return []


def _answers(lm: LanguageModel, cases: Sequence[Case]) -> list[dict[tuple[str, Neurons], Answer]]:
    """Return the answers to the prompt of each case by operation and neurons; without neurons it is the unchanged model's.

    A prompt is run once for each operation and set of neurons, however many methods chose this set.
    """
    sets = [[*filter(None, dict.fromkeys(case.neurons.values()))] for case in cases]
    rounds = [("suppress", [[()]] * len(cases)), *((operation, sets) for operation in OPERATIONS)]
    unchanged, *changed = changed_answers(lm, [case.prompt for case in cases], rounds)
    found = [{(operation, ()): answer for operation in OPERATIONS} for [answer] in unchanged]
    for operation, answers in zip(OPERATIONS, changed, strict=True):
        for of_case, some, of_sets in zip(found, sets, answers, strict=True):
            of_case |= {(operation, neurons): answer for neurons, answer in zip(some, of_sets, strict=True)}
    return found


def _row(
    case: Case,
    chosen: Chosen,
    method: str,
    operation: str,
    found: dict[tuple[str, Neurons], Answer],
    word: Callable[[int], str],
) -> tuple:
    fact, prompt, neurons = case.fact, case.prompt, case.neurons[method]
    before, after = found[operation, ()], found[operation, neurons]
    place = (fact.relation, fact.index, prompt.index, method, operation, case.target, len(neurons), case.activation[method])
    numbers = (before.log_odds, after.log_odds, word(before.top), word(after.top))
    correct = (before.top == prompt.target, after.top == prompt.target, before.top != after.top)
    if case.target == "other":
        other = (prompt.fact.relation, prompt.fact.index)
    else:
        other = (fact.relation, chosen.partners[fact.index]) if method == "same object" else ("", -1)
    return (*place, *numbers, *correct, *other)
