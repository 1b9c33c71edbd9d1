"""Claims of section 4.2: how many knowledge neurons a fact has, in which layers, and whether facts share them.

Each function takes tables by name and a seed, and returns the conditions of a claim; the first is the claim itself.
"""

import numpy as np
import pandas as pd

from kn_utils.chapters.knowledge_neurons.intersections import KINDS
from kn_utils.chapters.knowledge_neurons.numbers import mean_neurons, neurons_per_fact, shared_neurons
from kn_utils.model.neurons import MAX_NEURONS, METHODS, MIN_NEURONS
from kn_utils.stats.layers import first_upper_layer, upper_third_interval
from kn_utils.stats.rule import Claim, Condition, Tables, half_the_paper, intervals, reported
from kn_utils.store.runs import FACT_KEY, NothingToShowError, asked_facts

WITHIN = KINDS.index("one relation")
BETWEEN = KINDS.index("different relations")
WITHIN_DIFFERENT_OBJECTS = KINDS.index("one relation, different objects")
BETWEEN_DIFFERENT_OBJECTS = KINDS.index("different relations, different objects")


def number_of_neurons(tables: Tables, seed: int) -> list[Condition]:
    """A fact has two to five knowledge neurons; control: also before the threshold is tuned to this range."""
    counts = neurons_per_fact(tables["knowledge_neurons"], asked_facts(tables["facts"]))
    tuned = mean_neurons(counts, seed).loc["attribution", ["mean", "low", "high"]].tolist()
    rounds = tables["refinement"].query("method == 'attribution'")
    first = rounds.groupby("relation")["mean_neurons"].first().to_numpy()
    [untuned] = intervals(lambda rows: [first[rows].mean()], np.zeros(len(first)), seed)
    bounds = {"above": MIN_NEURONS, "below": MAX_NEURONS}
    paper = reported(float, "neurons_per_fact_attribution")
    return [
        Condition("neurons per fact", *tuned, counts.groupby(FACT_KEY).ngroups, **bounds, paper=paper),
        Condition("neurons per fact before p is tuned per relation", *untuned, len(first), "relations", **bounds),
    ]


def upper_layers(tables: Tables, seed: int) -> list[Condition]:
    """Most knowledge neurons are in the upper layers (figure 3)."""
    n_layers = int(tables["completeness"]["layer"].max()) + 1
    neurons = tables["knowledge_neurons"].query("method == 'attribution'")
    if neurons.empty:
        raise NothingToShowError("no fact has knowledge neurons")
    share, facts = upper_third_interval(neurons, n_layers, seed), neurons.groupby(FACT_KEY).ngroups
    chance = 100 * (n_layers - first_upper_layer(n_layers)) / n_layers
    return [
        Condition("% of neurons in the upper third of the layers, against chance", *share, facts, above=chance),
        Condition("% of neurons in the upper third of the layers, against half", *share, facts, above=50),
    ]


def shared_within(tables: Tables, seed: int) -> list[Condition]:
    """Two facts of one relation share more knowledge neurons than two facts of different relations."""
    facts = asked_facts(tables["facts"])
    shared = shared_neurons(tables["knowledge_neurons"], facts)

    def statistic(rows: np.ndarray) -> list[float]:
        ours, _ = shared(rows)
        return [ours[WITHIN] - ours[BETWEEN], ours[WITHIN_DIFFERENT_OBJECTS] - ours[BETWEEN_DIFFERENT_OBJECTS]]

    first, control = intervals(statistic, facts["relation"], seed)
    paper = reported(np.subtract, "shared_in_relation_attribution", "shared_between_relations_attribution")
    contrast = "neurons shared by two facts, one relation minus different ones"
    claim = Condition(contrast, *first, len(facts), above=0, paper=paper)
    other_objects = Condition(f"{contrast}, pairs with different objects only", *control, len(facts), above=0)
    return [claim, other_objects, half_the_paper(claim)]


def exclusive(tables: Tables, seed: int) -> list[Condition]:
    """Facts of different relations share fewer knowledge neurons than neurons of the baseline."""
    neurons, facts = tables["knowledge_neurons"], asked_facts(tables["facts"])
    shared = shared_neurons(neurons, facts)
    counts = neurons_per_fact(neurons, facts).pivot(index=FACT_KEY, columns="method", values="neurons")
    per_fact = counts.loc[pd.MultiIndex.from_frame(facts[FACT_KEY]), list(METHODS)].to_numpy(float)

    def statistic(rows: np.ndarray) -> list[float]:
        ours, baseline = shared(rows)
        n_ours, n_baseline = per_fact[rows].mean(axis=0)
        in_proportion = ours[BETWEEN] / n_ours - baseline[BETWEEN] / n_baseline if n_ours and n_baseline else np.nan
        return [ours[BETWEEN] - baseline[BETWEEN], 100 * in_proportion, ours[WITHIN] - baseline[WITHIN]]

    between, in_proportion, within = intervals(statistic, facts["relation"], seed)
    papers = [
        reported(np.subtract, *(f"shared_{kind}_{method}" for method in METHODS)) for kind in ("between_relations", "in_relation")
    ]
    n, difference = len(facts), "ours minus the baseline's"
    claim = Condition(f"neurons shared by facts of different relations, {difference}", *between, n, below=0, paper=papers[0])
    return [
        claim,
        Condition("the same, in % of the neurons of a fact", *in_proportion, n, below=0),
        Condition(f"neurons shared by facts of one relation, {difference}", *within, n, below=0, paper=papers[1]),
        half_the_paper(claim),
    ]


_FOUND = ("facts", "knowledge_neurons")
NUMBER = Claim(
    "4.2", "a fact has two to five knowledge neurons (the threshold is tuned to that)", (*_FOUND, "refinement"), number_of_neurons
)
CLAIMS = (
    NUMBER,
    Claim("4.2", "most of them lie in the upper layers", ("knowledge_neurons", "completeness"), upper_layers),
    Claim("4.2", "two facts of one relation share more of them than two facts of different relations", _FOUND, shared_within),
    Claim("4.2", "facts of different relations share fewer of them than of neurons picked by activation", _FOUND, exclusive),
)
