"""Step 7: relations erased by setting the value vectors of their most frequent knowledge neurons to zero (section 5.2)."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kn_utils.data.facts import Fact
from kn_utils.model.changed_answers import edited_answers
from kn_utils.model.forward import Answers, log_probability
from kn_utils.model.interventions import check_layers_are_separate, erasure, new_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import METHODS, Neuron, frequent_neurons, neuron_list, random_neurons
from kn_utils.model.prompts import Prompt, draw_facts, encode
from kn_utils.parameters import check
from kn_utils.store.runs import Run

WITH_RANDOM = (*METHODS, "random")
ERASED = 20  # neurons
DOSE_FACTS = 2  # facts of every other relation, for the evaluation of other numbers of neurons
DOSES = (1, 2, 5, 10, 20, 50, 100)  # numbers of erased neurons
DOSE_METHODS = ("attribution", "random")
RELATIONS_PER_PART = 12
_EVALUATED = {"relation": str, "method": str, "neurons": "int32", "evaluated": str}
_SCORES = {"prompts": "int32", "correct": "int32", "log_probability": "float64"}
_COLUMNS = {
    "erase_relation": _EVALUATED | {"phase": str, "facts": "int32"} | _SCORES,
    "erase_facts": _EVALUATED | {"fact": "int32", "phase": str} | _SCORES,
    "erase_dose": _EVALUATED | {"facts": "int32"} | _SCORES,
}


class Erasure(NamedTuple):
    """The neurons of a method that are erased together; `BEFORE`, without neurons, is the original model."""

    method: str
    neurons: tuple[Neuron, ...]


BEFORE = Erasure("", ())


def erase_relation(lm: LanguageModel, run: Run, relation: str, other_facts: int | None = 10) -> Path:
    """Make the tables `erase_relation`, `erase_facts` and `erase_dose` of a relation, and return the path of the first.

    A method's 20 most frequent neurons are erased; for "random", as many random neurons in the same layers as by integrated gradients. The
    evaluation takes all prompts of the run's facts of this relation, and of `other_facts` random facts of every other relation (None: all).

    * `erase_relation` has a row per method, evaluated relation and phase ("before" or "after"): the number of prompts, how many are
      answered right, and the sum of ln P(object).
    * `erase_facts` has the same for each fact.
    * `erase_dose` has the same for other numbers of neurons, evaluated on two facts of every other relation.

    Raises as `Run.made_with` for step 2, and ValueError if `other_facts` is out of range, no fact has a prompt, or the model's value
    vectors cannot be edited.
    """
    check(other_facts=other_facts)
    check_layers_are_separate(lm)
    run.made_with("knowledge_neurons", relation, lm)
    inputs = {"erased": ERASED, "doses": DOSES, "dose_facts": DOSE_FACTS, "other_facts": other_facts}
    inputs |= {"other_relations": run.dataset.digest_of_others(relation)}
    erasures = _erasures(lm, run, relation)
    prompts = _prompts(lm, run, relation, other_facts)
    few = _few_facts(run, relation, prompts)

    def work(part: Sequence[str]) -> dict[str, pd.DataFrame]:
        return _tables(lm, relation, [prompt for prompt in prompts if prompt.fact.relation in part], erasures, few)

    evaluated = list(dict.fromkeys(prompt.fact.relation for prompt in prompts))
    return run.make("erase_relation", relation, evaluated, work, inputs, lm, RELATIONS_PER_PART)


def _erasures(lm: LanguageModel, run: Run, relation: str) -> list[Erasure]:
    """Return all distinct erasures: 20 neurons of each method, and other numbers of neurons."""
    table = run.read("knowledge_neurons", [relation])
    ranked = {method: neuron_list(frequent_neurons(table[table["method"] == method])) for method in METHODS}
    full = [_erasure(lm, run, relation, method, ranked, ERASED) for method in WITH_RANDOM]
    doses = [_erasure(lm, run, relation, method, ranked, dose) for dose in DOSES for method in DOSE_METHODS]
    return list(dict.fromkeys([*full, *doses]))


def _erasure(lm: LanguageModel, run: Run, relation: str, method: str, ranked: dict[str, list[Neuron]], count: int) -> Erasure:
    """Return the erasure of a method's `count` most frequent neurons, or of as many random neurons in the same layers."""
    if method != "random":
        return Erasure(method, tuple(ranked[method][:count]))
    neurons = ranked["attribution"][:count]
    while neurons and 2 * max(Counter(layer for layer, _ in neurons).values()) > lm.n_neurons:  # too few other neurons in a layer
        neurons = neurons[:-1]
    return Erasure(method, tuple(random_neurons(neurons, lm.n_neurons, f"{run.seed}-erase-random-{relation}")))


