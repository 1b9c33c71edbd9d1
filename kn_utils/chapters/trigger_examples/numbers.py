"""Statistics of step 5's table, for notebook 05."""

from html import escape

import pandas as pd

from kn_utils.data.facts import Dataset
from kn_utils.model.neurons import neuron_list, neuron_name
from kn_utils.plots.markup import NO_FORMULAS
from kn_utils.stats.intervals import with_interval
from kn_utils.stats.means import median_over_facts
from kn_utils.store.runs import FACT_KEY


def strongest_facts(examples: pd.DataFrame, n: int, method: str = "attribution") -> list[tuple[str, int]]:
    """Return the n facts (relation, index) with the highest scores among those with two sentences or more; `examples` is step 5's table."""
    best = examples[(examples["method"] == method) & (examples["rank"] == 1) & (examples["of"] > 1)]
    return list(best.nlargest(n, "score")[FACT_KEY].itertuples(index=False, name=None))


def neuron_names(neurons: pd.DataFrame, relation: str, fact: int, method: str) -> str:
    """Return the names of a fact's neurons; `neurons` is step 2's table."""
    rows = neurons[(neurons["relation"] == relation) & (neurons["fact"] == fact) & (neurons["method"] == method)]
    return ", ".join(neuron_name(*neuron) for neuron in neuron_list(rows))


def marked(text: str, start: int, end: int) -> str:
    """Return a text as HTML, with the characters from `start` to before `end` highlighted."""
    return f"{escape(text[:start])}<mark>{escape(text[start:end])}</mark>{escape(text[end:])}"


def examples_table(
    examples: pd.DataFrame, dataset: Dataset, neurons: pd.DataFrame, facts: list[tuple[str, int]], method: str = "attribution"
) -> str:
    """Return an HTML table of the examples of the given facts, with the masked word highlighted; text from the data is escaped.

    `examples` is step 5's table and `neurons` step 2's.
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
    """Return the highest and lowest score of each fact with several sentences: relation, fact, method, sentences, highest, lowest."""
    ranked = examples[examples["of"] > 1].sort_values("rank").groupby([*FACT_KEY, "method"])
    return ranked.agg(sentences=("of", "first"), highest=("score", "first"), lowest=("score", "last")).reset_index()


def finding(gaps: pd.DataFrame, seed: int) -> str:
    """Return two sentences on the difference between highest and lowest scores; `gaps` is the table of `score_gaps`."""
    ours = gaps[gaps["method"] == "attribution"]
    if ours.empty:
        return "No fact has knowledge neurons and several sentences to rank."
    indexed = ours.set_index("relation")
    interval = median_over_facts(indexed["highest"] - indexed["lowest"], seed)
    return (
        f"The sentence with the highest score of a fact and the sentence with the lowest differ by {with_interval(*interval)} "
        f"(median of {len(ours):,} facts; a fact has {ours['sentences'].median():.0f} sentences in the median). The paper gives no number "
        f"for its claim. So the reader must judge whether the highest sentences state the fact and the lowest only mention it."
    )
