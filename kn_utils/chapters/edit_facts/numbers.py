"""Statistics of step 6's tables, for notebook 06 and the claims on edits."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kn_utils.chapters.edit_facts.plans import COMMON
from kn_utils.model.neurons import COMMON_SHARE
from kn_utils.stats.intervals import PERCENT, interval_texts, number
from kn_utils.stats.log_odds import log_odds, log_odds_change
from kn_utils.stats.means import over_facts
from kn_utils.store.runs import FACT_KEY, NothingToShowError, Run

CHANGED, SUCCESS, TOP5 = "the answer changed", "the answer is the new object", "the new object is in the top 5"
SAME, OTHER = "same relation", "other relations"
RATES = {CHANGED: "changed", SUCCESS: "success", TOP5: "success_top5"}  # the columns of step 6's table
TEMPLATE_RATES = {CHANGED: "templates_changed", SUCCESS: "templates_success"}
PERPLEXITIES = {SAME: "perplexity_same", OTHER: "perplexity_other"}
PAPER = {  # ids of the paper's values, without the suffix for random neurons
    CHANGED: "edit_change_rate",
    SUCCESS: "edit_success_rate",
    SAME: "edit_perplexity_same_relation",
    OTHER: "edit_perplexity_other_relations",
}
SUFFIXES = {"attribution": "", "random": "_random"}
BY_RULE = ["rule", "method"]
UNLIMITED = (-np.inf, np.inf)
FEW_RELATIONS = 5  # with fewer, intervals over relations are very long
CLEAN = 1.1  # largest ratio of perplexities of an edit that does no harm
CLEAN_SUCCESS = "success without harm to other facts"


def load_edits(run: Run, relations: Sequence[str], common_share: float = COMMON_SHARE) -> pd.DataFrame:
    """Return step 6's table `edit_facts`.

    Raises NothingToShowError, with the reasons, if no fact was edited.
    """
    table = run.read("edit_facts", relations)
    if table.empty:
        reasons = run.read("edit_candidates", relations)["reason"].value_counts()
        counts = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
        largest = run.read("facts", relations).query("prompts > 0").groupby("relation").size().max()
        few = COMMON in reasons and largest * common_share < 2
        why = " (with common_share {:g} every neuron counts as common among so few facts: take a larger n_facts or common_share)"
        raise NothingToShowError(f"no fact could be edited: {counts}{why.format(common_share) if few else ''}")
    return table


def by_method(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the edits by the paper's rule for each method, indexed by relation and fact; the order of facts is that of our neurons."""
    scaled = table.query("rule == 'scaled'").set_index(FACT_KEY)
    found = {method: rows for method, rows in scaled.groupby("method", sort=False)}
    order = found.get("attribution", scaled).index
    return {method: rows.loc[order.intersection(rows.index, sort=False)] for method, rows in found.items()}


def candidates(tried: pd.DataFrame) -> pd.DataFrame:
    """Return for each relation how many facts were tried, edited, and left out for each reason; `tried` is `edit_candidates`."""
    counts = tried.groupby("relation", sort=False)["edited"].agg(tried="size", edited="sum")
    skipped = tried[~tried["edited"]]
    return counts.join(pd.crosstab(skipped["relation"], skipped["reason"])).fillna(0).astype(int)


def rate(edits: pd.DataFrame, outcome: str) -> pd.Series:
    """Return for each edit 100 if the chosen prompt has this outcome (of `RATES`), else 0."""
    return 100.0 * edits[RATES[outcome]]


def other_templates_rate(edits: pd.DataFrame, outcome: str) -> pd.Series:
    """Return for each edit the share (%) of the templates that did not choose it with this outcome; NaN if there is no other."""
    others = (edits["templates"] - 1).where(edits["templates"] > 1)
    return 100 * (edits[TEMPLATE_RATES[outcome]] - edits[RATES[outcome]]) / others


def is_clean(edits: pd.DataFrame) -> pd.Series:
    """Return whether the edit multiplies both perplexities on other facts by 1.1 at most."""
    ratios = [np.exp(log_ratio(edits, where)) for where in PERPLEXITIES]
    return np.logical_and.reduce([(ratio <= CLEAN) | ratio.isna() for ratio in ratios])


