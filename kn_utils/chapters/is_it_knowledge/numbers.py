"""Statistics of the table of notebook 12."""

import math

import pandas as pd
from scipy.special import expit

from kn_utils.chapters.is_it_knowledge.table import GRAMMAR, GROUPS, INVENTED, KNOWN, LEFT_OUT, NEVER_RIGHT, WRONG_OBJECT
from kn_utils.stats.intervals import INTERVAL, NOT_NEGATIVE, PERCENT, interval_texts, side_by_side, with_interval
from kn_utils.stats.means import mean_over_relations, share_of_effect
from kn_utils.stats.rule import UNTESTED
from kn_utils.store.runs import NothingToShowError

HALF, QUARTER = 50, 25  # %, the limits of the rule
NAMES = {
    KNOWN: "known facts",
    NEVER_RIGHT: "facts never answered right",
    LEFT_OUT: "facts left out of training",
    INVENTED: "invented subjects",
    WRONG_OBJECT: "wrong objects",
    GRAMMAR: "grammar",
}
CHANGE, MATCHED, COUNT, AGREEMENT = "own neurons", "matched neurons", "neurons", "agreement (%)"
MEASURES = {
    CHANGE: lambda table: table["log_odds_after"] - table["log_odds_before"],
    MATCHED: lambda table: table["log_odds_matched"] - table["log_odds_before"],
    COUNT: lambda table: table["neurons"],
    AGREEMENT: lambda table: 100 * table["agreement"],
}
LESS_MATCHED, PROBABILITY = "change less that by matched neurons", "change of probability"
OTHER_CHANGES = {  # by the own neurons; the probability is that at the mean log-odds of an item's prompts
    LESS_MATCHED: lambda table: table["log_odds_after"] - table["log_odds_matched"],
    PROBABILITY: lambda table: expit(table["log_odds_after"].astype(float)) - expit(table["log_odds_before"].astype(float)),
}
LIMITS = {COUNT: NOT_NEGATIVE, AGREEMENT: PERCENT}


def measured(table: pd.DataFrame, measure: str, group: str) -> pd.Series:
    """Return one of `MEASURES` or `OTHER_CHANGES` for the items of a group; the index has the relation."""
    return (MEASURES | OTHER_CHANGES)[measure](table[table["group"] == group].set_index("relation")).astype(float).dropna()


def group_means(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean of each measure over the relations, for each group that has items: columns group, measure, `INTERVAL`, items.

    Raises NothingToShowError if there is no item.
    """
    if table.empty:
        raise NothingToShowError("no fact of these relations has prompts in two templates, which notebook 12 needs")
    rows = []
    for group in GROUPS:
        for measure in MEASURES:
            if len(values := measured(table, measure, group)):
                limits = LIMITS.get(measure, (-math.inf, math.inf))
                rows.append((group, measure, *mean_over_relations(values, seed, limits), len(values)))
    return pd.DataFrame(rows, columns=["group", "measure", *INTERVAL, "items"])


def known_and(table: pd.DataFrame, group: str, change: str = CHANGE) -> tuple[pd.Series, pd.Series]:
    """Return a change of the known facts and of a group, in the relations that have both; empty if there are none.

    Raises NothingToShowError if suppression does not lower the log-odds of the known facts, so that a share of it says nothing.
    """
    known, other = (measured(table, change, name) for name in (KNOWN, group))
    both = known.index.intersection(other.index)
    known, other = (values[values.index.isin(both)] for values in (known, other))
    if len(known) and known.groupby(level="relation").mean().mean() >= 0:
        raise NothingToShowError("suppression does not lower the log-odds of the known facts of these relations")
    return known, other


def ratios(table: pd.DataFrame, seed: int, change: str = CHANGE) -> pd.DataFrame:
    """Return R, a change of each other group in % of that of the known facts: columns group, value, low, high, items."""
    rows = []
    for group in GROUPS[1:]:
        known, other = known_and(table, group, change)
        if len(other):
            rows.append((group, *share_of_effect(known, other, seed), len(other)))
    if not rows:
        raise NothingToShowError("no relation here has both facts that are known and others to compare them with")
    return pd.DataFrame(rows, columns=["group", "value", "low", "high", "items"])


def by_the_rule(low: float, high: float) -> str:
    """Return what an interval of R (%) means by the rule; without an interval, nothing is tested."""
    if math.isnan(low):
        return UNTESTED
    return "not knowledge" if low > HALF else "knowledge" if high < QUARTER else "open"


def missing(found: pd.DataFrame) -> str:
    """Return a sentence on the groups that are not in a table of `group_means` or `ratios`, after a space; "" if all are there."""
    names = [NAMES[group] for group in GROUPS if group != KNOWN and group not in set(found["group"])]
    return f" Not shown, without items to compare: {'; '.join(names)}." if names else ""


def named_means(means: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `group_means` for display: a row per group, also for those without items."""
    wide = side_by_side(means, ["group"], ["measure"]).reindex(list(GROUPS))
    items = means[means["measure"] == CHANGE].set_index("group")["items"].reindex(wide.index, fill_value=0)
    return wide[list(MEASURES)].assign(items=items).rename(index=NAMES).rename_axis(index="group", columns=None)


def new_relations(means: pd.DataFrame) -> pd.DataFrame:
    """Return the change by the own neurons with its interval, and the interval for a new relation, for display."""
    rows = means[means["measure"] == CHANGE].set_index("group").reindex(list(GROUPS))
    return pd.DataFrame({"group": [NAMES[group] for group in rows.index], "change of log-odds": interval_texts(rows, INTERVAL)})


def named_ratios(ratios: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `ratios` for display, with what each means by the rule, also for groups without items."""
    rows = ratios.set_index("group").reindex(list(GROUPS[1:]))
    columns = {"group": [NAMES[group] for group in rows.index], "R (%)": interval_texts(rows)}
    columns |= {"by the rule": [by_the_rule(row.low, row.high) for row in rows.itertuples()]}
    return pd.DataFrame(columns | {"items": rows["items"].fillna(0).astype(int).tolist()})


def finding(means: pd.DataFrame, ratios: pd.DataFrame, in_probabilities: pd.DataFrame) -> str:
    """Return three sentences, from the tables of `group_means` and of `ratios`, the second one of changes of probability."""
    known = means[(means["group"] == KNOWN) & (means["measure"] == CHANGE)].iloc[0]
    return (
        f"Suppressing four neurons of a known fact changes the log-odds of its object by "
        f"{with_interval(known['value'], known['low'], known['high'])}. In per cent of this, four neurons chosen in the same way "
        f"change the log-odds of what is not known by: {_shares(ratios)}. The verdict uses log-odds. Small "
        f"probabilities change little, so the shares of the change of probability are others: {_shares(in_probabilities)}."
    )


def _shares(ratios: pd.DataFrame) -> str:
    texts = interval_texts(ratios, unit=" %")
    return "; ".join(f"{NAMES[group]} {text}" for group, text in zip(ratios["group"], texts, strict=True))
