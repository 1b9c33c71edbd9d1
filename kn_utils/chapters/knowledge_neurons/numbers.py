"""What notebook 02 shows of step 2's tables."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from kn_utils.chapters.knowledge_neurons.intersections import KINDS, SharedNeurons
from kn_utils.chapters.knowledge_neurons.thresholds import moved_share, shared, strong
from kn_utils.model.neurons import MAX_NEURONS, METHODS, MIN_NEURONS, MIN_PROMPTS, RELATION_SHARE, neuron_name
from kn_utils.stats.intervals import bootstrap_interval, group_means, with_interval
from kn_utils.store.runs import FACT_KEY


def last_rounds(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return by method where tuning p ended: relations, the mean of the rounds and of the last p, and which relations missed the aim.

    `rounds` is step 2's table `refinement`.
    """
    last = rounds.groupby(["method", "relation"], sort=False).last().reset_index()
    last["missed"] = last["relation"].where(~last["mean_neurons"].between(MIN_NEURONS, MAX_NEURONS), "")
    methods = last.groupby("method")
    columns = {"relations": ("relation", "size"), "rounds": ("round", "mean"), "p": ("prompt_share", "mean")}
    return methods.agg(**columns, missed=("missed", lambda names: ", ".join(filter(None, names)) or "none")).loc[list(METHODS)]


def neurons_per_fact(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return how many neurons each fact has by each method, 0 included; columns relation, fact, method, neurons."""
    counts = neurons.groupby(["method", *FACT_KEY]).size()
    places = [(method, *fact) for method in METHODS for fact in facts[FACT_KEY].itertuples(index=False)]
    index = pd.MultiIndex.from_tuples(places, names=["method", *FACT_KEY])
    return counts.reindex(index, fill_value=0).rename("neurons").reset_index()


def mean_neurons(counts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean number of neurons per fact and its interval by method; columns mean, low, high, facts, without.

    `counts` is what `neurons_per_fact` returns; `without` counts the facts that have none.
    """
    without = (counts["neurons"] == 0).groupby(counts["method"]).sum()
    return group_means(counts, ["method"], "neurons", seed).set_index("method").assign(without=without)


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


def finding(means: pd.DataFrame, upper: tuple[float, float, float], pairs: pd.DataFrame, most_prompts: int) -> str:
    """Return in two sentences how many knowledge neurons there are, where, and who shares them.

    `means` as of `mean_neurons`, `upper` as of `kn_utils.stats.layers.upper_third_interval`, `pairs` as of `shared_by_pairs`;
    `most_prompts` is the largest number of prompts of a fact.
    """
    if not means.loc["attribution", "mean"]:
        return (
            f"No fact has a knowledge neuron: it must be strong in {MIN_PROMPTS} prompts, and facts have {most_prompts} at most."
        )
    per_fact = with_interval(*means.loc["attribution", ["mean", "low", "high"]])
    text = {
        (row.method, row.kind): with_interval(row.mean, row.low, row.high) for row in pairs.dropna(subset="mean").itertuples()
    }
    shared = [
        f"Two facts of {kind} share {text['attribution', kind]} of them, and {text['activation', kind]} of the baseline's neurons."
        for kind in ("one relation", "different relations")
        if ("attribution", kind) in text
    ]
    return (
        f"A fact has {per_fact} knowledge neurons on average, and {with_interval(*upper)} % of them lie in the upper third of the layers. "
        f"{' '.join(shared) or 'There are no two facts to compare.'}"
    )


def threshold_grid(scores: pd.DataFrame, facts: pd.DataFrame, score_shares: Sequence[float], prompt_share: float) -> pd.DataFrame:
    """Return what other thresholds would give, without refinement rounds.

    `scores` is step 1's table of one method. p goes from `prompt_share` up and down by up to four of the rounds' steps, two at a time.
    Columns t, p, neurons (per fact), one_relation and different_relations (neurons shared by two facts).
    """
    prompts = {relation: table.set_index("fact")["prompts"] for relation, table in facts.groupby("relation")}
    shares = [p for p in (moved_share(prompt_share, steps) for steps in (-4, -2, 0, 2, 4)) if 0 <= round(p, 2) <= 1]
    rows = []
    for t in score_shares:
        candidates = {relation: strong(table, t) for relation, table in scores.groupby("relation")}
        for p in shares:
            found = [shared(table, prompts[relation], p).assign(relation=relation) for relation, table in candidates.items()]
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
    for neuron, having in joined.groupby(["layer", "neuron"]):
        objects = ", ".join(f"{name} ({count})" for name, count in having["object"].value_counts().head(4).items())
        share = 100 * len(having) / len(facts)
        rows.append((neuron_name(*neuron), len(having), share, having["relation"].nunique(), objects))
    table = pd.DataFrame(rows, columns=["neuron", "facts", "share", "relations", "objects"])
    return table.sort_values(["facts", "neuron"], ascending=[False, True], ignore_index=True).head(n)


def relation_neuron_counts(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return by method and relation how many neurons at least a tenth of its facts have, and the share (%) that have the most frequent.

    Columns method, relation, relation_neurons, widest; relations without neurons have zeros.
    """
    sizes = facts.groupby("relation").size()
    index = pd.MultiIndex.from_product([METHODS, sizes.index], names=["method", "relation"])
    having = neurons.groupby(["method", "relation", "layer", "neuron"]).size()
    share = having / having.index.get_level_values("relation").map(sizes)
    by_relation = share.groupby(["method", "relation"])
    common = (share >= RELATION_SHARE).groupby(["method", "relation"]).sum()
    table = pd.DataFrame({"relation_neurons": common, "widest": 100 * by_relation.max()}).reindex(index, fill_value=0)
    return table.reset_index()
