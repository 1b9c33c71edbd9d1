"""In which layers neurons lie."""

from math import ceil

import numpy as np
import pandas as pd

from kn_utils.model.neurons import METHODS
from kn_utils.stats.intervals import bootstrap_interval
from kn_utils.store.runs import FACT_KEY


def layer_shares(neurons: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """Return where the facts' neurons lie: columns method, layer (from 1), share (%). A neuron of two facts counts twice."""
    index = pd.MultiIndex.from_product([METHODS, range(n_layers)], names=["method", "layer"])
    counts = neurons.groupby(["method", "layer"]).size().reindex(index, fill_value=0)
    shares = 100 * counts / counts.groupby("method").transform("sum")
    return shares.rename("share").reset_index().assign(layer=lambda table: table["layer"] + 1)


def layer_intervals(neurons: pd.DataFrame, n_layers: int, seed: int) -> pd.DataFrame:
    """Return the shares of `layer_shares` with intervals: columns method, layer (from 1), share (%), low, high."""
    rows = []
    for method in METHODS:
        own = neurons[neurons["method"] == method]
        counts = pd.crosstab([own[name] for name in FACT_KEY], own["layer"]).reindex(columns=range(n_layers), fill_value=0)
        values = counts.to_numpy()

        def shares(drawn: np.ndarray, values=values) -> np.ndarray:
            per_layer = values[drawn].sum(axis=0)
            with np.errstate(invalid="ignore"):  # no neurons at all have no shares: NaN
                return 100 * per_layer / per_layer.sum()

        interval = bootstrap_interval(shares, counts.index.get_level_values("relation"), seed)
        rows += zip([method] * n_layers, range(1, n_layers + 1), *interval, strict=True)
    return pd.DataFrame(rows, columns=["method", "layer", "share", "low", "high"])


def first_upper_layer(n_layers: int) -> int:
    """Return the first layer, from 0, of the upper third, which begins behind the first two thirds of the layers, rounded up."""
    return ceil(2 * n_layers / 3)


def upper_third(shares: pd.DataFrame, n_layers: int) -> float:
    """Return which share (%) of the neurons of integrated gradients lies in the upper third; `shares` as of `layer_shares`."""
    own = shares[shares["method"] == "attribution"]
    return own.loc[own["layer"] > first_upper_layer(n_layers), "share"].sum()
