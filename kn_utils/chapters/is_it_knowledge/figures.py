"""Figures of notebook 12, from the tables of `numbers`."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.chapters.is_it_knowledge.numbers import AGREEMENT, CHANGE, COUNT, HALF, MATCHED, NAMES, QUARTER
from kn_utils.plots.panels import panels
from kn_utils.plots.style import LINE

LOOKS = {CHANGE: ("black", "o", -0.13), MATCHED: ("#7F7F7F", "s", 0.13), COUNT: ("black", "o", 0), AGREEMENT: ("black", "o", 0)}
PANELS = {  # the label of the scale, and the measures on it
    "change of log-odds\nif they are suppressed": (CHANGE, MATCHED),
    "neurons that pass\nthe thresholds": (COUNT,),
    "chosen by both halves\nof the templates (%)": (AGREEMENT,),
}


def plot_ratios(ratios: pd.DataFrame, title: str) -> Figure:
    """Show R of each group with its interval, and the limits of the rule; with few relations intervals are much longer, and are cut."""
    low, high = min(ratios["value"].min(), 0) - 50, max(ratios["value"].max(), 100) + 50
    with panels(title, 0.35 * len(ratios) + 1.3) as (figure, (axis,)):
        rows = range(len(ratios))
        axis.axvspan(low, QUARTER, color="#56B4E9", alpha=0.25, linewidth=0)
        axis.axvspan(HALF, high, color="#E69F00", alpha=0.25, linewidth=0)
        axis.hlines(rows, ratios["low"], ratios["high"], color="black", linewidth=2)
        axis.plot(ratios["value"], rows, "o", color="black")
        axis.axvline(100, **LINE)
        axis.set(yticks=rows, yticklabels=ratios["group"].map(NAMES), ylim=(len(rows) - 0.5, -0.5))
        axis.set(xlabel="R: change of log-odds, in % of that for known facts", xlim=(low, high))
    return figure


def plot_groups(means: pd.DataFrame, title: str) -> Figure:
    """Show the means of each group with their intervals: changes of log-odds, numbers of neurons, agreement of templates."""
    groups = list(dict.fromkeys(means["group"]))
    with panels(title, 0.38 * len(groups) + 1.5, columns=len(PANELS), sharey=True) as (figure, axes):
        for axis, (label, measures) in zip(axes, PANELS.items(), strict=True):
            for measure in measures:
                color, marker, shift = LOOKS[measure]
                rows = means[means["measure"] == measure].set_index("group").reindex(groups)
                height = [place + shift for place in range(len(groups))]
                axis.hlines(height, rows["low"], rows["high"], color=color, linewidth=2)
                axis.plot(rows["value"], height, marker, color=color, label=measure if len(measures) > 1 else None)
            axis.set(xlabel=label)
        axes[0].axvline(0, **LINE)
        axes[0].set(yticks=range(len(groups)), yticklabels=[NAMES[group] for group in groups], ylim=(len(groups) - 0.5, -0.5))
    return figure
