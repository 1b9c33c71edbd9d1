"""The figure of `benchmarks/scaling.py`, in notebook 09: how time and peak memory grow with facts and layers."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.api.typing import SeriesGroupBy

from kn_utils.plots.panels import label_log_scale, share_legend
from kn_utils.plots.style import PALETTE, WIDTH


def plot_scaling(rows: pd.DataFrame, title: str) -> Figure:
    """Show seconds and peak memory against the number of facts and of layers; `rows` has a row per process.

    Dots are medians over the turns, bars go from the least to the most. The dashed line is the work, counted in multiply-adds, drawn
    through the largest point; the dotted one the memory before attribution.
    """
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5), sharex="col", layout="constrained")
    for (time, memory), size in zip(axes.T, ("facts", "layers"), strict=True):
        own = rows[rows["axis"] == size].groupby(size)
        _draw_range(time, own["seconds"])
        work, seconds = own["gflop"].first(), own["seconds"].median()
        time.plot(work * (seconds.iloc[-1] / work.iloc[-1]), "--", color="black", linewidth=0.8, label="work, counted")
        _draw_range(memory, own["peak_memory_mb"])
        memory.plot(own["loaded_mb"].median(), ":", color="black", linewidth=0.8, label="before attribution")
        time.set(xscale="log", yscale="log")
        label_log_scale(time.yaxis)
        time.xaxis.set_minor_locator(plt.NullLocator())
        memory.set_xticks(work.index, [f"{number:,}" for number in work.index])
        memory.set(xlabel=f"number of {size}", ylim=(0, 1.1 * own["peak_memory_mb"].max().max()))
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory (MB)")
    share_legend(figure, axes.flat)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _draw_range(axis: Axes, values: SeriesGroupBy) -> None:
    """Draw the median of each group with a bar over all its values."""
    medians = values.median()
    axis.vlines(medians.index, values.min(), values.max(), color=PALETTE["attribution"])
    axis.plot(medians, "o-", color=PALETTE["attribution"], label="measured")
