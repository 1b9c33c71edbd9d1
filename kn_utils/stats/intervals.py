"""Bootstrap intervals over relations, prediction intervals for a new relation, and their text.

All intervals are 95 % intervals from a cluster bootstrap. A resample has as many relations as the data, drawn with replacement, each with
all its rows: their spread holds that of the facts too, and to draw the facts again would count it twice (Davison and Hinkley, Bootstrap
Methods and their Application, 1997, section 3.8). With one relation, its rows are drawn.

The ends are percentiles, moved away from the estimate by t / z * sqrt(R / (R - 1)) for R relations, since percentiles of few clusters are
too narrow (Hesterberg, The American Statistician 69, 2015). Where a relation counts by its number of rows, R is the effective number of
relations, sum(rows)^2 / sum(rows^2). Resamples in which the statistic is NaN are left out. The interval is NaN if they are too many, or if
there is only one row. The ends are kept within `limits`, the possible values.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm, t

RESAMPLES = 999
LEVEL = 0.95
INTERVAL = ["value", "low", "high", "new_low", "new_high"]  # columns with what `mean_of_relations` returns
PERCENT, NOT_NEGATIVE = (0, 100), (0, math.inf)  # limits of shares and of counts
ROWS_AT_ONCE = 1_000_000  # limits the memory
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MIN_DEFINED = 0.6  # share of resamples with a value; of two relations, every second resample has no pair of different ones

Statistic = Callable[[np.ndarray, np.ndarray], float | np.ndarray]
Triple = tuple[np.ndarray, np.ndarray, np.ndarray] | tuple[float, float, float]


def interval_of_sums(
    of: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    relations: Sequence,
    seed: int,
    limits: tuple = (-math.inf, math.inf),
) -> Triple:
    """Return (estimate, low, high) of a statistic that depends on sums over rows only, so that relations count by their rows.

    `values` is [rows, quantities], and `relations` has the relation of each row. `of` takes sums [..., quantities] and returns the
    statistic [...], or several [..., statistics]. The result has the shape of one statistic.
    """
    codes, names = pd.factorize(np.asarray(relations))
    values = np.asarray(values, float)
    estimate = np.asarray(of(values.sum(axis=0)), float)[()]  # a number, not an array without dimensions
    if len(codes) < 2:
        return _no_interval(estimate)
    sums = values if len(names) == 1 else np.stack([values[codes == code].sum(axis=0) for code in range(len(names))])
    drawn = [np.bincount(resample, minlength=len(sums)) for resample in _resamples(codes, seed)]
    return _interval(estimate, np.asarray(of(np.stack(drawn) @ sums), float), _stretch(codes, pooled=True), limits)


def interval_over_relations(
    statistic: Statistic,
    relations: Sequence,
    seed: int,
    join: Callable[[np.ndarray], np.ndarray],
    limits: tuple = (-math.inf, math.inf),
) -> Triple:
    """Return (estimate, low, high) of a statistic in which relations have equal weights.

    `statistic` takes row numbers and, for each of them, the number of its group, 0, 1, 2, ...; it returns the value of each group, or
    several values [..., groups]. A group is a relation, or all rows of a resample. `join` takes [..., relations] and returns the result,
    [...]; a relation that is drawn twice is there twice.
    """
    codes, names = pd.factorize(np.asarray(relations))
    values = np.asarray(statistic(np.arange(len(codes)), codes), float)
    estimate = np.asarray(join(values))[()]
    if len(codes) < 2:
        return _no_interval(estimate)
    drawn = _resamples(codes, seed)
    if len(names) == 1:
        few = np.array_split(drawn, math.ceil(drawn.size / ROWS_AT_ONCE))
        of_few = [statistic(some.ravel(), np.repeat(np.arange(len(some)), some.shape[1])) for some in few]
        values, drawn = np.concatenate(of_few, axis=-1), np.arange(len(drawn))[:, None]
    resampled = np.asarray(join(values[..., drawn]))  # [..., resamples]
    return _interval(estimate, np.moveaxis(resampled, -1, 0), _stretch(codes, pooled=False), limits)


def bootstrap_interval(statistic: Statistic, relations: Sequence, seed: int, limits: tuple = (-math.inf, math.inf)) -> Triple:
    """Return (estimate, low, high) of any statistic of rows in which relations count by their rows, a number or an array.

    `statistic` takes row numbers and, for each of them, the number of its group, 0, 1, 2, ...; a group is a drawn relation, so a relation
    that is drawn twice is two groups. It is called once for every resample; where they suffice, the functions above are much faster.
    """
    codes, _ = pd.factorize(np.asarray(relations))
    estimate = np.asarray(statistic(np.arange(len(codes)), codes), float)[()]
    if len(codes) < 2:
        return _no_interval(estimate)
    rows = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]

    def resampled(drawn: np.ndarray) -> np.ndarray:
        if len(rows) == 1:
            return statistic(drawn, 0 * drawn)
        of_drawn = [rows[relation] for relation in drawn]
        return statistic(np.concatenate(of_drawn), np.repeat(np.arange(len(drawn)), [len(of_one) for of_one in of_drawn]))

    found = np.array([resampled(drawn) for drawn in _resamples(codes, seed)], float)
    return _interval(estimate, found, _stretch(codes, pooled=True), limits)


def _no_interval(estimate: np.ndarray) -> Triple:
    return estimate, estimate * np.nan, estimate * np.nan


def _interval(estimate: np.ndarray, resampled: np.ndarray, stretch: float, limits: tuple) -> Triple:
    """Return the estimate with the ends of its interval; `resampled` [resamples, ...] has the statistic of each resample."""
    with np.errstate(invalid="ignore"):
        ends = np.clip(estimate + stretch * (_quantiles(resampled) - estimate), *limits)
    return estimate, ends[0], ends[1]


def _resamples(codes: np.ndarray, seed: int) -> np.ndarray:
    """Return the relations of every resample, [resamples, relations]; if there is only one relation, its rows, [resamples, rows - 1].

    Of n rows n - 1 are drawn, which makes the variance of a mean unbiased (McCarthy and Snowden, Vital and Health Statistics 2-95, 1985).
    """
    draw, relations = np.random.default_rng(seed), codes.max() + 1
    units, size = (relations, relations) if relations > 1 else (len(codes), len(codes) - 1)
    return draw.integers(units, size=(RESAMPLES, size))


def _stretch(codes: np.ndarray, pooled: bool) -> float:
    """Return the factor for the distance of percentiles from the estimate, if relations are drawn, or rows of a single one."""
    sizes = np.bincount(codes)
    if len(sizes) == 1:
        return _t_over_z(len(codes) - 1)
    effective = max(sizes.sum() ** 2 / (sizes**2).sum(), 2) if pooled else len(sizes)
    return _t_over_z(effective - 1) * math.sqrt(effective / (effective - 1))


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
    statistic: Statistic,
    relations: Sequence,
    seed: int,
    limits: tuple = (-math.inf, math.inf),
    among: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> tuple[np.ndarray, ...]:
    """Return (estimate, low, high, new_low, new_high) of a mean over relations with equal weights.

    `statistic` is as in `interval_over_relations`; groups without a value are NaN. If the value of a relation depends on the others that
    are drawn with it, `among` computes the values of all, [..., relations]. The last two are the prediction interval for a new relation,
    see `prediction_interval`. With one relation, the interval is from its rows. All ends are kept within `limits`.
    """
    interval = interval_over_relations(statistic, relations, seed, lambda values: nan_mean(among(values)), limits)
    codes, _ = pd.factorize(np.asarray(relations))
    new = prediction_interval(among(np.asarray(statistic(np.arange(len(codes)), codes), float)))
    return *interval, *(np.clip(end, *limits) for end in new)


def prediction_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % prediction interval of a new relation's value: mean -+ t * sd * sqrt(1 + 1 / R), with R - 1 degrees of freedom.

    The last axis are the R relations; NaN values are left out. The interval is NaN for fewer than two relations.
    """
    counted = np.sum(~np.isnan(values), axis=-1)
    mean, spread = nan_mean(values), np.full(counted.shape, np.nan)
    freedom = np.maximum(counted - 1, 1)
    squares = np.nansum((values - np.expand_dims(mean, -1)) ** 2, axis=-1)
    spread = np.where(counted > 1, np.sqrt(squares / freedom * (1 + 1 / np.maximum(counted, 1))), np.nan)
    width = t.ppf((1 + LEVEL) / 2, freedom) * spread
    return mean - width, mean + width


def nan_mean(values: np.ndarray) -> np.ndarray:
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
