"""The figure of notebook 13, from the table of `numbers.shares`."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.chapters.fact_or_word.numbers import HALF, NAMES
from kn_utils.plots.panels import panels
from kn_utils.plots.style import LINE


def plot_shares(shares: pd.DataFrame, title: str) -> Figure:
    """Show the effect of each set of neurons, in % of that of the own ones; with few relations intervals are longer, and are cut."""
    low, high = min(shares["value"].min(), 0) - 25, max(shares["value"].max(), 100) + 25
    with panels(title, 0.35 * len(shares) + 1.3) as (figure, (axis,)):
        rows = range(len(shares))
        axis.hlines(rows, shares["low"], shares["high"], color="black", linewidth=2)
        axis.plot(shares["value"], rows, "o", color="black")
        for end in (0, 100):
            axis.axvline(end, **LINE)
        axis.axvline(HALF, color="black", linewidth=0.8, linestyle=":")
        axis.set(yticks=rows, yticklabels=shares["kind"].map(NAMES), ylim=(len(rows) - 0.5, -0.5), xlim=(low, high))
        axis.set(xlabel="change of log-odds, in % of that by the fact's own neurons")
    return figure
