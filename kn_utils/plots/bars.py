"""Bars for each method, as in the paper's figures; hatches distinguish them in greyscale."""

import pandas as pd
from matplotlib.axes import Axes

from kn_utils.plots.style import HATCHES, NAMES, PALETTE


def plot_bars(axis: Axes, heights: pd.DataFrame) -> None:
    """Draw bars at the numbers of the index, side by side for the methods (columns)."""
    methods = [method for method in PALETTE if method in heights]
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        positions = heights.index + (number - (len(methods) - 1) / 2) * width
        look = {"color": PALETTE[method], "hatch": HATCHES[method], "edgecolor": "white", "linewidth": 0}
        axis.bar(positions, heights[method], width, label=NAMES[method], **look)
    axis.set_axisbelow(True)
    axis.grid(axis="x", visible=False)
