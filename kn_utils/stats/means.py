"""Means over relations with equal weights, statistics over facts, and what one mean is of another.

A series of values has a row per fact, and the relation as a level of its index.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kn_utils.stats.intervals import (
    Statistic,
    bootstrap_interval,
    interval_of_sums,
    interval_over_relations,
    mean_of_relations,
    nan_mean,
)


class Counted(NamedTuple):
    """An estimate: its `interval`, and the relation of each fact, edit, ... that it counts."""

    interval: tuple[float, ...]
    relations: pd.Index


def divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN where `whole` is zero."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) != 0)


def relation_means(values: np.ndarray) -> Statistic:
    """Return a statistic: the means of `values` [facts, ...] over the facts of each relation, [..., relations]."""
    return lambda rows, groups: np.moveaxis(group_sums(values[rows], groups), 0, -1) / np.bincount(groups)


def group_sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the sums over the rows of each group, [groups, ...], of values [rows, ...]."""
    sums = np.zeros((groups.max() + 1, *values.shape[1:]))
    np.add.at(sums, groups, values)
    return sums


def mean_over_relations(
    values: pd.Series | pd.DataFrame, seed: int, limits: tuple = (-np.inf, np.inf)
) -> tuple[float | np.ndarray, ...]:
    """Return `mean_of_relations` for the mean over the facts of each relation; arrays for several columns."""
    return mean_of_relations(relation_means(values.to_numpy(float)), values.index.get_level_values("relation"), seed, limits)


def over_facts(values: pd.Series | pd.DataFrame, seed: int, limits: tuple = (-np.inf, np.inf)) -> tuple:
    """Return (estimate, low, high) of the mean over facts, each counted once; arrays for several columns. NaN values are left out."""
    numbers = values.to_numpy(float).reshape(len(values), -1)
    there = ~np.isnan(numbers)

    def mean(sums: np.ndarray) -> np.ndarray:
        means = divided(*np.split(sums, 2, axis=-1))
        return means if values.ndim > 1 else means[..., 0]

    sums = np.concatenate([np.where(there, numbers, 0), there], axis=1)
    return interval_of_sums(mean, sums, values.index.get_level_values("relation"), seed, limits)


def median_over_facts(values: pd.Series, seed: int, limits: tuple = (-np.inf, np.inf)) -> tuple[float, float, float]:
    """Return (estimate, low, high) of the median over facts."""
    numbers, relations = values.to_numpy(float), values.index.get_level_values("relation")
    return bootstrap_interval(lambda rows, _: np.median(numbers[rows]), relations, seed, limits)


def group_means(table: pd.DataFrame, keys: Sequence[str], column: str, seed: int, **options) -> pd.DataFrame:
    """Return `over_facts` of the mean of a column for each combination of `keys`: columns `keys`, mean, low, high, facts.

    `table` has a row per fact, and a column relation.
    """
    groups = table.set_index("relation").groupby(list(keys), sort=False)[column]
    rows = [(*key, *over_facts(values, seed, **options), len(values)) for key, values in groups]
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "facts"])


def share_of_effect(ours: pd.Series, control: pd.Series, seed: int) -> tuple[float, float, float]:
    """Return the mean over relations of `control` in % of that of `ours`: (estimate, low, high). Rows are facts, and may be others."""
    values = pd.concat([ours, control], keys=["ours", "control"])
    numbers, of_control = values.to_numpy(float), values.index.get_level_values(0) == "control"

    def means(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """The mean of each group, of `ours` and of `control`; NaN without rows, [2, groups]."""
        sides = np.stack([~of_control[rows], of_control[rows]])
        sums, counts = ([np.bincount(groups, of_side) for of_side in weights] for weights in (sides * numbers[rows], sides))
        return divided(sums, counts)

    def share(means: np.ndarray) -> np.ndarray:
        whole, part = nan_mean(means)
        return 100 * divided(part, whole)

    return interval_over_relations(means, values.index.get_level_values("relation"), seed, share)
