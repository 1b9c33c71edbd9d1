"""Statistics of the table of notebook 17."""

import re

import numpy as np
import pandas as pd

from kn_utils.chapters.how_few.table import FIRST, KEPT, RANDOM, SECOND, SIZES, WRONG
from kn_utils.stats.intervals import PERCENT, interval_texts, number, with_interval
from kn_utils.stats.means import Counted, median_over_facts, over_facts
from kn_utils.store.runs import FACT_KEY, NothingToShowError

NEVER = 2 * SIZES[-1]  # stands for the size if no set changes the answer
LONGER = 1.5  # times the first set's size; the second set may be so large
FEW = 5
ZEROS = re.compile(r"\.0+(?!\d)")  # decimals of a whole number
NAMES = {
    FIRST: "first set",
    SECOND: "second set, without the first's neurons",
    RANDOM: "chosen among a random tenth of all neurons",
    WRONG: "chosen for a wrong object",
    KEPT: "all but the first set",
}


def smallest_sets(table: pd.DataFrame, template: str) -> pd.DataFrame:
    """Return the smallest size that changes the right answer, a row per fact and a column per set; `NEVER` if none does.

    NaN where a fact has no such set. Raises NothingToShowError if there is no fact.
    """
    if table.empty:
        raise NothingToShowError("no fact of these relations is answered right by templates of both halves")
    rows = table[(table["template"] == template) & (table["set"] != KEPT)]
    size = rows["size"].where(~rows["correct"], NEVER).astype(float)
    return size.groupby([rows[name] for name in (*FACT_KEY, "set")]).min().unstack("set")


def medians(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the median size over facts: columns template, set, value, low, high, never (% of facts whose answer stays), facts."""
    found = []
    for template in ("other", "own"):
        wide = smallest_sets(table, template)
        for name in (name for name in NAMES if name in wide):
            sizes = wide[name].dropna()
            never = 100 * (sizes == NEVER).mean()
            found.append((template, name, *_median(sizes, seed, (0, np.log2(NEVER))), never, len(sizes)))
    return pd.DataFrame(found, columns=["template", "set", "value", "low", "high", "never", "facts"])


def _median(sizes: pd.Series, seed: int, limits: tuple = (-np.inf, np.inf)) -> tuple[float, float, float]:
    """Return the median with its interval, which is made on the logarithm: sizes are spread over factors, not over differences."""
    return tuple(2**end for end in median_over_facts(np.log2(sizes), seed, limits))


def ratio(table: pd.DataFrame, name: str, seed: int) -> Counted:
    """Return the median over facts of the first set's size divided by another set's, on the other template."""
    wide = smallest_sets(table, "other")
    ratios = (wide[FIRST] / wide[name]).dropna()
    return Counted(_median(ratios, seed), ratios.index.get_level_values("relation"))


def second_share(table: pd.DataFrame, seed: int, longer: float = LONGER) -> Counted:
    """Return the share (%) of lost answers whose second set is at most `longer` times as large as the first."""
    within = _within(table, longer)[SECOND]
    return Counted(over_facts(100 * within, seed, limits=PERCENT), within.index.get_level_values("relation"))


def second_less(table: pd.DataFrame, name: str, seed: int) -> Counted:
    """Return that share minus the share (points) of another set, on the facts that have both."""
    within = _within(table)[[SECOND, name]].dropna()
    differences = 100 * (within[SECOND] - within[name])
    return Counted(over_facts(differences, seed, limits=(-100, 100)), within.index.get_level_values("relation"))


def still_right(table: pd.DataFrame, seed: int) -> str:
    """Return a sentence on the answers that are still right while all neurons but one are zero at the prediction position."""
    kept = table[(table["set"] == KEPT) & (table["size"] == 1)].set_index("relation")["correct"]
    share = with_interval(*over_facts(100.0 * kept, seed, limits=PERCENT), unit=" %")
    return f"With a single neuron on at the prediction position, and all others zero, {_short(share)} of the answers are still right."


def _within(table: pd.DataFrame, longer: float = LONGER) -> pd.DataFrame:
    """Return for each lost answer (rows) whether a set (columns) is not more than `longer` times the first: 1 or 0, NaN without a set.

    Raises NothingToShowError if the first set changes no answer.
    """
    wide = smallest_sets(table, "other")
    if SECOND not in wide or (wide[FIRST] == NEVER).all():
        raise NothingToShowError("no right answer of these relations is lost")
    lost = wide[wide[FIRST] < NEVER]
    return lost.le(longer * lost[FIRST], axis="index").astype(float).where(lost.notna())


def right_answers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share (%) of facts still answered right on the other template: rows sizes, columns sets."""
    rows = table[table["template"] == "other"]
    return 100 * rows.groupby(["size", "set"])["correct"].mean().unstack("set")


def named_table(found: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `medians` for display."""
    sizes = [_short(text) for text in interval_texts(found)]
    shown = found.assign(**{"median size": sizes, "set": found["set"].map(NAMES)})
    return shown[["template", "set", "median size", "never", "facts"]].rename(columns={"never": "never lost (%)"})


def finding(table: pd.DataFrame, seed: int) -> str:
    """Return sentences: how many neurons are needed, how much is left without all but one, and whether others do the same."""
    found = medians(table, seed)
    first = found[(found["template"] == "other") & (found["set"] == FIRST)].iloc[0]
    size = first[["value", "low", "high"]].astype(float)
    explained = f" ({NEVER:,} stands for never)" if np.isclose(size.max(), NEVER) else ""
    text = (
        f"A median of {_short(with_interval(*size))} neurons{explained} must be set to zero before a right answer is lost on a template "
        f"that did not choose them; {_short(number(first['never']))} % of the answers are never lost. {still_right(table, seed)}"
    )
    if first["never"] == 100:
        return text
    interval, lost = second_share(table, seed)
    share = _short(with_interval(*interval, unit=" %"))
    return (
        f"{text} Of the answers that are lost ({len(lost)}), {share} are also lost if a second set is zero: other neurons, at most "
        f"{LONGER:g} times as many."
    )


def _short(text: str) -> str:
    """Return a text in which whole numbers have no decimals."""
    return ZEROS.sub("", text)
