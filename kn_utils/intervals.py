"""Confidence intervals by bootstrap over facts."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap

RESAMPLES = 999
LEVEL = 0.95


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float | np.ndarray], strata: Sequence, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a statistic over all rows and its 95 % percentile interval: (estimate, low, high), each of the statistic's own shape.

    `statistic` takes row numbers, which may repeat. Rows are drawn anew within each stratum (say, the facts of one relation), so every
    resample has as many of each; `strata` gives the row's stratum. The interval is NaN where no
    stratum has two rows; resamples in which the statistic is NaN are left out.
    """
    codes = np.unique(np.asarray(strata), return_inverse=True)[1]
    groups = [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]
    alone = np.concatenate([group for group in groups if len(group) == 1] or [np.empty(0, int)])
    several = [group for group in groups if len(group) > 1]
    estimate = np.asarray(statistic(np.arange(len(codes))), float)
    if not several:
        return estimate, np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # NaN in some resamples is left out below,
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)  # in all of them it is the result
        resampled = bootstrap(
            several,
            lambda *drawn: np.asarray(statistic(np.concatenate([*drawn, alone])), float),
            n_resamples=RESAMPLES,
            batch=10,
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
        low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=-1)
    return estimate, low, high
