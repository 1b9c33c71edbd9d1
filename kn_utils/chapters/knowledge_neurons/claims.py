"""Claims of section 4.2: how many knowledge neurons a fact has, in which layers, and whether facts share them.

Each function takes tables by name and a seed, and returns the conditions of a claim.
"""

import numpy as np
import pandas as pd

from kn_utils.chapters.knowledge_neurons.intersections import KINDS
from kn_utils.chapters.knowledge_neurons.numbers import neurons_per_fact, shared_neurons, tuning
from kn_utils.model.neurons import MAX_NEURONS, METHODS, MIN_NEURONS
from kn_utils.stats.layers import upper_third_difference, upper_third_interval
from kn_utils.stats.rule import CONTROL, SHOWN, Claim, Condition, Tables, intervals, reported
from kn_utils.store.runs import FACT_KEY, NothingToShowError, facts_with_prompts

WITHIN = KINDS.index("one relation")
BETWEEN = KINDS.index("different relations")
WITHIN_DIFFERENT_OBJECTS = KINDS.index("one relation, different objects")
BETWEEN_DIFFERENT_OBJECTS = KINDS.index("different relations, different objects")


def number_of_neurons(tables: Tables, seed: int) -> list[Condition]:
    """A fact has two to five knowledge neurons before the threshold is tuned to this range. Where the tuning ended is shown."""
    tuned = tuning(tables["refinement"], seed)
    before, after, p = tuned.drop(columns="relations").to_numpy()
    about = {"n": int(tuned.loc["p", "relations"]), "unit": "relations"}
    bounds = {"above": MIN_NEURONS, "below": MAX_NEURONS}
    paper = reported(float, "neurons_per_fact_attribution")
    return [
        Condition("neurons per fact before p is tuned, mean over relations", *before, **about, **bounds),
        Condition("neurons per fact after tuning, mean over relations", *after, **about, role=SHOWN, paper=paper),
        Condition("p at the end of tuning, mean over relations; it starts at 0.7", *p, **about, role=SHOWN),
    ]


def upper_layers(tables: Tables, seed: int) -> list[Condition]:
    """Most knowledge neurons are in the upper layers (figure 3), and more of them than of neurons picked by activation."""
    n_layers = int(tables["completeness"]["layer"].max()) + 1
    neurons = tables["knowledge_neurons"]
    ours = neurons[neurons["method"] == "attribution"]
    if ours.empty:
        raise NothingToShowError("no fact has knowledge neurons")
    facts = ours.groupby(FACT_KEY).ngroups
    return [
        Condition(
            "% of neurons in the upper third of the layers", *upper_third_interval(neurons, n_layers, seed), n=facts, above=50
        ),
        Condition(
            "% in the upper third, minus that of the most active neurons",
            *upper_third_difference(neurons, n_layers, seed),
            n=facts,
            above=0,
            role=CONTROL,
        ),
    ]


def shared_within(tables: Tables, seed: int) -> list[Condition]:
    """Two facts of one relation share more knowledge neurons than two facts of different relations."""
    facts = facts_with_prompts(tables["facts"])
    shared = shared_neurons(tables["knowledge_neurons"], facts)

    def statistic(rows: np.ndarray, groups: np.ndarray) -> list[float]:
        ours, _ = shared(rows, groups)
        return [ours[WITHIN] - ours[BETWEEN], ours[WITHIN_DIFFERENT_OBJECTS] - ours[BETWEEN_DIFFERENT_OBJECTS]]

    first, control = intervals(statistic, facts["relation"], seed)
    paper = reported(np.subtract, "shared_in_relation_attribution", "shared_between_relations_attribution")
    contrast = "neurons shared by two facts, one relation minus different ones"
    return [
        Condition(contrast, *first, n=len(facts), above=0, paper=paper),
        Condition(f"{contrast}, pairs with different objects only", *control, n=len(facts), above=0, role=CONTROL),
    ]


def exclusive(tables: Tables, seed: int) -> list[Condition]:
    """Facts of different relations share fewer knowledge neurons than neurons of the baseline."""
    neurons, facts = tables["knowledge_neurons"], facts_with_prompts(tables["facts"])
    shared = shared_neurons(neurons, facts)
    counts = neurons_per_fact(neurons, facts).pivot(index=FACT_KEY, columns="method", values="neurons")
    per_fact = counts.loc[pd.MultiIndex.from_frame(facts[FACT_KEY]), list(METHODS)].to_numpy(float)

    def statistic(rows: np.ndarray, groups: np.ndarray) -> list[float]:
        ours, baseline = shared(rows, groups)
        n_ours, n_baseline = per_fact[rows].mean(axis=0)
        in_proportion = ours[BETWEEN] / n_ours - baseline[BETWEEN] / n_baseline if n_ours and n_baseline else np.nan
        return [ours[BETWEEN] - baseline[BETWEEN], 100 * in_proportion, ours[WITHIN] - baseline[WITHIN]]

    between, in_proportion, within = intervals(statistic, facts["relation"], seed)
    papers = [
        reported(np.subtract, *(f"shared_{kind}_{method}" for method in METHODS)) for kind in ("between_relations", "in_relation")
    ]
    difference, control = "ours minus the baseline's", {"n": len(facts), "below": 0, "role": CONTROL}
    return [
        Condition(
            f"neurons shared by facts of different relations, {difference}", *between, n=len(facts), below=0, paper=papers[0]
        ),
        Condition("ours minus the baseline's, in % of the neurons of a fact", *in_proportion, **control),
        Condition(f"neurons shared by facts of one relation, {difference}", *within, **control, paper=papers[1]),
    ]


_FOUND = ("facts", "knowledge_neurons")
CLAIMS = (
    Claim(
        "4.2",
        "a fact has two to five knowledge neurons, also if no threshold is tuned to that",
        ("refinement",),
        number_of_neurons,
    ),
    Claim("4.2", "most of them lie in the upper layers", ("knowledge_neurons", "completeness"), upper_layers),
    Claim("4.2", "two facts of one relation share more of them than two facts of different relations", _FOUND, shared_within),
    Claim("4.2", "facts of different relations share fewer of them than of neurons picked by activation", _FOUND, exclusive),
)
