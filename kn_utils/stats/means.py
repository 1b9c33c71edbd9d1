"""Means over relations with equal weights, statistics over facts, and what one mean is of another.

A series of values has a row per fact, and the relation as a level of its index.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kn_utils.stats.intervals import Statistic, bootstrap_interval, mean_of_relations


class Counted(NamedTuple):
    """An estimate: its `interval`, and the relation of each fact, edit, ... that it counts."""

    interval: tuple[float, ...]
    relations: pd.Index


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


def over_facts(values: pd.Series, seed: int, statistic: Callable = np.mean, **options) -> tuple[float, float, float]:
    """Return (estimate, low, high) of a statistic over facts, each counted once; for `options` see `bootstrap_interval`."""
    numbers, relations = values.to_numpy(float), values.index.get_level_values("relation")
    return bootstrap_interval(lambda rows, _: statistic(numbers[rows]), relations, seed, pooled=True, **options)


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
    is_control = values.index.get_level_values(0) == "control"
    numbers, relations = values.to_numpy(float), values.index.get_level_values("relation")

    def share(rows: np.ndarray, groups: np.ndarray) -> float:
        means = [_mean_of_group_means(numbers[rows[wanted]], groups[wanted]) for wanted in (~is_control[rows], is_control[rows])]
        return 100 * means[1] / means[0] if means[0] else np.nan

    return bootstrap_interval(share, relations, seed)


def _mean_of_group_means(values: np.ndarray, groups: np.ndarray) -> float:
    counts = np.bincount(groups)
    sums = np.bincount(groups, values)[counts > 0]
    return float((sums / counts[counts > 0]).mean()) if len(values) else np.nan
