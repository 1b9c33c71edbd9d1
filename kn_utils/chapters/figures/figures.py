"""The paper's figures in the paper's own form: bars of means; `plot_x` takes a table of the step's summary and a title."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from kn_utils.plots.bars import plot_bars
from kn_utils.plots.changes import MEAN
from kn_utils.plots.layers import plot_layer_shares
from kn_utils.plots.panels import share_legend
from kn_utils.plots.style import KIND_NAMES, WIDTH

PAPER_METHODS = ["attribution", "activation"]
PAPER_KINDS = ["head_and_tail", "head_only", "random"]


def plot_layers(shares: pd.DataFrame, title: str) -> Figure:
    """Show figure 3: in which layers the knowledge neurons lie; `shares` has the columns method, layer and share (%)."""
    return plot_layer_shares(shares[shares["method"] == "attribution"], "knowledge neurons", title)


def plot_changes(changes: pd.DataFrame, operation: str, title: str) -> Figure:
    """Show figure 4 ("suppress") or 5 ("amplify"): the change (%) of the object's probability by relation.

    `changes` has the columns operation, target, method, relation and change.
    """
    own = changes[(changes["relation"] != MEAN) & (changes["operation"] == operation) & (changes["target"] == "own")]
    relations = sorted(own["relation"].unique(), key=lambda name: (len(name), name))
    heights = own.pivot(index="relation", columns="method", values="change").loc[relations, PAPER_METHODS]
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
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
    plot_bars(axis, heights.reset_index(drop=True))
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(xticks=range(len(heights)), xticklabels=heights.index, xlim=(-0.7, len(heights) - 0.3), ylabel=ylabel)
    share_legend(figure, [axis])
    figure.suptitle(title, x=0.01, ha="left")
    return figure
