"""Figures of notebook 16, from the tables of `numbers`."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.chapters.does_it_help_editing.choice import METHODS
from kn_utils.chapters.does_it_help_editing.numbers import BEST, BLEED, EQUAL, MEAN, NAMES, RULE_NAMES, SUCCESS
from kn_utils.plots.panels import panels
from kn_utils.plots.style import LINE

# colours of Okabe and Ito
LOOKS = {
    "attribution": ("#0072B2", "o", "-"),
    "matched": ("#E69F00", "s", "--"),
    "another fact": ("#CC79A7", "v", "-."),
    "random": ("#7F7F7F", "^", ":"),
    "exact": ("#009E73", "D", "-"),
}
AT_LOOKS = {BEST: ("black", "o"), MEAN: ("#7F7F7F", "s"), EQUAL: ("#56B4E9", "^")}


def plot_trade_off(curves: pd.DataFrame, title: str) -> Figure:
    """Show success against bleed, a line for each method with a dot per strength, and a panel per rule."""
    wide = curves.pivot(index=["rule", "method", "strength"], columns="outcome", values="value")
    limits = (-6, 106)  # no dot at 0 or 100 % is cut
    with panels(title, 4.2, columns=len(RULE_NAMES), legend_columns=3, sharex=True, sharey=True) as (figure, axes):
        for axis, (rule, name) in zip(axes, RULE_NAMES.items(), strict=True):
            for method in (method for method in METHODS if (rule, method) in wide.index):
                color, marker, line = LOOKS[method]
                rows = wide.loc[(rule, method)].sort_index()
                axis.plot(rows[BLEED], rows[SUCCESS], line, color=color, linewidth=1.2)
                hollow = {"marker": marker, "facecolors": "none", "edgecolors": color, "linewidths": 1.5}  # hides no other dot
                axis.scatter(rows[BLEED], rows[SUCCESS], 20 + 40 * rows.index, **hollow, label=NAMES[method])
            axis.axline((0, 0), (100, 100), **LINE, linestyle=":")
            axis.set(title=name, xlabel=BLEED, xlim=limits, ylim=limits)
        axes[0].set_ylabel(SUCCESS)
    return figure


def plot_gains(gains: pd.DataFrame, margin: float, title: str) -> Figure:
    """Show the gains of the fact's own neurons over all others with their intervals, a panel per rule; `gains` is of that function."""
    methods = [method for method in METHODS if method in set(gains["method"])]
    with panels(title, 0.6 * len(methods) + 1.5, columns=len(RULE_NAMES), sharex=True, sharey=True) as (figure, axes):
        for axis, (rule, name) in zip(axes, RULE_NAMES.items(), strict=True):
            for number, (at, (color, marker)) in enumerate(AT_LOOKS.items()):
                rows = gains[(gains["rule"] == rule) & (gains["at"] == at)].set_index("method").reindex(methods)
                height = [row + 0.25 * (number - 1) for row in range(len(methods))]
                axis.hlines(height, rows["low"], rows["high"], color=color, linewidth=2)
                axis.plot(rows["value"], height, marker, color=color, label=at)
            axis.axvline(0, **LINE)
            axis.axvline(margin, **LINE, linestyle=":")
            axis.set(title=name, xlabel="gain in success minus bleed (points)")
        axes[0].set(yticks=range(len(methods)), yticklabels=[f"over {NAMES[method]}" for method in methods])
        axes[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure
