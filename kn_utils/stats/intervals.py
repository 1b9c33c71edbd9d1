"""Bootstrap intervals over relations, prediction intervals for a new relation, and their text."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm, t

RESAMPLES = 999
LEVEL = 0.95
INTERVAL = ["value", "low", "high", "new_low", "new_high"]  # columns with what `mean_of_relations` returns
PERCENT, NOT_NEGATIVE = (0, 100), (0, math.inf)  # limits of shares and of counts
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MIN_ROWS = 3  # of a stratum; smaller ones are joined
MIN_DEFINED = 0.6  # share of resamples with a value; of two relations, every second resample has no pair of different ones

Statistic = Callable[[np.ndarray, np.ndarray], float | np.ndarray]
Triple = tuple[np.ndarray, np.ndarray, np.ndarray] | tuple[float, float, float]


def bootstrap_interval(
    statistic: Statistic,
    relations: Sequence,
    seed: int,
    *,
    pooled: bool = False,
    these_relations: bool = False,
    limits: tuple = (-math.inf, math.inf),
) -> Triple:
    """Return (estimate, low, high) of a statistic, each a number or an array as the statistic: 95 % intervals from a cluster bootstrap.

    `statistic` takes row numbers and, for each of them, the number of its group, 0, 1, 2, ...; a group is a drawn relation. So a relation
    that is drawn twice is two groups. `relations` has the relation of each row. A resample has as many relations as the data, drawn with
    replacement, each with all its rows: their spread holds that of the facts too, and to draw the facts again would count it twice
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).

    The ends are percentiles, moved away from the estimate by t / z * sqrt(R / (R - 1)) for R relations, since percentiles of few clusters
    are too narrow (Hesterberg, The American Statistician 69, 2015). `pooled` is True for a statistic in which a relation counts by its
    number of rows; then R is the effective number of relations, sum(rows)^2 / sum(rows^2).

    With `these_relations`, or if there is only one relation, the interval is for fixed relations: rows are resampled within relations.
    Relations of fewer than `MIN_ROWS` rows are joined to one stratum, so they do not make an interval narrower.

    Resamples in which the statistic is NaN are left out. The interval is NaN if they are too many, or if there is only one row. The ends
    are kept within `limits`, the possible values.
    """
    codes, names = pd.factorize(np.asarray(relations))
    estimate = np.asarray(statistic(np.arange(len(codes)), codes), float)[()]  # a number, not an array without dimensions
    if len(codes) < 2:
        return estimate, estimate * np.nan, estimate * np.nan
    draw = np.random.default_rng(seed)
    one_level = _rows_within if these_relations or len(names) == 1 else _relations
    resample, stretch = one_level(codes, pooled)
    resampled = np.stack([np.asarray(statistic(*resample(draw)), float) for _ in range(RESAMPLES)])
    return _interval(estimate, resampled, stretch, limits)


def _interval(estimate: np.ndarray, resampled: np.ndarray, stretch: float, limits: tuple) -> Triple:
    """Return the estimate with the ends of its interval; `resampled` [resamples, ...] has the statistic of each resample."""
    with np.errstate(invalid="ignore"):
        ends = np.clip(estimate + stretch * (_quantiles(resampled) - estimate), *limits)
    return estimate, ends[0], ends[1]


def _relations(codes: np.ndarray, pooled: bool) -> tuple[Callable, float]:
    """Return a function that draws relations, and the factor for the distance of percentiles from the estimate."""
    rows = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    sizes = np.array([len(of_relation) for of_relation in rows])

    def resample(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        drawn = draw.integers(len(rows), size=len(rows))
        return np.concatenate([rows[number] for number in drawn]), np.repeat(np.arange(len(rows)), sizes[drawn])

    effective = max(sizes.sum() ** 2 / (sizes**2).sum(), 2) if pooled else len(rows)
    return resample, _t_over_z(effective - 1) * math.sqrt(effective / (effective - 1))


def _rows_within(codes: np.ndarray, pooled: bool) -> tuple[Callable, float]:
    """Return a function that draws rows within relations, and the factor for the distance of percentiles from the estimate.

    Of n rows n - 1 are drawn, which makes the variance of a mean unbiased (McCarthy and Snowden, Vital and Health Statistics 2-95, 1985).
    """
    strata = _joined(codes)
    rows = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]

    def resample(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        drawn = np.concatenate([draw.choice(of_stratum, len(of_stratum) - 1) for of_stratum in rows])
        return drawn, np.unique(codes[drawn], return_inverse=True)[1]

    return resample, _t_over_z(len(codes) - len(rows))


def _joined(codes: np.ndarray) -> np.ndarray:
    """Return the stratum of each row: its relation. Small relations are one stratum, with the smallest others if it is still too small."""
    sizes = np.bincount(codes)
    if sizes.min() >= MIN_ROWS:
        return codes
    order = np.argsort(sizes, kind="stable")
    rows_before = np.cumsum(sizes[order]) - sizes[order]
    joined = order[(sizes[order] < MIN_ROWS) | (rows_before < MIN_ROWS)]
    return np.where(np.isin(codes, joined), joined[0], codes)


def _t_over_z(freedom: float) -> float:
    return float(t.ppf((1 + LEVEL) / 2, freedom) / norm.ppf((1 + LEVEL) / 2))


def _quantiles(resampled: np.ndarray) -> np.ndarray:
    """Return the percentiles over the first axis, [2, ...]; NaN if too few resamples have a value."""
    levels, few = [(1 - LEVEL) / 2, (1 + LEVEL) / 2], np.mean(~np.isnan(resampled), axis=0) < MIN_DEFINED
    filled = np.where(few, 0, resampled)
    return np.where(few, np.nan, np.nanquantile(filled, levels, axis=0))


def independent_difference(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Return the difference of two independent estimates, each (estimate, low, high), with its interval.

    The distances of the ends from the estimates are added as squares (MOVER: Zou and Donner, Statistics in Medicine 27, 2008).
    """
    (a, a_low, a_high), (b, b_low, b_high) = one, other
    return a - b, a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)