def clean_rate(edits: pd.DataFrame) -> pd.Series:
    """Return for each edit 100 if it succeeds and is clean, else 0."""
    return 100.0 * (edits["success"] & is_clean(edits))


def rise(edits: pd.DataFrame, where: str) -> pd.Series:
    """Return for each edit the increase of perplexity on other facts; `where` is `SAME` or `OTHER`."""
    return edits[f"{PERPLEXITIES[where]}_after"] - edits[f"{PERPLEXITIES[where]}_before"]


def log_ratio(edits: pd.DataFrame, where: str) -> pd.Series:
    """Return for each edit ln(perplexity after / before) on other facts; `where` is `SAME` or `OTHER`."""
    return np.log(edits[f"{PERPLEXITIES[where]}_after"] / edits[f"{PERPLEXITIES[where]}_before"])


def lowest_log_ratio(edits: pd.DataFrame, where: str) -> pd.Series:
    """Return for each edit the smallest possible `log_ratio`: no perplexity is below 1."""
    return -np.log(_perplexities_before(edits)[where])


def rates(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the share (%) of edits with each outcome of `RATES`: columns rule, method, quantity, value, low, high, edits."""
    return _means(edits, BY_RULE, {name: rate(edits, name) for name in RATES}, seed, PERCENT)


def template_rates(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean share (%) of the templates that did not choose the edit with each outcome, and of clean successes.

    Columns as in `rates`.
    """
    columns = {f"{name}, other templates": other_templates_rate(edits, name) for name in TEMPLATE_RATES}
    return _means(edits, BY_RULE, columns | {CLEAN_SUCCESS: clean_rate(edits)}, seed, PERCENT)


def gains(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean changes of the objects' log-odds and probabilities, and of the new object's rank; columns as in `rates`."""
    old = log_odds(edits["old_probability_after"]) - log_odds(edits["old_probability_before"])
    gains = {  # with their limits
        "gain of the new object's log-odds": (log_odds_change(edits), UNLIMITED),
        "gain of the old object's log-odds": (pd.Series(old, index=edits.index), UNLIMITED),
        "gain of the new object's probability": (edits["probability_after"] - edits["probability_before"], (-1, 1)),
        "gain of the old object's probability": (edits["old_probability_after"] - edits["old_probability_before"], (-1, 1)),
        "rank of the new object before": (edits["rank_before"], (1, np.inf)),
        "rank of the new object after": (edits["rank_after"], (1, np.inf)),
        "reciprocal rank before": (1 / edits["rank_before"], (0, 1)),
        "reciprocal rank after": (1 / edits["rank_after"], (0, 1)),
    }
    columns, limits = ({name: pair[place] for name, pair in gains.items()} for place in (0, 1))
    return _means(edits, BY_RULE, columns, seed, np.transpose(list(limits.values())))


def perplexity_rises(edits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean and the median increase of perplexity on other facts; columns as in `rates`, and median."""
    rises = {where: rise(edits, where) for where in PERPLEXITIES}
    medians = edits[BY_RULE].assign(**rises).groupby(BY_RULE).median().stack().rename("median")
    means = _means(edits, BY_RULE, rises, seed, UNLIMITED).join(medians, on=[*BY_RULE, "quantity"])
    return _possible(means, edits, BY_RULE, {where: 1 - before for where, before in _perplexities_before(edits).items()})


def named_rises(rises: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `perplexity_rises` for display: numbers as texts, since some are in millions."""
    shown = rises[["rule", "method", "quantity", "edits"]]
    return shown.assign(**{"mean rise": interval_texts(rises), "median rise": rises["median"].map(number)})


def perplexity_ratios(edits: pd.DataFrame, seed: int, keys: Sequence[str] = BY_RULE) -> pd.DataFrame:
    """Return the geometric mean of the ratio of perplexities on other facts, after / before an edit; columns as in `rates`."""
    means = _means(edits, keys, {where: log_ratio(edits, where) for where in PERPLEXITIES}, seed, UNLIMITED)
    means = _possible(means, edits, keys, {where: lowest_log_ratio(edits, where) for where in PERPLEXITIES})
    return means.assign(**np.exp(means[["value", "low", "high"]]))


def finding(rates: pd.DataFrame, templates: pd.DataFrame, ratios: pd.DataFrame) -> str:
    """Return sentences on edits by the paper's rule, from the tables of `rates`, `template_rates` and `perplexity_ratios`."""
    text = _texts(pd.concat([rates, templates]), " %") | _texts(ratios)
    names = {"matched": "neurons of the same layers and activation", "random": "as many random neurons"}
    controls = [f"{text[method, SUCCESS]} with {name}" for method, name in names.items() if (method, SUCCESS) in text]
    times = [f"by {text['attribution', where]} ({where})" for where in PERPLEXITIES if ("attribution", where) in text]
    others = text.get(("attribution", f"{SUCCESS}, other templates"), "– %")
    return (
        f"Of {rates['edits'].iloc[0]} edits, {text['attribution', SUCCESS]} make the new object the answer with the fact's neurons, and "
        f"{' and '.join(controls)}. Templates that did not choose the edit give the new object in {others}. An edit multiplies the "
        f"perplexity on other facts {' and '.join(times)}; {text['attribution', CLEAN_SUCCESS]} of edits succeed and keep both "
        f"within {CLEAN} times."
    )


def _texts(table: pd.DataFrame, unit: str = "") -> dict[tuple[str, str], str]:
    """Return estimates with intervals by the paper's rule, by method and quantity."""
    scaled = table[table["rule"] == "scaled"]
    return dict(zip(zip(scaled["method"], scaled["quantity"], strict=True), interval_texts(scaled, unit=unit), strict=True))


def few_relations(edits: pd.DataFrame) -> str:
    """Return a sentence if fewer than `FEW_RELATIONS` relations have edits, but more than one; else ""."""
    count = edits["relation"].nunique()
    if not 1 < count < FEW_RELATIONS:
        return ""
    return f"Only {count} relations have edits, so intervals over relations are long and say little."


def strengths(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return rates (%) and perplexity ratios for each lambda2; `table` is step 6's `edit_strength`."""
    shares = _means(table, ["lambda2"], {name: rate(table, name) for name in (CHANGED, SUCCESS)}, seed, PERCENT)
    return pd.concat([shares, perplexity_ratios(table, seed, ["lambda2"])], ignore_index=True)


def by_paper_id(means: pd.DataFrame) -> dict[str, tuple[float, float, float, int]]:
    """Return our (mean, low, high, number of edits) for each id of the paper's values."""
    scaled = means[(means["rule"] == "scaled") & means["quantity"].isin(PAPER) & means["method"].isin(SUFFIXES)]
    return {PAPER[row.quantity] + SUFFIXES[row.method]: (row.value, row.low, row.high, row.edits) for row in scaled.itertuples()}


def _perplexities_before(edits: pd.DataFrame) -> dict[str, pd.Series]:
    return {where: edits[f"{column}_before"] for where, column in PERPLEXITIES.items()}


def _possible(means: pd.DataFrame, edits: pd.DataFrame, keys: Sequence[str], lowest: dict[str, pd.Series]) -> pd.DataFrame:
    """Return `means` with intervals that do not begin below the mean of `lowest`, the smallest possible value of each edit."""
    ends = edits[list(keys)].assign(**lowest).groupby(list(keys)).mean().stack().rename("lowest")
    joined = means.join(ends, on=[*keys, "quantity"])
    return joined.assign(low=np.maximum(joined["low"], joined["lowest"])).drop(columns="lowest")


def _means(
    table: pd.DataFrame, keys: Sequence[str], columns: dict[str, pd.Series], seed: int, limits: tuple | np.ndarray
) -> pd.DataFrame:
    """Return the mean over edits of every column with values, for each key.

    `limits` of the intervals are those of all columns, or an array [2, columns] if every column has values.
    """
    values = pd.DataFrame(columns).dropna(axis="columns", how="all")
    rows = []
    for key, group in values.groupby([table[name] for name in keys], sort=False):
        found = over_facts(group.set_index(table.loc[group.index, "relation"]), seed, limits)
        rows += [(*key, *row, len(group)) for row in zip(group.columns, *found, strict=True)]
    return pd.DataFrame(rows, columns=[*keys, "quantity", "value", "low", "high", "edits"])
