"""What is claimed of knowledge neurons: how many, where, and who shares them (section 4.2).

Each function takes tables by name and a seed, and returns the claim's conditions, the claim itself first.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from kn_utils.chapters.knowledge_neurons.intersections import KINDS, SharedNeurons
from kn_utils.chapters.knowledge_neurons.numbers import neurons_per_fact
from kn_utils.model.neurons import MAX_NEURONS, MIN_NEURONS
from kn_utils.stats.layers import first_upper_layer
from kn_utils.stats.rule import Condition, NoDataError, Tables, half_the_paper, intervals, reported
from kn_utils.store.runs import FACT_KEY

IN_ONE = KINDS.index("one relation")
BETWEEN = KINDS.index("different relations")
IN_ONE_DIFFERENT_OBJECTS = KINDS.index("one relation, different objects")
BETWEEN_DIFFERENT_OBJECTS = KINDS.index("different relations, different objects")


def asked(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts that the model could be asked."""
    found = facts[facts["prompts"] > 0].reset_index(drop=True)
    if found.empty:
        raise NoDataError(f"none of the {len(facts)} facts could be asked")
    return found


def of_method(table: pd.DataFrame, method: str = "attribution") -> pd.DataFrame:
    """Return the rows of one method."""
    return table[table["method"] == method]


def number_of_neurons(tables: Tables, seed: int) -> list[Condition]:
    """A fact has two to five knowledge neurons, and would have them before the threshold is tuned to that (section 4.2)."""
    counts = of_method(neurons_per_fact(tables["knowledge_neurons"], asked(tables["facts"])))
    values = counts["neurons"].to_numpy()
    [tuned] = intervals(lambda rows: [values[rows].mean()], counts["relation"], seed)
    first = of_method(tables["refinement"]).groupby("relation")["mean_neurons"].first().to_numpy()
    [untuned] = intervals(lambda rows: [first[rows].mean()], np.zeros(len(first)), seed)
    bounds = {"above": MIN_NEURONS, "below": MAX_NEURONS}
    paper = reported(float, "neurons_per_fact_attribution")
    return [
        Condition("neurons per fact", *tuned, len(values), **bounds, paper=paper),
        Condition("neurons per fact before p is tuned per relation", *untuned, len(first), "relations", **bounds),
    ]


def upper_layers(tables: Tables, seed: int) -> list[Condition]:
    """Most knowledge neurons lie in the upper layers (section 4.2); the paper shows it in a figure."""
    n_layers = int(tables["completeness"]["layer"].max()) + 1
    lowest = first_upper_layer(n_layers)
    neurons = of_method(tables["knowledge_neurons"])
    if neurons.empty:
        raise NoDataError("no fact has knowledge neurons")
    upper = (neurons["layer"] >= lowest).groupby([neurons[name] for name in FACT_KEY]).agg(["sum", "size"])
    counts, relations = upper.to_numpy(float), upper.index.get_level_values("relation")
    [share] = intervals(lambda rows: [100 * np.divide(*counts[rows].sum(axis=0))], relations, seed)
    chance = 100 * (n_layers - lowest) / n_layers
    return [
        Condition("% of neurons in the upper third of the layers, against chance", *share, len(upper), above=chance),
        Condition("% of neurons in the upper third of the layers, against half", *share, len(upper), above=50),
    ]


def shared(tables: Tables) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a function from row numbers of facts to the neurons shared by two of them, by kind of pair: (ours, the baseline's)."""
    facts = asked(tables["facts"])
    pairs = [SharedNeurons(facts, of_method(tables["knowledge_neurons"], method)) for method in ("attribution", "activation")]
    return lambda rows: tuple(own.means(rows) for own in pairs)


def shared_within(tables: Tables, seed: int) -> list[Condition]:
    """Two facts of one relation share more knowledge neurons than two of different relations (section 4.2)."""
    facts, means = asked(tables["facts"]), shared(tables)

    def statistic(rows: np.ndarray) -> list[float]:
        ours, _ = means(rows)
        return [ours[IN_ONE] - ours[BETWEEN], ours[IN_ONE_DIFFERENT_OBJECTS] - ours[BETWEEN_DIFFERENT_OBJECTS]]

    first, control = intervals(statistic, facts["relation"], seed)
    paper = reported(np.subtract, "shared_in_relation_attribution", "shared_between_relations_attribution")
    says = "neurons shared by two facts, one relation minus different ones"
    claim = Condition(says, *first, len(facts), above=0, paper=paper)
    return [claim, Condition(f"{says}, pairs with different objects only", *control, len(facts), above=0), half_the_paper(claim)]


def exclusive(tables: Tables, seed: int) -> list[Condition]:
    """Facts share fewer knowledge neurons than neurons by the baseline (section 4.2)."""
    facts, means = asked(tables["facts"]), shared(tables)
    counts = neurons_per_fact(tables["knowledge_neurons"], facts).pivot(index=FACT_KEY, columns="method", values="neurons")
    numbers = counts.reindex(pd.MultiIndex.from_frame(facts[FACT_KEY]))[["attribution", "activation"]].to_numpy(float)

    def statistic(rows: np.ndarray) -> list[float]:
        ours, baseline = means(rows)
        own, other = numbers[rows].mean(axis=0)
        in_proportion = ours[BETWEEN] / own - baseline[BETWEEN] / other if own and other else np.nan
        return [ours[BETWEEN] - baseline[BETWEEN], 100 * in_proportion, ours[IN_ONE] - baseline[IN_ONE]]

    between, in_proportion, within = intervals(statistic, facts["relation"], seed)
    ids = [
        [f"shared_{kind}_{method}" for method in ("attribution", "activation")] for kind in ("between_relations", "in_relation")
    ]
    paper_between, paper_within = (reported(np.subtract, *pair) for pair in ids)
    n = len(facts)
    claim = Condition(
        "shared by facts of different relations, ours minus the baseline's", *between, n, below=0, paper=paper_between
    )
    return [
        claim,
        Condition("the same as % of a fact's neurons", *in_proportion, n, below=0),
        Condition("shared by facts of one relation, ours minus the baseline's", *within, n, below=0, paper=paper_within),
        half_the_paper(claim),
    ]
