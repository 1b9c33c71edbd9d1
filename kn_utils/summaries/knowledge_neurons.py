"""What notebook 02 shows of step 2's tables."""

from collections.abc import Sequence
from math import ceil

import pandas as pd

from kn_utils.intersections import KINDS, SharedNeurons
from kn_utils.intervals import bootstrap_interval
from kn_utils.neurons import relation_neurons, shared, strong
from kn_utils.runs import NothingToShowError, Run
from kn_utils.steps.knowledge_neurons import METHODS

PLACE = ["relation", "fact"]


def load_facts(run: Run, relations: Sequence[str]) -> pd.DataFrame:
    """Return the facts that were asked: columns relation, fact, subject, object, prompts.

    Raises ValueError if there is none.
    """
    facts = run.read("facts", relations)
    asked = facts.loc[facts["prompts"] > 0, [*PLACE, "subject", "object", "prompts"]].reset_index(drop=True)
    if asked.empty:
        raise NothingToShowError(f"none of the {len(facts)} facts could be asked: {facts['left_out_because'].iloc[0]}")
    return asked


def neurons_per_fact(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return how many neurons each fact has by each method, 0 included; columns relation, fact, method, neurons."""
    counts = neurons.groupby(["method", *PLACE]).size()
    index = pd.MultiIndex.from_tuples(
        [(method, *place) for method in METHODS for place in facts[PLACE].itertuples(index=False)], names=["method", *PLACE]
    )
    return counts.reindex(index, fill_value=0).rename("neurons").reset_index()


def mean_neurons(counts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean number of neurons per fact and its interval by method; columns mean, low, high, facts, without."""
    rows = {}
    for method, own in counts.groupby("method"):
        values = own["neurons"].to_numpy()
        interval = bootstrap_interval(lambda rows, values=values: values[rows].mean(), own["relation"], seed)
        rows[method] = (*map(float, interval), len(own), int((values == 0).sum()))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high", "facts", "without"]).loc[list(METHODS)]


def layer_shares(neurons: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """Return where the facts' neurons lie: columns method, layer (from 1), share (%). A neuron of two facts counts twice."""
    index = pd.MultiIndex.from_product([METHODS, range(n_layers)], names=["method", "layer"])
    counts = neurons.groupby(["method", "layer"]).size().reindex(index, fill_value=0)
    shares = 100 * counts / counts.groupby("method").transform("sum")
    return shares.rename("share").reset_index().assign(layer=lambda table: table["layer"] + 1)


def upper_third(shares: pd.DataFrame, n_layers: int) -> float:
    """Return which share (%) of the neurons of integrated gradients lies in the upper third of the layers; `shares` as of `layer_shares`.

    The upper third begins behind the first two thirds of the layers, rounded up.
    """
    own = shares[shares["method"] == "attribution"]
    return own.loc[own["layer"] > ceil(2 * n_layers / 3), "share"].sum()


def shared_by_pairs(neurons: pd.DataFrame, facts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean number of neurons two facts share, by kind of pair and method; columns method, kind, mean, low, high, pairs.

    Exact over all pairs; the interval resamples facts.
    """
    rows = []
    for method in METHODS:
        pairs = SharedNeurons(facts, neurons[neurons["method"] == method])
        estimate, low, high = bootstrap_interval(pairs.means, facts["relation"], seed)
        rows += zip([method] * len(KINDS), KINDS, estimate, low, high, pairs.pairs().astype(int), strict=True)
    return pd.DataFrame(rows, columns=["method", "kind", "mean", "low", "high", "pairs"])


def threshold_grid(
    scores: pd.DataFrame, facts: pd.DataFrame, score_shares: Sequence[float], prompt_shares: Sequence[float]
) -> pd.DataFrame:
    """Return what other thresholds would give, without refinement rounds.

    `scores` is step 1's table of one method. Columns t, p, neurons (per fact), one_relation and different_relations (neurons shared by
    two facts).
    """
    prompts = {relation: own.set_index("fact")["prompts"] for relation, own in facts.groupby("relation")}
    by_relation = dict(list(scores.groupby("relation")))
    rows = []
    for t in score_shares:
        candidates = {relation: strong(own, t) for relation, own in by_relation.items()}
        for p in prompt_shares:
            found = [shared(own, prompts[relation], p).assign(relation=relation) for relation, own in candidates.items()]
            neurons = pd.concat(found, ignore_index=True)
            means = dict(zip(KINDS, SharedNeurons(facts, neurons).means(), strict=True))
            rows.append((t, p, len(neurons) / len(facts), means["one relation"], means["different relations"]))
    return pd.DataFrame(rows, columns=["t", "p", "neurons", "one_relation", "different_relations"])


def widest_neurons(neurons: pd.DataFrame, facts: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """Return the n neurons of one method that the most facts have.

    Columns neuron ("layer.index", layers from 1), facts, share (% of facts), relations, objects (the most frequent ones, with how often).
    """
    joined = neurons.merge(facts, on=PLACE)
    rows = []
    for (layer, neuron), own in joined.groupby(["layer", "neuron"]):
        objects = ", ".join(f"{name} ({count})" for name, count in own["object"].value_counts().head(4).items())
        rows.append((f"{layer + 1}.{neuron}", len(own), 100 * len(own) / len(facts), own["relation"].nunique(), objects))
    table = pd.DataFrame(rows, columns=["neuron", "facts", "share", "relations", "objects"])
    return table.sort_values(["facts", "neuron"], ascending=[False, True], ignore_index=True).head(n)


def relation_neuron_counts(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return by method and relation how many neurons at least a tenth of its facts have, and the share (%) that have the most frequent.

    Columns method, relation, facts, relation_neurons, widest; relations without neurons have zeros.
    """
    rows = []
    for relation, asked in facts.groupby("relation").size().items():
        for method in METHODS:
            own = neurons[(neurons["relation"] == relation) & (neurons["method"] == method)]
            common = len(relation_neurons(own, asked))
            widest = own.groupby(["layer", "neuron"]).size().max() if len(own) else 0
            rows.append((method, relation, asked, common, 100 * widest / asked))
    return pd.DataFrame(rows, columns=["method", "relation", "facts", "relation_neurons", "widest"])
