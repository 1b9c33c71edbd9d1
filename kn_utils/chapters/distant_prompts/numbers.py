"""What notebook 04 shows of step 4's tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kn_utils.model.neurons import METHODS
from kn_utils.model.sentences import KINDS
from kn_utils.stats.intervals import bootstrap_interval, group_means, in_words, with_interval
from kn_utils.store.runs import FACT_KEY, NothingToShowError, Run

BOTH = ["head_and_tail", "head_only"]  # the kinds of sentences that a fact must have to be compared
OTHERS = [kind for kind in KINDS if kind != "head_and_tail"]
SIGNS = ["activation", "aligned"]  # as it is, and with the signs of the neurons in the fact's own prompts


def fact_means(table: pd.DataFrame) -> pd.DataFrame:
    """Return every fact's mean activation over its sentences of a kind, for facts with head-and-tail and with head-only sentences.

    `table` is step 4's. One row per relation, fact and method, one column per kind; NaN where a fact has no sentence of a kind that is
    not one of these two. Raises NothingToShowError if there is no such fact.
    """
    means = _with_both(table)
    if means.empty:
        raise NothingToShowError(
            "no fact has both knowledge neurons and readable sentences with head and tail and with the head only"
        )
    return means


def _with_both(table: pd.DataFrame) -> pd.DataFrame:
    means = table.pivot_table(index=[*FACT_KEY, "method"], columns="kind", values="activation").reindex(columns=list(KINDS))
    return means.dropna(subset=BOTH).rename_axis(columns=None).reset_index()


def mean_activations(means: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean over facts by method and kind, with its interval; columns method, kind, mean, low, high, facts.

    `means` is what `fact_means` returns. The intervals resample facts within relations.
    """
    return _over_facts(means, means[list(KINDS)], seed)


def higher_shares(means: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the share of facts (%) whose head-and-tail mean is higher than that of another kind; columns as of `mean_activations`.

    The column `share` takes the place of the mean.
    """
    others = means[OTHERS]
    higher = 100 * others.lt(means["head_and_tail"], axis="index").where(others.notna()).astype(float)
    return _over_facts(means, higher, seed).rename(columns={"mean": "share"})


def differences(means: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return by how much the head-and-tail mean exceeds that of another kind, fact by fact; columns as of `mean_activations`.

    The column `difference` takes the place of the mean.
    """
    gains = -means[OTHERS].sub(means["head_and_tail"], axis="index")
    return _over_facts(means, gains, seed).rename(columns={"mean": "difference"})


def _over_facts(means: pd.DataFrame, values: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The mean of each column of values over the facts that have one, by method."""
    long = means[["relation", "method"]].join(values).melt(["relation", "method"], var_name="kind", value_name="value").dropna()
    by_method = long.sort_values("method", key=lambda names: names.map(METHODS.index), kind="stable")
    return group_means(by_method, ["method", "kind"], "value", seed)


def lost_without_tail(means: pd.DataFrame, seed: int) -> tuple[float, float, float]:
    """Return which share (%) of the activation is gone in head-only sentences: (estimate, low, high); `means` are one method's."""
    values = means[BOTH].to_numpy(float)

    def lost(rows: np.ndarray) -> float:
        both, head = values[rows].mean(axis=0)
        return 100 * (1 - head / both)

    return tuple(map(float, bootstrap_interval(lost, means["relation"], seed)))


def finding(activations: pd.DataFrame, gains: pd.DataFrame) -> str:
    """Return in two sentences where knowledge neurons are active, from the tables of `mean_activations` and `differences`."""
    ours = activations[activations["method"] == "attribution"].set_index("kind")[["mean", "low", "high"]]
    if ours.empty:
        return "No fact has knowledge neurons and both kinds of sentences."
    mean = {kind: with_interval(*row) for kind, *row in ours.itertuples()}
    gain = gains[gains["method"] == "attribution"].set_index("kind").reindex(["head_only_comparable"]).iloc[0]
    words = in_words(gain["low"], gain["high"], "less active", "more active", "not clearly more or less active")
    return (
        f"In web sentences with head and tail, a fact's knowledge neurons have a mean activation of {mean['head_and_tail']}, in those with "
        f"the head only {mean['head_only']}, in random ones {mean.get('random', '–')}. Where the tail is masked they are {words} than at a "
        f"comparable word of a head-only sentence (difference {with_interval(gain['difference'], gain['low'], gain['high'])})."
    )


def sentence_contrasts(measured: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return by how much head-and-tail sentences activate a fact's neurons more than others: the mean over facts, with its 95 % interval.

    `measured` has a row per model, relation, fact and kind of sentence, with the mean `activation`, and the same `aligned` with the signs
    of the neurons in the fact's own prompts. A row per model and kind; columns activation and aligned, as text, and facts.
    """
    rows = []
    for model, own in measured.groupby("model", sort=False):
        signed = [differences(fact_means(own.assign(method="attribution", activation=own[name])), seed) for name in SIGNS]
        for plain, aligned in zip(*(table.itertuples() for table in signed), strict=True):
            texts = [with_interval(row.difference, row.low, row.high) for row in (plain, aligned)]
            rows.append((model, plain.kind, *texts, plain.facts))
    return pd.DataFrame(rows, columns=["model", "kind", *SIGNS, "facts"])


def relation_means(means: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over a relation's facts by method and kind; columns relation, method, kind, mean, facts."""
    long = means.melt([*FACT_KEY, "method"], list(KINDS), "kind", "activation").dropna()
    return long.groupby(["relation", "method", "kind"], sort=False)["activation"].agg(mean="mean", facts="size").reset_index()


def count_facts(run: Run, relations: Sequence[str], table: pd.DataFrame) -> pd.DataFrame:
    """Count facts by method: drawn, not asked, without neurons, without both kinds of sentences that can be read, and compared.

    `table` is step 4's.
    """
    facts = run.read("facts", relations)
    asked = int((facts["prompts"] > 0).sum())
    neurons = run.read("knowledge_neurons", relations).drop_duplicates([*FACT_KEY, "method"])["method"].value_counts()
    counts = {"with": neurons, "compared": _with_both(table)["method"].value_counts()}
    counts = pd.DataFrame(counts).reindex(METHODS).fillna(0).astype(int)
    return pd.DataFrame(
        {
            "drawn": len(facts),
            "not asked": len(facts) - asked,
            "without neurons": asked - counts["with"],
            "without sentences": counts["with"] - counts["compared"],
            "compared": counts["compared"],
        }
    )


def count_sentences(table: pd.DataFrame, left_out: pd.DataFrame) -> pd.DataFrame:
    """Count the sentences of facts with neurons by kind: those read, and those left out by reason.

    `table` and `left_out` are step 4's tables.
    """
    read = table.drop_duplicates([*FACT_KEY, "kind", "sentence"])["kind"].value_counts().rename("read")
    reasons = left_out.groupby(["kind", "reason"])["count"].sum().unstack()
    return read.reindex(KINDS).to_frame().join(reasons).fillna(0).astype(int).rename_axis(index="kind")
