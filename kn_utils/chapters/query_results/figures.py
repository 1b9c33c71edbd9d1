"""The figure of notebook 09: time and peak memory by numbers of facts, layers and workers."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from pandas.api.typing import SeriesGroupBy

from kn_utils.plots.panels import label_log_scale, panels
from kn_utils.plots.style import LINE, PALETTE


def plot_scaling(rows: pd.DataFrame, title: str) -> Figure:
    """Show seconds and peak memory against the numbers of facts, layers and workers; `rows` are those of `benchmarks/scaling.py`.

    Dots are medians over repetitions, bars go from minimum to maximum. The dashed line is the number of multiply-adds of a worker, scaled
    to meet the last point; the dotted line is the memory before attribution.
    """
    with panels(title, 5, rows=2, columns=3, sharex="col") as (figure, axes):
        for time, memory, size in zip(axes[:3], axes[3:], ("facts", "layers", "workers"), strict=True):
            points = rows[rows["axis"] == size].groupby(size)
            work, seconds = points["gflop"].first() / points["workers"].first(), points["seconds"].median()
            _draw_range(time, points["seconds"])
            time.plot(work * (seconds.iloc[-1] / work.iloc[-1]), "--", **LINE, label="work, counted")
            time.set(xscale="log", yscale="log")
            label_log_scale(time.yaxis)
            time.xaxis.set_minor_locator(NullLocator())
            _draw_range(memory, points["peak_memory_mb"])
            memory.plot(points["loaded_mb"].median(), ":", **LINE, label="before attribution")
            memory.set_xticks(work.index, [f"{number:,}" for number in work.index])
            memory.set(xlabel=f"number of {size}", ylim=(0, 1.1 * points["peak_memory_mb"].max().max()))
        axes[0].set_ylabel("seconds")
        axes[3].set_ylabel("peak memory (MB)")
    return figure


def _draw_range(axis: Axes, values: SeriesGroupBy) -> None:
    """Draw the median of each group, with a bar from minimum to maximum."""
    medians = values.median()
    axis.vlines(medians.index, values.min(), values.max(), color=PALETTE["attribution"])
    axis.plot(medians, "o-", color=PALETTE["attribution"], label="measured")
