"""Estimates with their intervals, side by side by method: the form in which most results are shown."""

import pandas as pd
from matplotlib.axes import Axes

from kn_utils.plots.style import MARKERS, NAMES, PALETTE, PUBLISHED


def plot_intervals(axis: Axes, table: pd.DataFrame, published: dict[tuple[str, str], float] | None = None) -> None:
    """Draw a row per label and in it a dot with its interval per method; `table` has the columns label, method, value, low and high.

    `published` maps (label, method) to the paper's value, drawn as a diamond.
    """
    labels = list(dict.fromkeys(table["label"]))
    methods = [method for method in PALETTE if method in set(table["method"])]
    for number, method in enumerate(methods):
        own = table[table["method"] == method].set_index("label").reindex(labels)
        height = [row + 0.5 * (number - (len(methods) - 1) / 2) / len(methods) for row in range(len(labels))]
        axis.hlines(height, own["low"], own["high"], color=PALETTE[method], linewidth=2)
        axis.plot(own["value"], height, MARKERS[method], color=PALETTE[method], label=NAMES[method])
        paper = [(published or {}).get((label, method)) for label in labels]
        shown = [(value, at) for value, at in zip(paper, height, strict=True) if value is not None]
        if shown:
            axis.plot(
                *zip(*shown, strict=True), **PUBLISHED, label="_" if "the paper's value" in _labels(axis) else "the paper's value"
            )
    axis.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -0.5))


def _labels(axis: Axes) -> list[str]:
    return axis.get_legend_handles_labels()[1]
