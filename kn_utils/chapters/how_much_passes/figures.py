"""Figures of notebook 15, from the table of `numbers.shares`."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.chapters.how_much_passes.numbers import ELSEWHERE, NAMES, THERE, by_layer, whole
from kn_utils.chapters.how_much_passes.table import (
    ALL_ATTENTION,
    ALL_NEURONS,
    AT_SUBJECT,
    MATCHED,
    NOTHING,
    ONE_ATTENTION,
    OTHERS,
    OWN,
    STRONGEST,
)
from kn_utils.plots.panels import panels
from kn_utils.plots.style import LINE
from kn_utils.stats.intervals import number

# colours of Okabe and Ito; the marker says where the states are
LOOKS = {
    OWN: ("#0072B2", "o"),
    **{name: ("#56B4E9", "o") for name in STRONGEST.values()},
    MATCHED: ("#7F7F7F", "^"),
    OTHERS: ("#7F7F7F", "v"),
    ALL_NEURONS: ("#D55E00", "s"),
    AT_SUBJECT: ("#E69F00", "D"),
    ALL_ATTENTION: ("#009E73", "P"),
    ONE_ATTENTION: ("#009E73", "X"),
}
LINES = {ONE_ATTENTION: "--"}
LAYER_NAMES = {
    ALL_ATTENTION: "attention outputs, from this layer up",
    ONE_ATTENTION: "attention outputs of this layer alone",
    AT_SUBJECT: "all neurons at the subject, from this layer up",
    ALL_NEURONS: "all neurons at the prediction position, from this layer up",
}


def plot_shares(found: pd.DataFrame, title: str) -> Figure:
    """Show how much passes through each kind of states, with its interval; dashed lines are the limits of the rule.

    With few relations intervals are much longer, and are cut.
    """
    rows = whole(found).drop(NOTHING)
    above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "va": "bottom", "zorder": 4}
    above |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5}}  # so that no line goes through the number
    with panels(title, 0.32 * len(rows) + 1.1) as (figure, [axis]):
        for height, (name, row) in enumerate(rows.iterrows()):
            color, marker = LOOKS[name]
            axis.hlines(height, row["low"], row["high"], color=color, linewidth=2)
            axis.plot(row["value"], height, marker, color=color)
            axis.annotate(number(row["value"]), (row["value"], height), **above)
        for limit, style in ((0, "-"), (ELSEWHERE, "--"), (THERE, "--"), (100, "-")):
            axis.axvline(limit, **LINE, linestyle=style, zorder=1)
        axis.set(yticks=range(len(rows)), yticklabels=[NAMES[name] for name in rows.index], ylim=(len(rows) - 0.5, -0.7))
        axis.set(xlabel="share that passes (%)", xlim=(min(rows["value"].min(), 0) - 8, max(rows["value"].max(), 100) + 8))
    return figure


def plot_layers(found: pd.DataFrame, title: str) -> Figure:
    """Show how much passes through attention outputs and neurons, by layer, with intervals."""
    table = by_layer(found)
    with panels(title, 3.8, legend_columns=1) as (figure, [axis]):
        for name, label in LAYER_NAMES.items():
            rows = table[table["states"] == name]
            color, marker = LOOKS[name]
            axis.fill_between(rows["layer"], rows["low"], rows["high"], color=color, alpha=0.2, linewidth=0)
            axis.plot(rows["layer"], rows["value"], marker=marker, linestyle=LINES.get(name, "-"), color=color, label=label)
        for limit in (0, 100):
            axis.axhline(limit, **LINE)
        axis.set(xlabel="layer", ylabel="share that passes (%)")
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure
