"""Results for groups of facts: by whether the model answers them right, and by whether its training held them out."""

from collections.abc import Sequence
from functools import partial

import pandas as pd

from kn_utils.chapters.knowledge_neurons.numbers import neurons_per_fact
from kn_utils.chapters.modify_activation.numbers import own_changes
from kn_utils.data.held_out import held_out_facts
from kn_utils.model.interventions import OPERATIONS
from kn_utils.report.judge import Read, made_for, read_once
from kn_utils.stats.intervals import NOT_NEGATIVE, with_interval
from kn_utils.stats.means import mean_over_relations, over_facts
from kn_utils.store.runs import FACT_KEY

NEURONS, CHANGE = "neurons per fact", "{}, change of log-odds"
LEFT_OUT_AND_WRONG = "left out of training and never answered right"

Facts = set[tuple[str, int]]


def by_knowledge(model: str, read: Read, relations: Sequence[str], seed: int) -> pd.DataFrame:
    """Return a row per group of facts: numbers of facts and prompts, share of right answers, and results with intervals over relations.

    The groups are all facts with prompts; facts with at least one right answer, and the others; and for the model `starter`, facts held out
    of its training, those of them without a right answer, and the others. The results are neurons per fact and the changes of log-odds. A
    result without a table is "–". The table is empty if step 1 has not been run. For `read` and `relations` see `judge`.
    """
    read = read_once(read)
    if not made_for(read, ["facts"], relations):
        return pd.DataFrame()
    facts, prompts = read("facts", relations), read("prompts", relations)
    groups = groups_of_facts(model, facts[facts["prompts"] > 0], prompts)
    results = _results(read, relations)
    rows = {name: _measured(chosen, prompts, results, seed) for name, chosen in groups.items() if chosen}
    return pd.DataFrame.from_dict(rows, orient="index")


def groups_of_facts(model: str, facts: pd.DataFrame, prompts: pd.DataFrame) -> dict[str, Facts]:
    """Return the facts of each group, by its name; `facts` and `prompts` are step 1's tables."""
    every = set(facts[FACT_KEY].itertuples(index=False, name=None))
    known = set(prompts.loc[prompts["correct"], FACT_KEY].itertuples(index=False, name=None))
    groups = {"all": every, "answered right at least once": known, "never answered right": every - known}
    if model != "starter":
        return groups
    left_out = held_out_facts(facts)
    return groups | {
        "not left out of training": every - left_out,
        "left out of training": left_out,
        LEFT_OUT_AND_WRONG: left_out - known,
    }


def _results(read: Read, relations: Sequence[str]) -> dict[str, pd.Series]:
    """Return a value of each fact for every result that was made: the number of neurons, and the changes of log-odds."""
    results = {}
    if made := made_for(read, ["knowledge_neurons"], relations):
        counts = neurons_per_fact(read("knowledge_neurons", made), read("facts", made))
        results[NEURONS] = counts[counts["method"] == "attribution"].set_index(FACT_KEY)["neurons"]
    if made := made_for(read, ["modify_activation"], relations):
        table = read("modify_activation", made)
        ours = table[table["method"] == "attribution"]
        results |= {CHANGE.format(operation): own_changes(ours, operation)["attribution"] for operation in OPERATIONS}
    return results


def _measured(chosen: Facts, prompts: pd.DataFrame, results: dict[str, pd.Series], seed: int) -> dict[str, str]:
    wanted = pd.MultiIndex.from_tuples(sorted(chosen), names=FACT_KEY)
    asked = prompts[pd.MultiIndex.from_frame(prompts[FACT_KEY]).isin(wanted)]
    row = {"facts": f"{len(chosen):,}", "prompts": f"{len(asked):,}", "answered right": f"{100 * asked['correct'].mean():.1f} %"}
    for name in (NEURONS, *map(CHANGE.format, OPERATIONS)):
        values = results[name][results[name].index.isin(wanted)] if name in results else pd.Series(dtype=float)
        mean = partial(over_facts, limits=NOT_NEGATIVE) if name == NEURONS else mean_over_relations
        row[name] = with_interval(*mean(values, seed)) if len(values) else "–"
    return row
