"""Statistics of step 3's table, for notebook 03."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from kn_utils.chapters.modify_activation.table import WITH_RANDOM
from kn_utils.plots.changes import MEAN
from kn_utils.stats.intervals import INTERVAL, PERCENT, Statistic, interval_of_sums, mean_of_relations, with_interval
from kn_utils.stats.log_odds import fact_changes
from kn_utils.stats.means import divided, mean_over_relations, relation_means, share_of_effect
from kn_utils.store.runs import FACT_KEY, PROMPT_KEY

GROUP = ["operation", "target", "method"]
CONTROLS = {  # methods whose rows are of some facts only, and the method that they are compared with on these facts
    "matched": "attribution",
    "same object": "attribution",
    "held-out templates": "same templates",
}


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the methods that are compared as in the paper, without the controls of the own prompts."""
    return table[table["method"].isin(WITH_RANDOM)]


def own_prompts(table: pd.DataFrame, operation: str) -> pd.DataFrame:
    """Return the rows of one operation on each fact's own prompts."""
    return table[(table["operation"] == operation) & (table["target"] == "own")]


def own_changes(table: pd.DataFrame, operation: str) -> pd.DataFrame:
    """Return the mean change of log-odds over the own prompts of each fact (rows), for each method (columns)."""
    return fact_changes(own_prompts(table, operation), ["method"])


def probability_ratios(table: pd.DataFrame) -> tuple[Statistic, pd.Index]:
    """Return the statistic `relation_ratios` of the rows of one method and operation, and the relation of each fact."""
    sums = table.groupby(FACT_KEY, sort=False)[["probability_before", "probability_after"]].sum()
    return relation_ratios(*sums.to_numpy().T), sums.index.get_level_values("relation")


def relation_ratios(before: np.ndarray, after: np.ndarray) -> Statistic:
    """Return a statistic: the change (%) of each relation, its mean change divided by its mean original probability (section 4.3)."""
    return lambda rows, groups: 100 * (np.bincount(groups, after[rows]) / np.bincount(groups, before[rows]) - 1)


def log_odds_changes(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the change of the object's log-odds: the mean over prompts of a fact, facts of a relation, and relations.

    Columns operation, target, method, relation (or `MEAN`), change, low, high, new_low, new_high, facts. The interval of a relation is from
    its facts, that of the mean from relations, with the prediction interval for a new relation.
    """

    def statistic(group: pd.DataFrame) -> tuple[Statistic, pd.Index]:
        values = fact_changes(group, ["method"])
        return relation_means(values.to_numpy()[:, 0]), values.index.get_level_values("relation")

    return _by_relation(table, statistic, seed)


def probability_changes(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the paper's measure, see `relation_ratios`, and its mean over relations; columns as in `log_odds_changes`."""
    return _by_relation(table, probability_ratios, seed)


def _by_relation(table: pd.DataFrame, statistic: Callable[[pd.DataFrame], tuple[Statistic, pd.Index]], seed: int) -> pd.DataFrame:
    rows = []
    for place, group in compared(table).groupby(GROUP, sort=False):
        for name, rows_of_name in (*group.groupby("relation", sort=False), (MEAN, group)):
            per_group, relations = statistic(rows_of_name)
            rows.append((*place, name, *mean_of_relations(per_group, relations, seed), len(relations)))
    return pd.DataFrame(rows, columns=[*GROUP, "relation", "change", *INTERVAL[1:], "facts"])


def controls(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the change of log-odds by each control, beside that by the neurons it is compared with, on the same facts.

    Columns operation, control, compared with, change, of the control, share (%, control / compared), facts: texts with intervals. A control
    without rows has no row.
    """
    rows = []
    for operation in table["operation"].unique():
        wide = own_changes(table, operation)
        for control, ours in CONTROLS.items():
            if {control, ours} <= set(wide) and len(pair := wide[[ours, control]].dropna()):
                means = [with_interval(*mean_over_relations(pair[name], seed)) for name in pair]
                share = with_interval(*share_of_effect(pair[ours], pair[control], seed))
                rows.append((operation, control, ours, *means, share, len(pair)))
    return pd.DataFrame(rows, columns=["operation", "control", "compared with", "change", "of the control", "share", "facts"])


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
            interval = interval_of_sums(_share, facts, facts.index.get_level_values("relation"), seed, PERCENT)
            rows.append((*place, flip, *interval, int(group["among"].sum())))
    return pd.DataFrame(rows, columns=[*GROUP, "flip", "share", "low", "high", "prompts"])


def _share(sums: np.ndarray) -> np.ndarray:
    """Return the second of two sums in % of the first, [...] from [..., 2]."""
    return 100 * divided(sums[..., 1], sums[..., 0])


def count_facts(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each method the numbers of facts, of facts without neurons, and of prompts: facts, without, own_prompts, other_prompts."""
    table = compared(table)
    once = table[table["operation"] == table["operation"].iloc[0]]
    facts = once[once["target"] == "own"].groupby(["method", *FACT_KEY], sort=False)["neurons"].first()
    counts = facts.groupby("method", sort=False).agg(facts="size", without=lambda neurons: int((neurons == 0).sum()))
    prompts = pd.crosstab(once["method"], once["target"]).reindex(columns=["own", "other"], fill_value=0)
    return counts.join(prompts.add_suffix("_prompts"))


def finding(changes: pd.DataFrame, flips: pd.DataFrame) -> str:
    """Return two sentences on the effect of the changes, from the tables of `log_odds_changes` and `flips`."""
    means = changes[(changes["relation"] == MEAN) & (changes["target"] == "own")]
    change = {(row.method, row.operation): with_interval(row.change, row.low, row.high) for row in means.itertuples()}
    lost = flips.query(
        "operation == 'suppress' and target == 'own' and method == 'attribution' and flip == 'right to wrong'"
    ).iloc[0]
    return (
        f"Suppressing a fact's knowledge neurons changes the log-odds of the right answer by {change['attribution', 'suppress']}, "
        f"amplifying them by {change['attribution', 'amplify']}; the most active neurons, the paper's baseline, change it by "
        f"{change['activation', 'suppress']} and {change['activation', 'amplify']}. Of {lost['prompts']:,} right answers, "
        f"{with_interval(lost['share'], lost['low'], lost['high'], unit=' %')} become wrong when the knowledge neurons are suppressed."
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
    shown = confident.merge(prompts[[*PROMPT_KEY, "text"]], on=PROMPT_KEY)
    return shown[["text", *columns]].rename(columns={"text": "prompt"})
