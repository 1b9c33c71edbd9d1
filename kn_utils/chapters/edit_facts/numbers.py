"""What notebook 06 shows of step 6's tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kn_utils.chapters.edit_facts.plans import COMMON
from kn_utils.model.neurons import COMMON_SHARE
from kn_utils.stats.intervals import bootstrap_interval
from kn_utils.store.runs import NothingToShowError, Run

CHANGED, SUCCESS, TOP5 = "the answer is another", "the answer is the new object", "the new object is in the top 5"
SAME, OTHER = "same relation", "other relations"
PERPLEXITIES = {SAME: "perplexity_same", OTHER: "perplexity_other"}


def load_edits(run: Run, relations: Sequence[str], common_share: float = COMMON_SHARE) -> pd.DataFrame:
    """Return the edits of several relations, step 6's table `edit_facts` with a column `method` for `control`: our neurons or random ones.

    Raises ValueError if no fact was edited, and says why.
    """
    table = run.read("edit_facts", relations)
    if table.empty:
        reasons = run.read("edit_candidates", relations)["reason"].value_counts()
        counts = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
        few = (
            f" (with common_share {common_share:g} every neuron counts as common among so few facts: take a larger n_facts or common_share)"
            if COMMON in reasons
            and run.read("facts", relations).query("prompts > 0").groupby("relation").size().max() * common_share < 2
            else ""
        )
        raise NothingToShowError(f"no fact could be edited: {counts}{few}")
    return table.assign(method=np.where(table["control"], "random", "attribution"))


def candidates(tried: pd.DataFrame) -> pd.DataFrame:
    """Count the facts tried by relation: how many were edited, and why others were not; `tried` is the table `edit_candidates`."""
    counts = tried.groupby("relation", sort=False)["edited"].agg(tried="size", edited="sum")
    skipped = tried[~tried["edited"]]
    return counts.join(pd.crosstab(skipped["relation"], skipped["reason"])).fillna(0).astype(int)


def rates(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the shares (%) of edits after which the answer to the drawn prompt is another, is the new object, or has it in the top 5.

    Columns rule, method, quantity, value, low, high, edits, as of all tables of means here; the intervals resample edits.
    """
    columns = {CHANGED: edits["changed"], SUCCESS: edits["success"], TOP5: edits["success_top5"]}
    return _means(edits, ["rule", "method"], {name: 100.0 * column for name, column in columns.items()}, seed)


def template_rates(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return, over all templates of the edited facts, the mean shares (%) at which the answer is another, and is the new object."""
    columns = {CHANGED: edits["templates_changed"], SUCCESS: edits["templates_success"]}
    return _means(edits, ["rule", "method"], {name: 100 * column / edits["templates"] for name, column in columns.items()}, seed)


def gains(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return what an edit does to the new object on average: its probability, its rank and its reciprocal rank, and to the old one."""
    columns = {
        "gain of the new object's probability": edits["probability_after"] - edits["probability_before"],
        "gain of the old object's probability": edits["old_probability_after"] - edits["old_probability_before"],
        "rank of the new object before": edits["rank_before"],
        "rank of the new object after": edits["rank_after"],
        "reciprocal rank before": 1 / edits["rank_before"],
        "reciprocal rank after": 1 / edits["rank_after"],
    }
    return _means(edits, ["rule", "method"], columns, seed)


def perplexity_rises(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean rise of perplexity on other facts of the relation and of other relations; the column `median` is of the rises."""
    rises = _rises(edits)
    means = _means(edits, ["rule", "method"], rises, seed)
    medians = edits[["rule", "method"]].assign(**rises).groupby(["rule", "method"]).median()
    return means.assign(median=[medians.loc[(row.rule, row.method), row.quantity] for row in means.itertuples()])


def perplexity_ratios(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return how many times as large perplexity on other facts is after an edit as before, the geometric mean over edits."""
    return _exponentials(_means(edits, ["rule", "method"], _log_ratios(edits), seed))


def strengths(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return how rates (%) and ratios of perplexity depend on lambda2; `table` is step 6's `edit_strength`, the key column lambda2."""
    shares = _means(table, ["lambda2"], {CHANGED: 100.0 * table["changed"], SUCCESS: 100.0 * table["success"]}, seed)
    return pd.concat([shares, _exponentials(_means(table, ["lambda2"], _log_ratios(table), seed))], ignore_index=True)


def _rises(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {name: table[f"{column}_after"] - table[f"{column}_before"] for name, column in PERPLEXITIES.items()}


def _log_ratios(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {name: np.log(table[f"{column}_after"] / table[f"{column}_before"]) for name, column in PERPLEXITIES.items()}


def _exponentials(means: pd.DataFrame) -> pd.DataFrame:
    return means.assign(**{name: np.exp(means[name]) for name in ("value", "low", "high")})


def _means(table: pd.DataFrame, keys: list[str], columns: dict[str, pd.Series], seed: int) -> pd.DataFrame:
    """The mean of every column that has values, by `keys`, with its interval."""
    values = pd.DataFrame(columns).dropna(axis="columns", how="all")
    rows = []
    for key, own in values.groupby([table[name] for name in keys], sort=False):
        numbers, strata = own.to_numpy(float), table.loc[own.index, "relation"]
        found = bootstrap_interval(lambda drawn, numbers=numbers: numbers[drawn].mean(axis=0), strata, seed)
        rows += [(*key, *row, len(own)) for row in zip(own.columns, *found, strict=True)]
    return pd.DataFrame(rows, columns=[*keys, "quantity", "value", "low", "high", "edits"])
