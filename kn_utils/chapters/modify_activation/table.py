"""Step 3: the object's probability before and after the knowledge neurons of a fact are suppressed or amplified."""

import random
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.forward import probabilities, prompts_at_once
from kn_utils.model.interventions import OPERATIONS, scaled_neurons
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import METHODS, Neuron, neurons_by_fact, random_neurons
from kn_utils.model.prefix import prompt_suffix
from kn_utils.model.prompts import Prompt, askable, group_by_length, stack
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

FactNeurons = dict[tuple[str, int], list[Neuron]]  # by method and fact


class Case(NamedTuple):
    """A prompt that is run while the neurons of `fact` are changed. `target` is "own" for a prompt of this fact, else "other"."""

    fact: Fact
    prompt: Prompt
    target: str


class Answer(NamedTuple):
    """The probability of the object and the most probable token."""

    probability: float
    top: int


def modify_activations(lm: LanguageModel, run: Run, relation: str) -> Path:
    """Make the table `modify_activation` of a relation, and return its path (section 4.3).

    It has a row per prompt, method, operation and target. The target is "own" for the prompts of the fact, and "other" for those of a
    random fact of another relation, if there is one. The methods say which neurons are changed:

    * "attribution" and "activation": the fact's knowledge neurons, and the baseline's.
    * "random": random neurons, as many in each layer as the fact has knowledge neurons.

    The other methods are for the fact's own prompts only:

    * "matched": neurons of the same layers and nearly the same mean activation that attribution names in no prompt of the fact: see
      `matched_neurons`. No rows if a layer has too few.
    * "same object": the knowledge neurons of another fact of the relation with the same object and another subject, drawn with the seed
      among those with neurons. `other_relation` and `other_fact` name it. No rows if there is none, or if the fact has no neurons.
    * "same templates" and "held-out templates": as many neurons as the fact has knowledge neurons, chosen on one half of the templates: see
      `neurons_by_half`. The first are chosen on the half that the prompt belongs to, the second on the other half. No rows if the fact has
      prompts in one half only.

    Where there are no neurons nothing is changed. `neurons` is the number of neurons changed, and `activation` the mean of their activations
    over the fact's own prompts (NaN for none). `log_odds_before` and `log_odds_after` are ln(P / (1 - P)) of the object; `probability_before`
    and `probability_after` are computed from them. Raises as `Run.made_with` for steps 1 and 2.
    """
    neurons = _neurons(lm, run, relation)

    def work(part: Sequence[Fact]) -> dict[str, pd.DataFrame]:
        return {"modify_activation": modified_answers(lm, run.dataset, part, neurons, run.seed)}

    inputs = {"other_relations": run.dataset.digest_of_others(relation)}
    return run.make("modify_activation", relation, run.facts(relation, lm), work, inputs, lm, FACTS_PER_PART)


def _neurons(lm: LanguageModel, run: Run, relation: str) -> FactNeurons:
    """Return the neurons of each method and fact."""
    table = run.read("knowledge_neurons", [relation])
    by_method = {method: neurons_by_fact(table[table["method"] == method]) for method in METHODS}
    by_method["random"] = {
        fact: random_neurons(neurons, lm.n_neurons, f"{run.seed}-random-{relation}-{fact}")
        for fact, neurons in by_method["attribution"].items()
    }
    return {(method, fact): neurons for method, facts in by_method.items() for fact, neurons in facts.items()}


def modified_answers(lm: LanguageModel, dataset: Dataset, facts: Sequence[Fact], neurons: FactNeurons, seed: int) -> pd.DataFrame:
    """Return the rows of `modify_activation` for facts of one relation."""
    cases = [case for fact in facts for case in _cases(lm, dataset, fact, seed)]
    changed = {method: [neurons.get((method, case.fact.index), []) for case in cases] for method in WITH_RANDOM}
    answers = _ask(lm, cases, changed)
    rows = [
        _row(lm, case, *change, len(scaled), found[None], found[change if scaled else None])
        for change in CHANGES
        for case, scaled, found in zip(cases, changed[change[0]], answers, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _cases(lm: LanguageModel, dataset: Dataset, fact: Fact, seed: int) -> list[Case]:
    """Return the fact's own prompts and those of a random fact of another relation; none if the fact has no prompt."""
    cases = [Case(fact, prompt, "own") for prompt in askable(lm, dataset, fact)]
    return cases + [Case(fact, prompt, "other") for prompt in _other_prompts(lm, dataset, fact, seed)] if cases else []


def _other_prompts(lm: LanguageModel, dataset: Dataset, fact: Fact, seed: int) -> list[Prompt]:
    """Return the prompts of a random fact of another relation."""
    draw = random.Random(f"{seed}-other-{fact.relation}-{fact.index}")
    relations = [relation for relation in dataset.relations if relation != fact.relation]
    for _ in range(CANDIDATES if relations else 0):
        if prompts := askable(lm, dataset, draw.choice(dataset.facts[draw.choice(relations)])):
            return prompts
    return []


def _ask(lm: LanguageModel, cases: Sequence[Case], neurons: dict[str, list[list[Neuron]]]) -> list[dict[tuple | None, Answer]]:
    """Return the answers to each case, by change; None is the unchanged model. Changes without neurons are left out."""
    found: list[dict] = [{} for _ in cases]
    prompts = [case.prompt for case in cases]
    for group in group_by_length(prompts, prompts_at_once):
        suffix = prompt_suffix(lm, stack([prompts[index] for index in group], lm.device))
        for change in (None, *CHANGES):
            scaled = [neurons[change[0]][index] if change else [] for index in group]
            if change and not any(scaled):
                continue
            with scaled_neurons(lm, suffix.position, scaled, change[1]) if change else nullcontext():
                every = probabilities(lm, suffix)
            targets = every.gather(1, suffix.target[:, None])[:, 0].tolist()
            for index, probability, top in zip(group, targets, every.argmax(1).tolist(), strict=True):
                found[index][change] = Answer(probability, top)
    return found


def _row(lm: LanguageModel, case: Case, method: str, operation: str, neurons: int, before: Answer, after: Answer) -> tuple:
    fact, prompt = case.fact, case.prompt
    place = (fact.relation, fact.index, prompt.index, method, operation, case.target, neurons)
    words = lm.words([before.top, after.top])
    correct = (before.top == prompt.target, after.top == prompt.target, before.top != after.top)
    other = (prompt.fact.relation, prompt.fact.index) if case.target == "other" else ("", -1)
    return (*place, before.probability, after.probability, *words, *correct, *other)
