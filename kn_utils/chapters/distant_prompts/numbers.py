"""Statistics of step 4's tables, for notebook 04."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from kn_utils.data.held_out import held_out_facts, is_held_out_sentence
from kn_utils.model.neurons import METHODS
from kn_utils.model.sentences import KINDS, Corpus
from kn_utils.stats.intervals import in_words, interval_of_sums, with_interval
from kn_utils.stats.means import divided, group_means, over_facts
from kn_utils.store.runs import FACT_KEY, NothingToShowError, Run

BOTH = ["head_and_tail", "head_only"]  # a fact must have sentences of both kinds
OTHERS = [kind for kind in KINDS if kind != "head_and_tail"]
SIGNS = ["activation", "aligned"]  # as it is, and times the sign in the fact's prompts


def fact_means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean activation over the sentences of each kind (columns), for each fact and method (rows); `table` is step 4's.

    Facts without head-and-tail or without head-only sentences are left out; other kinds may be NaN. Raises NothingToShowError if no fact
    is left.
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
    """Return the mean of `fact_means` over facts: columns method, kind, mean, low, high, facts."""
    return _over_facts(means, means[list(KINDS)], seed)


def higher_shares(means: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the share (%) of facts whose head-and-tail mean is higher than that of another kind: method, kind, share, low, high, facts."""
    others = means[OTHERS]
    higher = 100 * others.lt(means["head_and_tail"], axis="index").where(others.notna()).astype(float)
    return _over_facts(means, higher, seed).rename(columns={"mean": "share"})


