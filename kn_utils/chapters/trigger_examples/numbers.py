"""What notebook 05 shows of step 5's table."""

from html import escape

import numpy as np
import pandas as pd

from kn_utils.data.facts import Dataset
from kn_utils.model.neurons import neuron_list, neuron_name
from kn_utils.plots.markup import NO_FORMULAS
from kn_utils.stats.intervals import bootstrap_interval, with_interval
from kn_utils.store.runs import FACT_KEY


def strongest_facts(examples: pd.DataFrame, n: int, method: str = "attribution") -> list[tuple[str, int]]:
    """Return the n facts (relation, index) with the highest best score among those with at least two sentences, highest first.

    `examples` is step 5's table of any relations.
    """
    best = examples[(examples["method"] == method) & (examples["rank"] == 1) & (examples["of"] > 1)]
    return list(best.nlargest(n, "score")[FACT_KEY].itertuples(index=False, name=None))


def neuron_names(neurons: pd.DataFrame, relation: str, fact: int, method: str) -> str:
    """Return a fact's neurons as "layer.index", layers from 1; `neurons` is step 2's table."""
    rows = neurons[(neurons["relation"] == relation) & (neurons["fact"] == fact) & (neurons["method"] == method)]
    return ", ".join(neuron_name(*neuron) for neuron in neuron_list(rows))


def marked(text: str, start: int, end: int) -> str:
    """Return a text as HTML with the characters from `start` to before `end` highlighted."""
    return f"{escape(text[:start])}<mark>{escape(text[start:end])}</mark>{escape(text[end:])}"


def examples_table(
    examples: pd.DataFrame, dataset: Dataset, neurons: pd.DataFrame, facts: list[tuple[str, int]], method: str = "attribution"
) -> str:
    """Return an HTML table of the facts' examples with subject, object, rank, score, sentence and, once per fact, its neurons.

    `examples` is step 5's table and `neurons` step 2's. Whatever comes from the data is escaped; the masked word is highlighted.
    """
    rows = []
    for relation, index in facts:
        fact, names = dataset.facts[relation][index], neuron_names(neurons, relation, index, method)
        subject, answer = escape(fact.subject), escape(fact.object)
        of_fact = (examples["relation"] == relation) & (examples["fact"] == index) & (examples["method"] == method)
        for row in examples[of_fact].itertuples():
            sentence = marked(row.text, row.start, row.end)
            rows.append(
                (subject, answer, f"{row.rank} of {row.of}", f"{row.score:.3f}", sentence, names if row.rank == 1 else "")
            )
    table = pd.DataFrame(rows, columns=["subject", "object", "rank", "score", "sentence", "neurons"])
    return table.to_html(escape=False, index=False, border=0, justify="left", classes=NO_FORMULAS)


def score_gaps(examples: pd.DataFrame) -> pd.DataFrame:
    """Return per fact with several sentences its highest and lowest score; columns relation, fact, method, sentences, highest, lowest.

    `examples` is step 5's table.
    """
    ranked = examples[examples["of"] > 1].sort_values("rank").groupby([*FACT_KEY, "method"])
    return ranked.agg(sentences=("of", "first"), highest=("score", "first"), lowest=("score", "last")).reset_index()


def finding(gaps: pd.DataFrame, seed: int) -> str:
    """Return in two sentences how far the scores of a fact's sentences lie apart; `gaps` as of `score_gaps`."""
    ours = gaps[gaps["method"] == "attribution"]
    if ours.empty:
        return "No fact has knowledge neurons and several sentences to rank."
    difference = (ours["highest"] - ours["lowest"]).to_numpy()
    interval = bootstrap_interval(lambda rows: np.median(difference[rows]), ours["relation"], seed)
    return (
        f"Between the sentence that activates a fact's knowledge neurons most and the one that does least, the score differs by "
        f"{with_interval(*map(float, interval))} (median of {len(ours):,} facts, which have {ours['sentences'].median():.0f} sentences in "
        f"the median). Whether the highest sentences state the fact, and the lowest only mention it, is for the reader to judge: the paper "
        f"gives no number for it."
    )
