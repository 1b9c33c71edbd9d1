"""Estimates with intervals for each method: the form of most figures."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from kn_utils.plots.style import MARKERS, NAMES, PALETTE, PAPER


def plot_intervals(axis: Axes, table: pd.DataFrame, paper: Mapping[tuple[str, str], float] | None = None) -> None:
    """Draw a row per label, with a dot and its interval for each method: columns label, method, value, low, high of `table`.

    `paper` maps (label, method) to the paper's value, drawn as a hollow diamond in the colour of the method.
    """
    labels = list(dict.fromkeys(table["label"]))
    methods = [method for method in PALETTE if method in set(table["method"])]
    for number, method in enumerate(methods):
        rows = table[table["method"] == method].set_index("label").reindex(labels)
        height = [row + 0.5 * (number - (len(methods) - 1) / 2) / len(methods) for row in range(len(labels))]
        axis.hlines(height, rows["low"], rows["high"], color=PALETTE[method], linewidth=2)
        axis.plot(rows["value"], height, MARKERS[method], color=PALETTE[method], label=NAMES[method])
        values = {at: paper[label, method] for label, at in zip(labels, height, strict=True) if (label, method) in (paper or {})}
        if values:
            axis.plot(values.values(), values.keys(), **PAPER, markeredgecolor=PALETTE[method])
            axis.plot([], [], **PAPER, markeredgecolor="black", label="the paper's value")  # of either method
    axis.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -0.5))