def differences(means: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the head-and-tail mean minus that of another kind, averaged over facts: method, kind, difference, low, high, facts."""
    gains = -means[OTHERS].sub(means["head_and_tail"], axis="index")
    return _over_facts(means, gains, seed).rename(columns={"mean": "difference"})


def _over_facts(means: pd.DataFrame, values: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean of each column of `values` over the facts without NaN, for each method."""
    long = means[["relation", "method"]].join(values).melt(["relation", "method"], var_name="kind", value_name="value").dropna()
    by_method = long.sort_values("method", key=lambda names: names.map(METHODS.index), kind="stable")
    return group_means(by_method, ["method", "kind"], "value", seed)


def lost_without_tail(means: pd.DataFrame, kind: str, seed: int) -> tuple[float, float, float]:
    """Return the loss (%) of activation from head-and-tail sentences to another kind: (estimate, low, high).

    `means` are of one method; facts without this kind of sentence are left out.
    """
    both = means.dropna(subset=[kind])

    def lost(sums: np.ndarray) -> np.ndarray:
        return 100 * (1 - divided(sums[..., 1], sums[..., 0]))

    return interval_of_sums(lost, both[["head_and_tail", kind]], both["relation"], seed)


def by_training(table: pd.DataFrame, facts: pd.DataFrame, corpus: Corpus, seed: int) -> pd.DataFrame:
    """Return how much is lost without the tail, by whether `starter`'s training had the fact and the sentence.

    `table` is step 4's, `facts` step 1's. Head-and-tail sentences are split, and compared with the comparable words of the same facts.
    Columns facts and sentences ("in training", "left out" or "all"), difference (activation, tail minus comparable word), lost (%), n.
    """
    ours = table[table["method"] == "attribution"]
    left_out = held_out_facts(facts)
    of_fact = pd.Series([place in left_out for place in zip(ours["relation"], ours["fact"], strict=True)], index=ours.index)
    of_sentence = _held_out_sentences(ours, corpus)
    rows = []
    for fact_name, chosen in {"in training": ~of_fact, "left out": of_fact, "all": of_fact | True}.items():
        for sentence_name, kept in {"in training": ~of_sentence, "left out": of_sentence, "all": of_sentence | True}.items():
            means = _with_both(ours[chosen & (kept | (ours["kind"] != "head_and_tail"))]).dropna(subset=["head_only_comparable"])
            if len(means):
                indexed = means.set_index("relation")
                gain = over_facts(indexed["head_and_tail"] - indexed["head_only_comparable"], seed)
                lost = lost_without_tail(means, "head_only_comparable", seed)
                rows.append((fact_name, sentence_name, with_interval(*gain), with_interval(*lost), len(means)))
    return pd.DataFrame(rows, columns=["facts", "sentences", "difference", "lost (%)", "n"])


def _held_out_sentences(table: pd.DataFrame, corpus: Corpus) -> pd.Series:
    """Return for each row whether it is a head-and-tail sentence that was left out of `starter`'s training."""
    places = zip(table["relation"], table["fact"], table["kind"], table["sentence"], strict=True)
    held_out = cache(lambda relation, fact, number: is_held_out_sentence(corpus.relations[relation][fact].head_and_tail[number]))
    found = [kind == "head_and_tail" and held_out(relation, fact, number) for relation, fact, kind, number in places]
    return pd.Series(found, index=table.index)


def finding(activations: pd.DataFrame, gains: pd.DataFrame) -> str:
    """Return two sentences on the activation of knowledge neurons, from the tables of `mean_activations` and `differences`."""
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
    """Return the activation in head-and-tail sentences minus that in other kinds, as a mean over facts with its 95 % interval.

    `measured` has a row per model, relation, fact and kind of sentence. `activation` is the mean activation; for `aligned`, each neuron's
    activation is first multiplied by the sign of its mean in the fact's prompts. Columns model, kind, activation, aligned (texts), facts.
    """
    rows = []
    for model, rows_of_model in measured.groupby("model", sort=False):
        tables = [rows_of_model.assign(method="attribution", activation=rows_of_model[name]) for name in SIGNS]
        signed = [differences(fact_means(table), seed) for table in tables]
        for plain, aligned in zip(*(table.itertuples() for table in signed), strict=True):
            texts = [with_interval(row.difference, row.low, row.high) for row in (plain, aligned)]
            rows.append((model, plain.kind, *texts, plain.facts))
    return pd.DataFrame(rows, columns=["model", "kind", *SIGNS, "facts"])


def relation_means(means: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of `fact_means` over the facts of each relation: columns relation, method, kind, mean, facts."""
    long = means.melt([*FACT_KEY, "method"], list(KINDS), "kind", "activation").dropna()
    return long.groupby(["relation", "method", "kind"], sort=False)["activation"].agg(mean="mean", facts="size").reset_index()


def count_facts(run: Run, relations: Sequence[str], table: pd.DataFrame) -> pd.DataFrame:
    """Return the number of facts for each method: drawn, left out for each reason, and compared; `table` is step 4's."""
    facts = run.read("facts", relations)
    prompted = int((facts["prompts"] > 0).sum())
    neurons = run.read("knowledge_neurons", relations).drop_duplicates([*FACT_KEY, "method"])["method"].value_counts()
    counts = {"with": neurons, "compared": _with_both(table)["method"].value_counts()}
    counts = pd.DataFrame(counts).reindex(METHODS).fillna(0).astype(int)
    return pd.DataFrame(
        {
            "drawn": len(facts),
            "without prompts": len(facts) - prompted,
            "without neurons": prompted - counts["with"],
            "without sentences": counts["with"] - counts["compared"],
            "compared": counts["compared"],
        }
    )


def count_sentences(table: pd.DataFrame, left_out: pd.DataFrame) -> pd.DataFrame:
    """Return the number of sentences of each kind: used (`read`), and left out for each reason; the arguments are step 4's tables."""
    read = table.drop_duplicates([*FACT_KEY, "kind", "sentence"])["kind"].value_counts().rename("read")
    reasons = left_out.groupby(["kind", "reason"])["count"].sum().unstack()
    return read.reindex(KINDS).to_frame().join(reasons).fillna(0).astype(int).rename_axis(index="kind")
