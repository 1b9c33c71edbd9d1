"""Shares of neurons in each layer."""

from math import ceil

import numpy as np
import pandas as pd

from kn_utils.model.neurons import METHODS
from kn_utils.stats.intervals import PERCENT, interval_of_sums
from kn_utils.stats.means import divided
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
        counts = _counts(neurons[neurons["method"] == method], n_layers)
        interval = interval_of_sums(_shares, counts, counts.index.get_level_values("relation"), seed, PERCENT)
        rows += zip([method] * n_layers, range(1, n_layers + 1), *interval, strict=True)
    return pd.DataFrame(rows, columns=["method", "layer", "share", "low", "high"])


def upper_third_interval(neurons: pd.DataFrame, n_layers: int, seed: int) -> tuple[float, float, float]:
    """Return the share (%) of knowledge neurons in the upper third of the layers: (estimate, low, high)."""
    counts = _counts(neurons[neurons["method"] == "attribution"], n_layers)
    upper = first_upper_layer(n_layers)
    return interval_of_sums(
        lambda sums: _shares(sums)[..., upper:].sum(axis=-1), counts, counts.index.get_level_values("relation"), seed, PERCENT
    )


def upper_third_difference(neurons: pd.DataFrame, n_layers: int, seed: int) -> tuple[float, float, float]:
    """Return the share (%) in the upper third of the layers, knowledge neurons minus the baseline's: (estimate, low, high)."""
    counts = pd.crosstab(
        [neurons[name] for name in FACT_KEY], [neurons["method"], neurons["layer"] >= first_upper_layer(n_layers)]
    )
    cells = [counts.get((method, upper), 0 * counts.iloc[:, 0]) for method in METHODS for upper in (True, False)]

    def difference(sums: np.ndarray) -> np.ndarray:
        ours, baseline = _shares(sums[..., :2])[..., 0], _shares(sums[..., 2:])[..., 0]
        return ours - baseline

    return interval_of_sums(difference, np.transpose(cells), counts.index.get_level_values("relation"), seed)


def _counts(neurons: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """Return the number of neurons of each fact (rows) in each layer (columns)."""
    return pd.crosstab([neurons[name] for name in FACT_KEY], neurons["layer"]).reindex(columns=range(n_layers), fill_value=0)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Return each count in % of their sum over the last axis; NaN if it is zero."""
    return 100 * divided(counts, np.broadcast_to(counts.sum(axis=-1, keepdims=True), counts.shape))


def first_upper_layer(n_layers: int) -> int:
    """Return the first layer (from 0) of the upper third of the layers; two thirds are rounded up."""
    return ceil(2 * n_layers / 3)