def mean_of_relations(
    statistic: Statistic, relations: Sequence, seed: int, limits: tuple = (-math.inf, math.inf), fixed: bool = True
) -> tuple[np.ndarray, ...]:
    """Return (estimate, low, high, new_low, new_high) of a mean over relations with equal weights.

    `statistic` is as in `bootstrap_interval`, but returns a value for each group, as its last axis; groups without a value are NaN. The
    last two are the prediction interval for a new relation, see `prediction_interval`. With one relation, the interval is from its rows.
    The value of a relation is `fixed` unless it depends on the other relations that are drawn. All ends are kept within `limits`.
    """
    codes, _ = pd.factorize(np.asarray(relations))
    values = np.asarray(statistic(np.arange(len(codes)), codes), float)
    if fixed and len(codes) > 1:
        interval = _of_all_resamples(statistic, len(codes), values, seed, limits)
    else:
        interval = bootstrap_interval(lambda rows, groups: _nan_mean(statistic(rows, groups)), relations, seed, limits=limits)
    new = prediction_interval(values)
    return *interval, *(np.clip(end, *limits) for end in new)


def _of_all_resamples(statistic: Statistic, n_rows: int, values: np.ndarray, seed: int, limits: tuple) -> Triple:
    """Return the interval of the mean of `values` [..., relations]; a relation has the same value in every resample that draws it.

    So relations are drawn for all resamples at once. Rows of a single relation, too: each resample is a group of one call of `statistic`.
    """
    draw, count = np.random.default_rng(seed), values.shape[-1]
    if count > 1:
        _, stretch = _relations(np.arange(count), pooled=False)
        resampled = _nan_mean(values[..., draw.integers(count, size=(RESAMPLES, count))])
    else:
        _, stretch = _rows_within(np.zeros(n_rows, int), pooled=False)
        drawn = draw.integers(n_rows, size=(RESAMPLES, n_rows - 1))
        resampled = np.asarray(statistic(drawn.ravel(), np.repeat(np.arange(RESAMPLES), n_rows - 1)), float)
    return _interval(_nan_mean(values)[()], np.moveaxis(resampled, -1, 0), stretch, limits)


def prediction_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % prediction interval of a new relation's value: mean -+ t * sd * sqrt(1 + 1 / R), with R - 1 degrees of freedom.

    The last axis are the R relations; NaN values are left out. The interval is NaN for fewer than two relations.
    """
    counted = np.sum(~np.isnan(values), axis=-1)
    mean, spread = _nan_mean(values), np.full(counted.shape, np.nan)
    freedom = np.maximum(counted - 1, 1)
    squares = np.nansum((values - np.expand_dims(mean, -1)) ** 2, axis=-1)
    spread = np.where(counted > 1, np.sqrt(squares / freedom * (1 + 1 / np.maximum(counted, 1))), np.nan)
    width = t.ppf((1 + LEVEL) / 2, freedom) * spread
    return mean - width, mean + width


def _nan_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis without NaN, or NaN if there is no value; as `numpy.nanmean`, but without a warning."""
    values = np.asarray(values, float)
    counted = np.sum(~np.isnan(values), axis=-1)
    return np.where(counted > 0, np.nansum(values, axis=-1) / np.maximum(counted, 1), np.nan)


def number(value: float) -> str:
    """Return a number as text: whole numbers as they are, two decimals below 10, one below 1,000, and a power of ten from a million."""
    if isinstance(value, int | np.integer):
        text = f"{value:,}"
    elif abs(value) >= 999_999.5:
        mantissa, _, exponent = f"{value:.1e}".partition("e+")
        text = f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPTS)}" if exponent else mantissa
    else:
        size = abs(value)
        text = f"{value:,.{2 if size < 9.995 else 1 if size < 999.95 else 0}f}"
    if not text.strip("-0.,"):  # no minus before zero
        text = text.lstrip("-")
    return text.replace("-", "−")  # browsers may break a line after a hyphen


def with_interval(
    value: float, low: float, high: float, new_low: float = math.nan, new_high: float = math.nan, unit: str = ""
) -> str:
    """Return an estimate with its interval as text, or "(no interval)"; then the prediction interval for a new relation, if given."""
    if math.isnan(value):
        return f"–{unit}"
    estimate, *ends, new, new_end = (number(float(part)) for part in (value, low, high, new_low, new_high))
    text = f"{estimate}{unit} (no interval)" if math.isnan(low) else f"{estimate} [{', '.join(ends)}]{unit}"
    return text if math.isnan(new_low) else f"{text}, a new relation: [{new}, {new_end}]"


def interval_texts(table: pd.DataFrame, interval: Sequence[str] = INTERVAL[:3], unit: str = "") -> list[str]:
    """Return `with_interval` of each row of a table; `interval` names the columns."""
    return [with_interval(*row, unit=unit) for row in table[list(interval)].itertuples(index=False)]


def side_by_side(
    table: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], interval: Sequence[str] = INTERVAL[:3]
) -> pd.DataFrame:
    """Return the table of `interval_texts`, with the given columns of `table` as rows and columns."""
    index = pd.MultiIndex.from_frame(table[[*rows, *columns]])
    return pd.Series(interval_texts(table, interval), index=index).unstack(list(columns), sort=False)


def in_words(low: float, high: float, below: str, above: str, unclear: str) -> str:
    """Return `below` if the interval of a difference is below zero, `above` if it is above zero, else `unclear`."""
    return below if high < 0 else above if low > 0 else unclear
