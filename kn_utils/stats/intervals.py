"""Bootstrap confidence intervals, and their text."""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from scipy.stats import DegenerateDataWarning, bootstrap

RESAMPLES = 999
LEVEL = 0.95


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float | np.ndarray], strata: Sequence, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (estimate, low, high) of a statistic, each with the shape of the statistic: 95 % intervals from a stratified bootstrap.

    `statistic` takes row numbers, which may repeat. `strata` is the stratum of each row, for example its relation; a resample has as many
    rows of each stratum as the data. Without a stratum of two or more rows the interval is NaN. Resamples in which the statistic is NaN are
    left out.
    The intervals are bias-corrected percentile intervals (Efron, Canadian Journal of Statistics 9, 1981), since ratios of means over few
    facts are biased upwards in resamples.
    """
    codes = np.unique(np.asarray(strata), return_inverse=True)[1]
    groups = [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]
    alone = np.concatenate([group for group in groups if len(group) == 1] or [np.empty(0, int)])
    several = [group for group in groups if len(group) > 1]
    estimate = np.asarray(statistic(np.arange(len(codes))), float)
    if not several:
        return estimate, np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # NaNs are left out below
        resampled = bootstrap(
            several,
            lambda *drawn: np.asarray(statistic(np.concatenate([*drawn, alone])), float),
            n_resamples=RESAMPLES,
            batch=10,
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    ends = [_bias_corrected(*both) for both in zip(estimate.ravel(), resampled.reshape(estimate.size, -1), strict=True)]
    return estimate, *np.reshape(ends, (*estimate.shape, 2)).transpose(-1, *range(estimate.ndim))


def _bias_corrected(estimate: float, resampled: np.ndarray) -> np.ndarray:
    """Return the interval of one number. Resamples equal to the estimate count half, and at least one counts on each side."""
    resampled = resampled[~np.isnan(resampled)]
    if len(resampled) < 2 or np.isnan(estimate):
        return np.full(2, np.nan)
    below = np.sum(resampled < estimate) + np.sum(resampled == estimate) / 2
    bias = ndtri(np.clip(below, 1, len(resampled) - 1) / len(resampled))
    return np.quantile(resampled, ndtr(2 * bias + ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])))


def number(value: float) -> str:
    """Return a number as text: two decimals below 10, one decimal below a million, and scientific notation above."""
    text = f"{value:.1e}" if abs(value) >= 1e6 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return text.replace("-", "−")  # browsers may break a line after a hyphen


def with_interval(value: float, low: float, high: float) -> str:
    """Return an estimate with its interval as text, or with "(no interval)"."""
    if math.isnan(value):
        return "–"
    return f"{number(value)} (no interval)" if math.isnan(low) else f"{number(value)} [{number(low)}, {number(high)}]"


def side_by_side(table: pd.DataFrame, rows: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Return a table of "value [low, high]", with the given columns of `table` as rows and columns."""
    text = [with_interval(row.value, row.low, row.high) for row in table.itertuples()]
    index = pd.MultiIndex.from_frame(table[[*rows, *columns]])
    return pd.Series(text, index=index).unstack(list(columns), sort=False)


def group_means(table: pd.DataFrame, keys: Sequence[str], column: str, seed: int) -> pd.DataFrame:
    """Return the mean of a column for each combination of `keys`: columns `keys`, mean, low, high, facts.

    `table` has a row per fact, and a column relation. The intervals resample facts within relations.
    """
    rows = []
    for key, group in table.groupby(list(keys), sort=False):
        values = group[column].to_numpy(float)
        interval = bootstrap_interval(lambda drawn, values=values: values[drawn].mean(), group["relation"], seed)
        rows.append((*key, *map(float, interval), len(group)))
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "facts"])


def in_words(low: float, high: float, below: str, above: str, unclear: str) -> str:
    """Return `below` if the interval of a difference is below zero, `above` if it is above zero, else `unclear`."""
    return below if high < 0 else above if low > 0 else unclear