def _prompts(lm: LanguageModel, run: Run, relation: str, other_facts: int | None) -> list[Prompt]:
    """Return all prompts of the run's facts of the relation, and of random facts of the other relations."""
    others = [name for name in run.dataset.relations if name != relation]
    drawn = [fact for name in others for fact in draw_facts(lm, run.dataset, name, other_facts, run.seed)]
    prompts = [item for item in encode(lm, run.dataset, [*run.facts(relation, lm), *drawn]) if isinstance(item, Prompt)]
    if not prompts:
        raise ValueError(f"no fact of {relation} or of other relations has a usable prompt")
    return prompts


def _few_facts(run: Run, relation: str, prompts: Sequence[Prompt]) -> set[Fact]:
    """Return the facts of the relation, and `DOSE_FACTS` random facts of every other relation."""
    by_relation: dict[str, list[Fact]] = {}
    for fact in dict.fromkeys(prompt.fact for prompt in prompts):
        by_relation.setdefault(fact.relation, []).append(fact)
    draw = random.Random(f"{run.seed}-doses-{relation}")
    drawn = [draw.sample(facts, min(DOSE_FACTS, len(facts))) for name, facts in by_relation.items() if name != relation]
    return {*by_relation.get(relation, []), *(fact for facts in drawn for fact in facts)}


def _tables(
    lm: LanguageModel, relation: str, prompts: Sequence[Prompt], erasures: Sequence[Erasure], few: set[Fact]
) -> dict[str, pd.DataFrame]:
    """Return the rows of all tables for some prompts. In `erasures`, the first of each method has `ERASED` neurons."""
    full = {method: next(item for item in erasures if item.method == method) for method in WITH_RANDOM}
    on_all = [BEFORE, *full.values()]
    on_few = [item for item in erasures if item not in on_all]
    scores = _scores(lm, prompts, on_all) | _scores(lm, [prompt for prompt in prompts if prompt.fact in few], on_few)
    rows: dict[str, list[pd.DataFrame]] = {name: [pd.DataFrame(columns=list(columns))] for name, columns in _COLUMNS.items()}
    for erased, by_fact in scores.items():
        place = {"method": erased.method, "neurons": len(erased.neurons)}
        if erased == BEFORE:
            places = [{"method": method, "neurons": len(item.neurons), "phase": "before"} for method, item in full.items()]
            doses = [{"method": method, "neurons": 0} for method in DOSE_METHODS]
        else:
            places = [place | {"phase": "after"}] if erased == full[erased.method] else []
            doses = [place] if erased.neurons and erased.method in DOSE_METHODS else []
        rows["erase_relation"] += _placed(_by_relation(by_fact), places)
        rows["erase_facts"] += _placed(by_fact, places)
        rows["erase_dose"] += _placed(_by_relation(by_fact[by_fact["of"].isin(few)]), doses)
    return {
        name: pd.concat(rows[name]).assign(relation=relation)[list(columns)].astype(columns) for name, columns in _COLUMNS.items()
    }


def _by_relation(by_fact: pd.DataFrame) -> pd.DataFrame:
    sums = by_fact.groupby("evaluated", sort=False)[list(_SCORES)].sum()
    return sums.assign(facts=by_fact["evaluated"].value_counts()).reset_index()


def _placed(scores: pd.DataFrame, places: Sequence[dict]) -> list[pd.DataFrame]:
    """Return the scores once with each of `places` as key columns."""
    return [scores.assign(**place) for place in places]


def _scores(lm: LanguageModel, prompts: Sequence[Prompt], erasures: Sequence[Erasure]) -> dict[Erasure, pd.DataFrame]:
    """Return a row per fact for each erasure: columns of (the `Fact`), evaluated (relation), fact (index) and those of `_SCORES`."""
    targets = np.array([prompt.target for prompt in prompts])
    edits = [new_vectors(lm, erased.neurons, erasure) for erased in erasures]
    every = edited_answers(lm, prompts, targets[:, None].tolist(), edits)
    return {erased: _by_fact(prompts, targets, answers) for erased, answers in zip(erasures, every, strict=True)}


def _by_fact(prompts: Sequence[Prompt], targets: np.ndarray, answers: Answers) -> pd.DataFrame:
    scores = {"prompts": 1, "correct": answers.top == targets, "log_probability": log_probability(answers.probability[:, 0])}
    sums = pd.DataFrame({"of": [prompt.fact for prompt in prompts]} | scores).groupby("of", sort=False).sum().reset_index()
    return sums.assign(evaluated=[fact.relation for fact in sums["of"]], fact=[fact.index for fact in sums["of"]])
