"""What notebook 02 shows of step 2's tables."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from kn_utils.chapters.knowledge_neurons.intersections import KINDS, SharedNeurons
from kn_utils.model.neurons import (
    MAX_NEURONS,
    METHODS,
    MIN_NEURONS,
    moved_share,
    neuron_name,
    relation_neurons,
    shared,
    strong,
)
from kn_utils.stats.intervals import bootstrap_interval
from kn_utils.store.runs import FACT_KEY


def last_rounds(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return by method where tuning p ended: relations, how many of them reached the aim, and the mean of the rounds and of the last p.

    `rounds` is step 2's table `refinement`.
    """
    last = rounds.groupby(["method", "relation"]).last()
    last["reached"] = last["mean_neurons"].between(MIN_NEURONS, MAX_NEURONS)
    sums = {
        "relations": ("reached", "size"),
        "reached": ("reached", "sum"),
        "rounds": ("round", "mean"),
        "p": ("prompt_share", "mean"),
    }
    return last.groupby("method").agg(**sums).loc[list(METHODS)]


def neurons_per_fact(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return how many neurons each fact has by each method, 0 included; columns relation, fact, method, neurons."""
    counts = neurons.groupby(["method", *FACT_KEY]).size()
    places = [(method, *fact) for method in METHODS for fact in facts[FACT_KEY].itertuples(index=False)]
    index = pd.MultiIndex.from_tuples(places, names=["method", *FACT_KEY])
    return counts.reindex(index, fill_value=0).rename("neurons").reset_index()


def mean_neurons(counts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean number of neurons per fact and its interval by method; columns mean, low, high, facts, without.

    `counts` is what `neurons_per_fact` returns.
    """
    rows = {}
    for method, own in counts.groupby("method"):
        values = own["neurons"].to_numpy()
        interval = bootstrap_interval(lambda rows, values=values: values[rows].mean(), own["relation"], seed)
        rows[method] = (*map(float, interval), len(own), int((values == 0).sum()))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high", "facts", "without"]).loc[list(METHODS)]


def shared_neurons(neurons: pd.DataFrame, facts: pd.DataFrame) -> Callable[[np.ndarray | None], np.ndarray]:
    """Return a function from row numbers of facts to the mean number of neurons that two of them share, [methods, kinds of pairs]."""
    pairs = [SharedNeurons(facts, neurons[neurons["method"] == method]) for method in METHODS]
    return lambda rows=None: np.stack([of_method.means(rows) for of_method in pairs])


def shared_by_pairs(neurons: pd.DataFrame, facts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean number of neurons two facts share, by kind of pair and method; columns method, kind, mean, low, high, pairs.

    Exact over all pairs; the interval resamples facts.
    """
    found = bootstrap_interval(shared_neurons(neurons, facts), facts["relation"], seed)
    pairs = SharedNeurons(facts, neurons).pairs().astype(int)
    index = pd.MultiIndex.from_product([METHODS, KINDS], names=["method", "kind"])
    columns = dict(zip(("mean", "low", "high"), map(np.ravel, found), strict=True))
    return pd.DataFrame(columns | {"pairs": np.tile(pairs, len(METHODS))}, index=index).reset_index()


def threshold_grid(scores: pd.DataFrame, facts: pd.DataFrame, score_shares: Sequence[float], prompt_share: float) -> pd.DataFrame:
    """Return what other thresholds would give, without refinement rounds.

    `scores` is step 1's table of one method. p goes from `prompt_share` up and down by up to four of the rounds' steps, two at a time.
    Columns t, p, neurons (per fact), one_relation and different_relations (neurons shared by two facts).
    """
    prompts = {relation: own.set_index("fact")["prompts"] for relation, own in facts.groupby("relation")}
    by_relation = dict(list(scores.groupby("relation")))
    shares = [p for p in (moved_share(prompt_share, steps) for steps in (-4, -2, 0, 2, 4)) if 0 <= round(p, 2) <= 1]
    rows = []
    for t in score_shares:
        candidates = {relation: strong(own, t) for relation, own in by_relation.items()}
        for p in shares:
            found = [shared(own, prompts[relation], p).assign(relation=relation) for relation, own in candidates.items()]
            neurons = pd.concat(found, ignore_index=True)
            means = dict(zip(KINDS, SharedNeurons(facts, neurons).means(), strict=True))
            rows.append((t, round(p, 2), len(neurons) / len(facts), means["one relation"], means["different relations"]))
    return pd.DataFrame(rows, columns=["t", "p", "neurons", "one_relation", "different_relations"])


def widest_neurons(neurons: pd.DataFrame, facts: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """Return the n neurons of one method that the most facts have.

    Columns neuron ("layer.index", layers from 1), facts, share (% of facts), relations, objects (the most frequent ones, with how often).
    """
    joined = neurons.merge(facts, on=FACT_KEY)
    rows = []
    for (layer, neuron), own in joined.groupby(["layer", "neuron"]):
        objects = ", ".join(f"{name} ({count})" for name, count in own["object"].value_counts().head(4).items())
        rows.append((neuron_name(layer, neuron), len(own), 100 * len(own) / len(facts), own["relation"].nunique(), objects))
    table = pd.DataFrame(rows, columns=["neuron", "facts", "share", "relations", "objects"])
    return table.sort_values(["facts", "neuron"], ascending=[False, True], ignore_index=True).head(n)


def relation_neuron_counts(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return by method and relation how many neurons at least a tenth of its facts have, and the share (%) that have the most frequent.

    Columns method, relation, facts, relation_neurons, widest; relations without neurons have zeros.
    """
    rows = []
    for relation, size in facts.groupby("relation").size().items():
        for method in METHODS:
            own = neurons[(neurons["relation"] == relation) & (neurons["method"] == method)]
            widest = own.groupby(["layer", "neuron"]).size().max() if len(own) else 0
            rows.append((method, relation, size, len(relation_neurons(own, size)), 100 * widest / size))
    return pd.DataFrame(rows, columns=["method", "relation", "facts", "relation_neurons", "widest"])
