"""What notebook 08 shows of step 2's table beyond what notebook 02 does."""

import numpy as np
import pandas as pd

from kn_utils.intervals import bootstrap_interval
from kn_utils.steps.knowledge_neurons import METHODS


def layer_intervals(neurons: pd.DataFrame, n_layers: int, seed: int) -> pd.DataFrame:
    """Return where the facts' neurons lie, with intervals: columns method, layer (from 1), share (%), low, high.

    The shares are those of `kn_utils.summaries.knowledge_neurons.layer_shares`; the intervals resample facts within relations.
    """
    rows = []
    for method in METHODS:
        own = neurons[neurons["method"] == method]
        counts = pd.crosstab([own["relation"], own["fact"]], own["layer"]).reindex(columns=range(n_layers), fill_value=0)
        values = counts.to_numpy()

        def shares(drawn: np.ndarray, values=values) -> np.ndarray:
            per_layer = values[drawn].sum(axis=0)
            with np.errstate(invalid="ignore"):  # no neurons at all have no shares: NaN
                return 100 * per_layer / per_layer.sum()

        interval = bootstrap_interval(shares, counts.index.get_level_values("relation"), seed)
        rows += zip([method] * n_layers, range(1, n_layers + 1), *interval, strict=True)
    return pd.DataFrame(rows, columns=["method", "layer", "share", "low", "high"])
