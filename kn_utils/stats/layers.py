"""Shares of neurons in each layer."""

from math import ceil

import numpy as np
import pandas as pd

from kn_utils.model.neurons import METHODS
from kn_utils.stats.intervals import PERCENT, Statistic, bootstrap_interval
from kn_utils.store.runs import FACT_KEY


def layer_shares(neurons: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """Return the share of neurons in each layer: columns method, layer (from 1), share (%). A neuron of two facts counts twice."""
    index = pd.MultiIndex.from_product([METHODS, range(n_layers)], names=["method", "layer"])
    counts = neurons.groupby(["method", "layer"]).size().reindex(index, fill_value=0)
    shares = 100 * counts / counts.groupby("method").transform("sum")
    return shares.rename("share").reset_index().assign(layer=lambda table: table["layer"] + 1)


def layer_intervals(neurons: pd.DataFrame, n_layers: int, seed: int) -> pd.DataFrame:
    """Return the shares of `layer_shares` with intervals: columns method, layer (from 1), share (%), low, high."""
    rows = []
    for method in METHODS:
        shares, relations = _resampled_shares(neurons[neurons["method"] == method], n_layers)
        interval = bootstrap_interval(shares, relations, seed, pooled=True, limits=PERCENT)
        rows += zip([method] * n_layers, range(1, n_layers + 1), *interval, strict=True)
    return pd.DataFrame(rows, columns=["method", "layer", "share", "low", "high"])


def upper_third_interval(neurons: pd.DataFrame, n_layers: int, seed: int) -> tuple[float, float, float]:
    """Return the share (%) of knowledge neurons in the upper third of the layers: (estimate, low, high)."""
    shares, relations = _resampled_shares(neurons[neurons["method"] == "attribution"], n_layers)
    upper = slice(first_upper_layer(n_layers), None)
    return bootstrap_interval(
        lambda rows, groups: shares(rows, groups)[upper].sum(), relations, seed, pooled=True, limits=PERCENT
    )


def upper_third_difference(neurons: pd.DataFrame, n_layers: int, seed: int) -> tuple[float, float, float]:
    """Return the share (%) in the upper third of the layers, knowledge neurons minus the baseline's: (estimate, low, high)."""
    counts = pd.crosstab(
        [neurons[name] for name in FACT_KEY], [neurons["method"], neurons["layer"] >= first_upper_layer(n_layers)]
    )
    cells = [counts.get((method, upper), 0 * counts.iloc[:, 0]) for method in METHODS for upper in (True, False)]
    values = np.transpose(cells)

    def difference(rows: np.ndarray, _: np.ndarray) -> float:
        ours, ours_below, baseline, baseline_below = values[rows].sum(axis=0)
        with np.errstate(invalid="ignore"):  # without neurons the difference is NaN
            return 100 * (ours / (ours + ours_below) - baseline / (baseline + baseline_below))

    return bootstrap_interval(difference, counts.index.get_level_values("relation"), seed, pooled=True)


def _resampled_shares(neurons: pd.DataFrame, n_layers: int) -> tuple[Statistic, pd.Index]:
    """Return a statistic, the share (%) of neurons in each layer, and the relation of each fact."""
    facts = [neurons[name] for name in FACT_KEY]
    counts = pd.crosstab(facts, neurons["layer"]).reindex(columns=range(n_layers), fill_value=0)
    values = counts.to_numpy()

    def shares(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
        per_layer = values[rows].sum(axis=0)
        with np.errstate(invalid="ignore"):  # without neurons the shares are NaN
            return 100 * per_layer / per_layer.sum()

    return shares, counts.index.get_level_values("relation")


def first_upper_layer(n_layers: int) -> int:
    """Return the first layer (from 0) of the upper third of the layers; two thirds are rounded up."""
    return ceil(2 * n_layers / 3)
