"""Statistics of step 3's table, for notebook 03."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from kn_utils.chapters.modify_activation.table import WITH_RANDOM
from kn_utils.plots.changes import MEAN
from kn_utils.stats.intervals import bootstrap_interval, with_interval
from kn_utils.store.runs import FACT_KEY

GROUP = ["operation", "target", "method"]


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the methods that are compared as in the paper, without the controls of the own prompts."""
    return table[table["method"].isin(WITH_RANDOM)]


def changes(table: pd.DataFrame, columns: Sequence[str]) -> tuple[Callable[[np.ndarray], np.ndarray], pd.Index]:
    """Return a function from row numbers of facts to changes (%) of the object's probability, and the relation of each fact.

    The changes are [values of `columns`, relations + 1]. The change of a relation is its mean change over all prompts, divided by the mean
    original probability (section 4.3). The last column is the mean over relations with equal weights.
    """
    probabilities = table.groupby([*FACT_KEY, *columns])[["probability_before", "probability_after"]].sum()
    sums = probabilities.unstack(list(columns), fill_value=0)
    relations = sums.index.get_level_values("relation")
    codes = pd.factorize(relations)[0]
    before, after = sums["probability_before"].to_numpy().T, sums["probability_after"].to_numpy().T

    def change(rows: np.ndarray) -> np.ndarray:
        ratios = [
            np.bincount(codes[rows], a[rows]) / np.bincount(codes[rows], b[rows]) for a, b in zip(after, before, strict=True)
        ]
        by_relation = 100 * (np.array(ratios) - 1)
        return np.column_stack([by_relation, by_relation.mean(axis=1)])

    return change, relations


def probability_changes(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the `changes` with intervals: columns operation, target, method, relation (or `MEAN`), change, low, high, facts."""
    rows = []
    for place, group in compared(table).groupby(GROUP, sort=False):
        change, relations = changes(group, ["method"])
        found = np.concatenate(bootstrap_interval(change, relations, seed)).T
        facts = relations.value_counts(sort=False).to_dict() | {MEAN: len(relations)}
        rows += [(*place, name, *values, n) for (name, n), values in zip(facts.items(), found, strict=True)]
    return pd.DataFrame(rows, columns=[*GROUP, "relation", "change", "low", "high", "facts"])


def flips(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return how often the top answer changes, over all relations: columns operation, target, method, flip, share, low, high, prompts.

    `share` is in % of the prompts that were answered right before (flip "right to wrong"), of the others ("wrong to right"), or of all
    ("any change").
    """
    table = compared(table)
    kinds = {
        "right to wrong": (table["correct_before"], ~table["correct_after"]),
        "wrong to right": (~table["correct_before"], table["correct_after"]),
        "any change": (table["correct_before"] | True, table["answer_changed"]),
    }
    rows = []
    for flip, (among, flipped) in kinds.items():
        counted = table.assign(among=among, flipped=among & flipped)
        for place, group in counted.groupby(GROUP, sort=False):
            facts = group.groupby(FACT_KEY)[["among", "flipped"]].sum()
            pairs = facts.to_numpy()

            def share(drawn: np.ndarray, pairs=pairs) -> float:
                among, flipped = pairs[drawn].sum(axis=0)
                return 100 * flipped / among if among else np.nan

            interval = bootstrap_interval(share, facts.index.get_level_values("relation"), seed)
            rows.append((*place, flip, *map(float, interval), int(group["among"].sum())))
    return pd.DataFrame(rows, columns=[*GROUP, "flip", "share", "low", "high", "prompts"])


def count_facts(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each method the numbers of facts, of facts without neurons, and of prompts: facts, without, own_prompts, other_prompts."""
    table = compared(table)
    once = table[table["operation"] == table["operation"].iloc[0]]
    facts = once[once["target"] == "own"].groupby(["method", *FACT_KEY], sort=False)["neurons"].first()
    counts = facts.groupby("method", sort=False).agg(facts="size", without=lambda neurons: int((neurons == 0).sum()))
    prompts = pd.crosstab(once["method"], once["target"]).reindex(columns=["own", "other"], fill_value=0)
    return counts.join(prompts.add_suffix("_prompts"))


def finding(changes: pd.DataFrame, flips: pd.DataFrame) -> str:
    """Return two sentences on the effect of the changes, from the tables of `probability_changes` and `flips`."""
    means = changes[(changes["relation"] == MEAN) & (changes["target"] == "own")]
    change = {(row.method, row.operation): with_interval(row.change, row.low, row.high) for row in means.itertuples()}
    lost = flips.query(
        "operation == 'suppress' and target == 'own' and method == 'attribution' and flip == 'right to wrong'"
    ).iloc[0]
    return (
        f"Suppressing a fact's knowledge neurons changes the probability of the right answer by {change['attribution', 'suppress']} %, "
        f"amplifying them by {change['attribution', 'amplify']} %; as many random neurons of the same layers change it by "
        f"{change['random', 'suppress']} % and {change['random', 'amplify']} %. Of {lost['prompts']:,} right answers, "
        f"{with_interval(lost['share'], lost['low'], lost['high'])} % become wrong when the knowledge neurons are suppressed."
    )


def lost_answers(table: pd.DataFrame, prompts: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """Return the n most confident prompts, one per fact, that lose their right answer when the knowledge neurons are suppressed.

    `prompts` is step 1's table. Columns prompt, answer_before, answer_after, probability_before, probability_after (of the right answer)
    and neurons.
    """
    lost = table.query(
        "operation == 'suppress' and method == 'attribution' and target == 'own' and correct_before and not correct_after"
    )
    columns = ["answer_before", "answer_after", "probability_before", "probability_after", "neurons"]
    confident = lost.sort_values("probability_before", ascending=False).drop_duplicates(FACT_KEY).head(n)
    shown = confident.merge(prompts[[*FACT_KEY, "prompt", "text"]], on=[*FACT_KEY, "prompt"])
    return shown[["text", *columns]].rename(columns={"text": "prompt"})
