"""Statistics of step 2's tables, for notebook 02."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kn_utils.chapters.knowledge_neurons.intersections import KINDS, SharedNeurons
from kn_utils.chapters.knowledge_neurons.thresholds import moved_share, shared, strong
from kn_utils.model.neurons import MAX_NEURONS, METHODS, MIN_NEURONS, MIN_PROMPTS, RELATION_SHARE, neuron_name
from kn_utils.stats.intervals import INTERVAL, NOT_NEGATIVE, Statistic, bootstrap_interval, with_interval
from kn_utils.stats.means import group_means, mean_over_relations
from kn_utils.store.runs import FACT_KEY


def last_rounds(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return the result of tuning p, for each method; `rounds` is step 2's table `refinement`.

    Columns relations (number), rounds and p (means of the last values), missed (relations with too few or too many neurons).
    """
    last = rounds.groupby(["method", "relation"], sort=False).last().reset_index()
    last["missed"] = last["relation"].where(~last["mean_neurons"].between(MIN_NEURONS, MAX_NEURONS), "")
    methods = last.groupby("method")
    columns = {"relations": ("relation", "size"), "rounds": ("round", "mean"), "p": ("prompt_share", "mean")}
    return methods.agg(**columns, missed=("missed", lambda names: ", ".join(filter(None, names)) or "none")).loc[list(METHODS)]


def tuning(rounds: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return means over relations, by integrated gradients: neurons per fact before and after p is tuned, and p at the end.

    Rows before, after, p; columns mean, low, high, new_low, new_high, relations. `rounds` is step 2's table `refinement`.
    """
    by_relation = rounds[rounds["method"] == "attribution"].groupby("relation", sort=False)
    first, last = by_relation.first(), by_relation.last()
    values = {"before": first["mean_neurons"], "after": last["mean_neurons"], "p": last["prompt_share"]}
    limits = {"before": NOT_NEGATIVE, "after": NOT_NEGATIVE, "p": (0, 1)}
    rows = {name: (*mean_over_relations(each, seed, limits[name]), len(each)) for name, each in values.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", *INTERVAL[1:], "relations"])


def neurons_per_fact(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return the number of neurons of each fact and method, also if it is 0: columns relation, fact, method, neurons."""
    counts = neurons.groupby(["method", *FACT_KEY]).size()
    keys = [(method, *fact) for method in METHODS for fact in facts[FACT_KEY].itertuples(index=False)]
    index = pd.MultiIndex.from_tuples(keys, names=["method", *FACT_KEY])
    return counts.reindex(index, fill_value=0).rename("neurons").reset_index()


def mean_neurons(counts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean number of neurons per fact for each method: columns mean, low, high, facts, without (number without neurons).

    `counts` is the table of `neurons_per_fact`.
    """
    without = (counts["neurons"] == 0).groupby(counts["method"]).sum()
    return group_means(counts, ["method"], "neurons", seed, limits=NOT_NEGATIVE).set_index("method").assign(without=without)


def shared_neurons(neurons: pd.DataFrame, facts: pd.DataFrame) -> Statistic:
    """Return a statistic: the mean number of neurons that two facts share, [methods, `KINDS`]."""
    pairs = [SharedNeurons(facts, neurons[neurons["method"] == method]) for method in METHODS]
    return lambda rows, groups: np.stack([of_method.means(rows, groups) for of_method in pairs])


def shared_by_pairs(neurons: pd.DataFrame, facts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean number of neurons that two facts share, over all pairs: columns method, kind, mean, low, high, pairs.

    The intervals resample relations.
    """
    found = bootstrap_interval(shared_neurons(neurons, facts), facts["relation"], seed, NOT_NEGATIVE)
    pairs = SharedNeurons(facts, neurons).pairs().astype(int)
    index = pd.MultiIndex.from_product([METHODS, KINDS], names=["method", "kind"])
    columns = dict(zip(("mean", "low", "high"), map(np.ravel, found), strict=True))
    return pd.DataFrame(columns | {"pairs": np.tile(pairs, len(METHODS))}, index=index).reset_index()


def finding(
    means: pd.DataFrame, tuned: pd.DataFrame, upper: tuple[float, float, float], pairs: pd.DataFrame, most_prompts: int
) -> str:
    """Return sentences on how many knowledge neurons a fact has, in which layers, and whether facts share them.

    The arguments are the results of `mean_neurons`, `tuning`, `kn_utils.stats.layers.upper_third_interval` and `shared_by_pairs`, and the
    largest number of prompts of a fact.
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
        f"A fact has {with_interval(*tuned.loc['before', ['mean', 'low', 'high']])} knowledge neurons before *p* is tuned (mean over "
        f"relations), and {per_fact} after it (mean over facts); *p* ended at {with_interval(*tuned.loc['p', ['mean', 'low', 'high']])}. "
        f"{with_interval(*upper, unit=' %')} of them lie in the upper third of the layers. "
        f"{' '.join(shared) or 'There are no two facts to compare.'}"
    )


def threshold_grid(scores: pd.DataFrame, facts: pd.DataFrame, score_shares: Sequence[float], prompt_share: float) -> pd.DataFrame:
    """Return the results of other thresholds, without refinement rounds; `scores` are of one method.

    p is `prompt_share`, and two or four steps of the rounds below and above it. Columns t, p, neurons (per fact), one_relation and
    different_relations (neurons shared by two facts).
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
    """Return the n neurons that most facts have; `neurons` are of one method.

    Columns neuron (its name), facts, share of facts (%), relations, most frequent objects (with their counts).
    """
    joined = neurons.merge(facts, on=FACT_KEY)
    rows = []
    for neuron, its_facts in joined.groupby(["layer", "neuron"]):
        objects = ", ".join(f"{name} ({count})" for name, count in its_facts["object"].value_counts().head(4).items())
        share = 100 * len(its_facts) / len(facts)
        rows.append((neuron_name(*neuron), len(its_facts), share, its_facts["relation"].nunique(), objects))
    table = pd.DataFrame(rows, columns=["neuron", "facts", "share of facts (%)", "relations", "most frequent objects"])
    return table.sort_values(["facts", "neuron"], ascending=[False, True], ignore_index=True).head(n)


def relation_neuron_counts(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return columns method, relation, relation_neurons, widest; relations without neurons have zeros.

    `relation_neurons` is the number of neurons that at least a tenth of the facts have, `widest` the share (%) of facts with the most
    frequent neuron.
    """
    sizes = facts.groupby("relation").size()
    index = pd.MultiIndex.from_product([METHODS, sizes.index], names=["method", "relation"])
    counts = neurons.groupby(["method", "relation", "layer", "neuron"]).size()
    share = counts / counts.index.get_level_values("relation").map(sizes)
    by_relation = share.groupby(["method", "relation"])
    common = (share >= RELATION_SHARE).groupby(["method", "relation"]).sum()
    table = pd.DataFrame({"relation_neurons": common, "widest": 100 * by_relation.max()}).reindex(index, fill_value=0)
    return table.reset_index()
