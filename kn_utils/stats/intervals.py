"""Confidence intervals by bootstrap over facts, and how they are written."""

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
    """Return a statistic over all rows and its 95 % interval from a stratified bootstrap: (estimate, low, high), of the statistic's shape.

    The interval is the bias-corrected percentile one (Efron, Canadian Journal of Statistics 9, 1981), because ratios of means over few
    facts are larger in most resamples than in the data.
    `statistic` takes row numbers, which may repeat. `strata` names each row's stratum (say, its relation); a resample has as many rows of
    each stratum as the data. The interval is NaN where no stratum has two rows; resamples in which the statistic is NaN are left out.
    """
    codes = np.unique(np.asarray(strata), return_inverse=True)[1]
    groups = [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]
    alone = np.concatenate([group for group in groups if len(group) == 1] or [np.empty(0, int)])
    several = [group for group in groups if len(group) > 1]
    estimate = np.asarray(statistic(np.arange(len(codes))), float)
    if not several:
        return estimate, np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # NaN in some resamples is left out below
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
    """The ends of one number's interval; equal resamples count half, and at least one on either side of the estimate."""
    resampled = resampled[~np.isnan(resampled)]
    if len(resampled) < 2 or np.isnan(estimate):
        return np.full(2, np.nan)
    below = np.sum(resampled < estimate) + np.sum(resampled == estimate) / 2
    bias = ndtri(np.clip(below, 1, len(resampled) - 1) / len(resampled))
    return np.quantile(resampled, ndtr(2 * bias + ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])))


def number(value: float) -> str:
    """Return a number as text: with two decimals below 10, one from there on, and as a power of ten from a million on."""
    text = f"{value:.1e}" if abs(value) >= 1e6 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return text.replace("-", "−")  # after a hyphen a browser may break the line


def with_interval(value: float, low: float, high: float) -> str:
    """Return an estimate with its interval as text; where there is none, it says so."""
    if math.isnan(value):
        return "–"
    return f"{number(value)} (no interval)" if math.isnan(low) else f"{number(value)} [{number(low)}, {number(high)}]"


def side_by_side(table: pd.DataFrame, rows: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Return "value [low, high]" in the cell of each row and column; `table` has the columns value, low, high and those named."""
    text = [with_interval(row.value, row.low, row.high) for row in table.itertuples()]
    index = pd.MultiIndex.from_frame(table[[*rows, *columns]])
    return pd.Series(text, index=index).unstack(list(columns), sort=False)


def group_means(table: pd.DataFrame, keys: Sequence[str], column: str, seed: int) -> pd.DataFrame:
    """Return the mean of a column of a table with a row per fact, by `keys`, with its interval: columns `keys`, mean, low, high, facts.

    The intervals resample facts within relations; `table` has the column relation.
    """
    rows = []
    for key, group in table.groupby(list(keys), sort=False):
        values = group[column].to_numpy(float)
        interval = bootstrap_interval(lambda drawn, values=values: values[drawn].mean(), group["relation"], seed)
        rows.append((*key, *map(float, interval), len(group)))
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "facts"])


def in_words(low: float, high: float, below: str, above: str, unclear: str) -> str:
    """Return what an interval says about a difference: `below` if it lies below zero, `above` if above, else (or without one) `unclear`."""
    return below if high < 0 else above if low > 0 else unclear
