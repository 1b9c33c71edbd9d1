"""The paper's figures in the form of the paper: bars of means."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.model.neurons import METHODS
from kn_utils.plots.bars import plot_bars
from kn_utils.plots.changes import MEAN
from kn_utils.plots.panels import panels
from kn_utils.plots.style import KIND_NAMES, LINE

PAPER_KINDS = ["head_and_tail", "head_only", "random"]


def plot_changes(changes: pd.DataFrame, operation: str, title: str) -> Figure:
    """Show figure 4 ("suppress") or 5 ("amplify"): the change of the object's probability for each relation."""
    rows = changes[(changes["relation"] != MEAN) & (changes["operation"] == operation) & (changes["target"] == "own")]
    relations = sorted(rows["relation"].unique(), key=lambda name: (len(name), name))
    heights = rows.pivot(index="relation", columns="method", values="change").loc[relations, list(METHODS)]
    figure = _plot_named_bars(heights, title, "change of the\nprobability (%)")
    figure.axes[0].tick_params(axis="x", rotation=90)
    return figure


def plot_activations(activations: pd.DataFrame, title: str) -> Figure:
    """Show the values of section 4.4: the mean activation of the knowledge neurons for each kind of sentence."""
    heights = activations.pivot(index="kind", columns="method", values="mean").reindex(index=PAPER_KINDS, columns=["attribution"])
    return _plot_named_bars(heights.rename(index=KIND_NAMES), title, "mean activation")


def _plot_named_bars(heights: pd.DataFrame, title: str, ylabel: str) -> Figure:
    with panels(title, 3.2) as (figure, [axis]):
        plot_bars(axis, heights.reset_index(drop=True))
        axis.axhline(0, **LINE)
        axis.set(xticks=range(len(heights)), xticklabels=heights.index, xlim=(-0.7, len(heights) - 0.3), ylabel=ylabel)
    return figure
