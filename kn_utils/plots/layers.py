"""The figure of notebooks 01, 02, 08 and 10: shares of neurons in each layer (the paper's figure 3)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_utils.plots.bars import plot_bars
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.panels import panels
from kn_utils.plots.style import LINE


def plot_layer_shares(shares: pd.DataFrame, neurons: str, title: str) -> Figure:
    """Show the share of neurons in each layer; `shares` is the table of `layer_shares`, and `neurons` is a name for axis labels."""
    with panels(title, 3.2) as (figure, [axis]):
        draw_layer_shares(axis, shares)
        axis.set(xlabel="layer", ylabel=f"share of\n{neurons} (%)")
    return figure


def draw_layer_shares(axis: Axes, shares: pd.DataFrame) -> None:
    """Draw the bars of `plot_layer_shares` into a panel."""
    plot_bars(axis, shares.pivot(index="layer", columns="method", values="share"))
    axis.set_xlim(0.4, shares["layer"].max() + 0.6)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True))


def plot_layer_intervals(shares: pd.DataFrame, neurons: str, title: str) -> Figure:
    """Show the shares of `layer_intervals`, the last layer on top. The dotted line is an even distribution over layers."""
    n_layers = shares["layer"].max()
    with panels(title, 0.25 * n_layers + 1.6) as (figure, [axis]):
        downwards = shares.sort_values("layer", ascending=False)
        plot_intervals(axis, downwards.rename(columns={"layer": "label", "share": "value"}))
        axis.axvline(100 / n_layers, **LINE, linestyle=":", label="evenly over layers")
        axis.set(xlabel=f"share of {neurons} (%; bars: 95 % bootstrap interval)", ylabel="layer", xlim=(-1, None))
    return figure
