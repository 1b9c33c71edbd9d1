"""The paper's figures in the paper's own form: bars of means; `plot_x` takes a table of a chapter's `numbers` and a title."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.model.neurons import METHODS
from kn_utils.plots.bars import plot_bars
from kn_utils.plots.changes import MEAN
from kn_utils.plots.layers import plot_layer_shares
from kn_utils.plots.panels import panels
from kn_utils.plots.style import KIND_NAMES, LINE

PAPER_KINDS = ["head_and_tail", "head_only", "random"]


def plot_layers(shares: pd.DataFrame, title: str) -> Figure:
    """Show figure 3: in which layers the knowledge neurons lie; `shares` has the columns method, layer and share (%)."""
    return plot_layer_shares(shares[shares["method"] == "attribution"], "knowledge neurons", title)


def plot_changes(changes: pd.DataFrame, operation: str, title: str) -> Figure:
    """Show figure 4 ("suppress") or 5 ("amplify"): the change (%) of the object's probability by relation.

    `changes` has the columns operation, target, method, relation and change.
    """
    rows = changes[(changes["relation"] != MEAN) & (changes["operation"] == operation) & (changes["target"] == "own")]
    relations = sorted(rows["relation"].unique(), key=lambda name: (len(name), name))
    heights = rows.pivot(index="relation", columns="method", values="change").loc[relations, list(METHODS)]
    figure = _plot_named_bars(heights, title, "change of the\nprobability (%)")
    figure.axes[0].tick_params(axis="x", rotation=90)
    return figure


def plot_activations(activations: pd.DataFrame, title: str) -> Figure:
    """Show section 4.4's values: the mean activation of the knowledge neurons by kind of sentence.

    `activations` has the columns method, kind and mean.
    """
    heights = activations.pivot(index="kind", columns="method", values="mean").reindex(index=PAPER_KINDS, columns=["attribution"])
    return _plot_named_bars(heights.rename(index=KIND_NAMES), title, "mean activation")


def _plot_named_bars(heights: pd.DataFrame, title: str, ylabel: str) -> Figure:
    with panels(title, 3.2) as (figure, [axis]):
        plot_bars(axis, heights.reset_index(drop=True))
        axis.axhline(0, **LINE)
        axis.set(xticks=range(len(heights)), xticklabels=heights.index, xlim=(-0.7, len(heights) - 0.3), ylabel=ylabel)
    return figure
