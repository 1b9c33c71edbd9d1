"""Figures of notebook 17, from the tables of `numbers`."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.chapters.how_few.numbers import FEW, NAMES
from kn_utils.chapters.how_few.table import FIRST, KEPT, RANDOM, SECOND, WRONG
from kn_utils.plots.panels import label_log_scale, panels
from kn_utils.plots.style import LINE

LOOKS = {  # colours of Okabe and Ito, and sizes: the larger ones are drawn first, so that they are seen around the others
    FIRST: ("#0072B2", "o", "-", 4),
    SECOND: ("#56B4E9", "s", "--", 5.5),
    RANDOM: ("#7F7F7F", "^", ":", 7),
    WRONG: ("#D55E00", "v", "-", 8.5),
    KEPT: ("#009E73", "D", "-", 10),
}


def plot_right_answers(right: pd.DataFrame, title: str) -> Figure:
    """Show the share of right answers by the size of the set that is zero; `right` is the table of `numbers.right_answers`."""
    with panels(title, 4.2, legend_columns=2) as (figure, [axis]):
        for name in (name for name in NAMES if name in right):
            color, marker, line, size = LOOKS[name]
            look = {"color": color, "marker": marker, "fillstyle": "none", "markersize": size, "linewidth": size / 4}
            axis.plot(right.index, right[name], line, **look, zorder=20 - size, label=NAMES[name])
        axis.axvline(FEW, **LINE, linestyle="--")
        axis.set(xscale="log", xlabel="neurons in the set", ylabel="still answered right (%)", ylim=(-6, 106))
        label_log_scale(axis.xaxis)
    return figure
