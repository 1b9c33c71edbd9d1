"""Figures of notebook 06, from the tables of `numbers`."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.chapters.edit_facts.numbers import CHANGED, OTHER, PAPER, SAME, SUCCESS, SUFFIXES
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.panels import label_log_scale, panels, write_numbers
from kn_utils.plots.style import LINE
from kn_utils.store.paper import paper_values

RULE_NAMES = {"scaled": "the paper's rule (scaled)", "fixed": "fixed rule: - 2 old + 2 new"}
MARKERS = {CHANGED: "v", SUCCESS: "o", SAME: "s", OTHER: "^"}
COLOURS = {CHANGED: "#56B4E9", SUCCESS: "#0072B2", SAME: "#D55E00", OTHER: "#E69F00"}


def plot_rates(rates: pd.DataFrame, title: str) -> Figure:
    """Show the rates of all outcomes, a panel per rule, with random neurons as control and the paper's values."""
    return _plot_rules(rates, "share of edits (%)", title, xlim=(-4, 104))


def plot_perplexities(rises: pd.DataFrame, title: str) -> Figure:
    """Show the mean rise of perplexity on other facts, a panel per rule, with random neurons as control and the paper's values."""
    figure = _plot_rules(rises, "rise of perplexity (mean over edits)", title)
    figure.axes[0].set_xscale("symlog", linthresh=10)
    figure.axes[0].autoscale(axis="x")
    write_numbers(figure.axes[0].xaxis, about=4)  # some are in millions
    return figure


def _plot_rules(table: pd.DataFrame, xlabel: str, title: str, **settings) -> Figure:
    values = paper_values()["value"]
    paper = {(name, method): values[PAPER[name] + suffix] for name in PAPER for method, suffix in SUFFIXES.items()}
    with panels(title, 2.8, columns=len(RULE_NAMES), sharex=True, sharey=True) as (figure, axes):
        for axis, (rule, name) in zip(axes, RULE_NAMES.items(), strict=True):
            rows = table[table["rule"] == rule].rename(columns={"quantity": "label"})
            plot_intervals(axis, rows, paper if rule == "scaled" else None)
            axis.axvline(0, **LINE)
            axis.set(title=name, xlabel=xlabel, **settings)
    return figure


def plot_strengths(strengths: pd.DataFrame, title: str) -> Figure:
    """Show the rates of outcomes and the perplexity ratios on other facts for each lambda2."""
    with panels(title, 3.4, columns=2, legend_columns=3) as (figure, axes):
        for axis, quantities in zip(axes, ((CHANGED, SUCCESS), (SAME, OTHER)), strict=True):
            for quantity, look in zip(quantities, ({"markersize": 10, "fillstyle": "none"}, {}), strict=True):  # both are seen
                rows, color = strengths[strengths["quantity"] == quantity], COLOURS[quantity]
                axis.plot(rows["lambda2"], rows["value"], f"{MARKERS[quantity]}-", color=color, label=quantity, **look)
                axis.fill_between(rows["lambda2"], rows["low"], rows["high"], color=color, alpha=0.2, linewidth=0)
            axis.axvline(8, **LINE, linestyle=":", label="the paper's lambda2")
            axis.set(xlabel="lambda2, the weight of the new object", xticks=sorted(strengths["lambda2"].unique()))
        axes[0].set(title="edited facts", ylabel="share of edits (%)", ylim=(-4, 104))
        axes[1].set(title="other facts", ylabel="perplexity after / before", yscale="log")
        axes[1].axhline(1, **LINE)
        label_log_scale(axes[1].yaxis)
    return figure


def plot_ranks(edits: pd.DataFrame, title: str) -> Figure:
    """Show the new object's rank before and after every edit by the paper's rule, for the fact's neurons and for random neurons."""
    scaled = edits[edits["rule"] == "scaled"]
    with panels(title, 3.8, columns=2, sharex=True, sharey=True) as (figure, axes):
        for axis, (method, name) in zip(
            axes, {"attribution": "the fact's neurons", "random": "random neurons"}.items(), strict=True
        ):
            for success, colour, marker in ((False, "#000000", "x"), (True, COLOURS[SUCCESS], "o")):
                rows = scaled[(scaled["method"] == method) & (scaled["success"] == success)]
                label = SUCCESS if success else "the answer is something else"
                axis.scatter(rows["rank_before"], rows["rank_after"], 16, colour, marker, alpha=0.7, linewidth=0.8, label=label)
            axis.axline((1, 1), (2, 2), **LINE)
            axis.set(title=name, xscale="log", yscale="log", xlabel="rank of the new object before")
            write_numbers(axis.xaxis)  # no room for more than decades
            label_log_scale(axis.yaxis)
        axes[0].set_ylabel("after")
    return figure
