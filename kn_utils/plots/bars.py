"""Bars side by side by method, hatched so that they differ in greyscale too: the form of the paper's figures."""

import pandas as pd
from matplotlib.axes import Axes

from kn_utils.plots.style import HATCHES, NAMES, PALETTE


def plot_bars(axis: Axes, heights: pd.DataFrame) -> None:
    """Draw bars at the numbers of the index, side by side for the methods, which are the columns."""
    methods = [method for method in PALETTE if method in heights]
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        places = heights.index + (number - (len(methods) - 1) / 2) * width
        look = {"color": PALETTE[method], "hatch": HATCHES[method], "edgecolor": "white", "linewidth": 0}
        axis.bar(places, heights[method], width, label=NAMES[method], **look)
    axis.set_axisbelow(True)
    axis.grid(axis="x", visible=False)
