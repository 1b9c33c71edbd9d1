"""What notebook 05 shows of step 5's table."""

from html import escape

import pandas as pd

from kn_utils.data.facts import Dataset
from kn_utils.model.neurons import neuron_list, neuron_name
from kn_utils.plots.markup import NO_FORMULAS
from kn_utils.store.runs import FACT_KEY


def strongest_facts(examples: pd.DataFrame, n: int, method: str = "attribution") -> list[tuple[str, int]]:
    """Return the n facts (relation, index) with the highest best score among those with at least two sentences, highest first.

    `examples` is step 5's table of any relations.
    """
    best = examples[(examples["method"] == method) & (examples["rank"] == 1) & (examples["of"] > 1)]
    return list(best.nlargest(n, "score")[FACT_KEY].itertuples(index=False, name=None))


def neuron_names(neurons: pd.DataFrame, relation: str, fact: int, method: str) -> str:
    """Return a fact's neurons as "layer.index", layers from 1; `neurons` is step 2's table."""
    own = neurons[(neurons["relation"] == relation) & (neurons["fact"] == fact) & (neurons["method"] == method)]
    return ", ".join(neuron_name(*neuron) for neuron in neuron_list(own))


def marked(text: str, start: int, end: int) -> str:
    """Return a text as HTML with the characters from `start` to before `end` highlighted."""
    return f"{escape(text[:start])}<mark>{escape(text[start:end])}</mark>{escape(text[end:])}"


def examples_table(
    examples: pd.DataFrame, dataset: Dataset, neurons: pd.DataFrame, facts: list[tuple[str, int]], method: str = "attribution"
) -> str:
    """Return an HTML table of the facts' examples with subject, object, rank, score, sentence and neurons.

    `examples` is step 5's table and `neurons` step 2's. Whatever comes from the data is escaped; the masked word is highlighted.
    """
    rows = []
    for relation, index in facts:
        fact, names = dataset.facts[relation][index], neuron_names(neurons, relation, index, method)
        own = examples[(examples["relation"] == relation) & (examples["fact"] == index) & (examples["method"] == method)]
        for row in own.itertuples():
            sentence = marked(row.text, row.start, row.end)
            rows.append(
                (escape(fact.subject), escape(fact.object), f"{row.rank} of {row.of}", f"{row.score:.3f}", sentence, names)
            )
    table = pd.DataFrame(rows, columns=["subject", "object", "rank", "score", "sentence", "neurons"])
    return table.to_html(escape=False, index=False, border=0, justify="left", classes=NO_FORMULAS)


def score_gaps(examples: pd.DataFrame) -> pd.DataFrame:
    """Return per fact with several sentences its highest and lowest score; columns relation, fact, method, sentences, highest, lowest.

    `examples` is step 5's table.
    """
    own = examples[examples["of"] > 1].sort_values("rank").groupby([*FACT_KEY, "method"])
    return own.agg(sentences=("of", "first"), highest=("score", "first"), lowest=("score", "last")).reset_index()
