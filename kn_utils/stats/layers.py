"""Shares of neurons in each layer."""

from collections.abc import Callable
from math import ceil

import numpy as np
import pandas as pd

from kn_utils.model.neurons import METHODS
from kn_utils.stats.intervals import bootstrap_interval
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
        interval = bootstrap_interval(shares, relations, seed)
        rows += zip([method] * n_layers, range(1, n_layers + 1), *interval, strict=True)
    return pd.DataFrame(rows, columns=["method", "layer", "share", "low", "high"])


def upper_third_interval(neurons: pd.DataFrame, n_layers: int, seed: int) -> tuple[float, float, float]:
    """Return the share (%) of knowledge neurons in the upper third of the layers: (estimate, low, high)."""
    shares, relations = _resampled_shares(neurons[neurons["method"] == "attribution"], n_layers)
    first = first_upper_layer(n_layers)
    return tuple(map(float, bootstrap_interval(lambda rows: shares(rows)[first:].sum(), relations, seed)))


def _resampled_shares(neurons: pd.DataFrame, n_layers: int) -> tuple[Callable[[np.ndarray], np.ndarray], pd.Index]:
    """Return a function from row numbers of facts to the share (%) of neurons in each layer, and the relation of each fact."""
    facts = [neurons[name] for name in FACT_KEY]
    counts = pd.crosstab(facts, neurons["layer"]).reindex(columns=range(n_layers), fill_value=0)
    values = counts.to_numpy()

    def shares(rows: np.ndarray) -> np.ndarray:
        per_layer = values[rows].sum(axis=0)
        with np.errstate(invalid="ignore"):  # without neurons the shares are NaN
            return 100 * per_layer / per_layer.sum()

    return shares, counts.index.get_level_values("relation")


def first_upper_layer(n_layers: int) -> int:
    """Return the first layer (from 0) of the upper third of the layers; two thirds are rounded up."""
    return ceil(2 * n_layers / 3)
