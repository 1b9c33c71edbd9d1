"""Figures of notebook 06: every `plot_x` takes a table of its summary and a title that says model, data set, number of edits and seed."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kn_utils.chapters.edit_facts.numbers import CHANGED, OTHER, SAME, SUCCESS
from kn_utils.chapters.edit_facts.table import RULES
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.panels import label_log_scale, share_legend, write_numbers
from kn_utils.plots.style import WIDTH
from kn_utils.store.paper import paper_values

RULE_NAMES = {"scaled": "the paper's rule (scaled)", "fixed": "fixed rule: - 2 old + 2 new"}
PAPER = {  # the ids of the paper's values
    CHANGED: "edit_change_rate",
    SUCCESS: "edit_success_rate",
    SAME: "edit_perplexity_same_relation",
    OTHER: "edit_perplexity_other_relations",
}
MARKERS = {CHANGED: "v", SUCCESS: "o", SAME: "s", OTHER: "^"}
COLOURS = {CHANGED: "#56B4E9", SUCCESS: "#0072B2", SAME: "#D55E00", OTHER: "#E69F00"}


def plot_rates(rates: pd.DataFrame, title: str) -> Figure:
    """Show how often edits change the answer and succeed, a panel per rule, with random neurons beside ours and the paper's values."""
    return _plot_rules(rates, "share of edits (%)", title, xlim=(-2, 102))


def plot_perplexities(rises: pd.DataFrame, title: str) -> Figure:
    """Show the mean rise of perplexity on other facts, a panel per rule, with random neurons beside ours and the paper's values."""
    figure = _plot_rules(rises, "rise of perplexity (mean over edits)", title)
    figure.axes[0].set_xscale("symlog", linthresh=10)
    figure.axes[0].autoscale(axis="x")
    write_numbers(figure.axes[0].xaxis, about=4)  # some are in millions
    return figure


def _plot_rules(table: pd.DataFrame, xlabel: str, title: str, **settings) -> Figure:
    figure, axes = plt.subplots(1, len(RULES), figsize=(WIDTH, 2.8), sharex=True, sharey=True, layout="constrained")
    for axis, rule in zip(axes, RULES, strict=True):
        own = table[table["rule"] == rule].rename(columns={"quantity": "label"})
        plot_intervals(axis, own, _paper_values(own["label"].unique()) if rule == "scaled" else None)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=RULE_NAMES[rule], xlabel=xlabel, **settings)
    share_legend(figure, axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _paper_values(quantities: list[str]) -> dict[tuple[str, str], float]:
    values, suffixes = paper_values()["value"], {"attribution": "", "random": "_random"}
    return {
        (quantity, method): values[PAPER[quantity] + suffix]
        for quantity in quantities
        if quantity in PAPER
        for method, suffix in suffixes.items()
    }


def plot_strengths(strengths: pd.DataFrame, title: str) -> Figure:
    """Show what lambda2 does: how often edits change the answer and succeed, and what they do to other facts."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained")
    for axis, quantities in zip(axes, ((CHANGED, SUCCESS), (SAME, OTHER)), strict=True):
        for quantity in quantities:
            _draw_line(axis, strengths[strengths["quantity"] == quantity], quantity)
        axis.axvline(8, color="black", linewidth=0.8, linestyle=":", label="the paper's lambda2")
        axis.set(xlabel="lambda2, the weight of the new object", xticks=sorted(strengths["lambda2"].unique()))
    axes[0].set(title="what edits do", ylabel="share of edits (%)", ylim=(-2, 102))
    axes[1].set(title="what else they do", ylabel="perplexity / that before", yscale="log")
    label_log_scale(axes[1].yaxis)
    share_legend(figure, axes, ncols=3)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _draw_line(axis: Axes, own: pd.DataFrame, label: str) -> None:
    axis.plot(own["lambda2"], own["value"], f"{MARKERS[label]}-", color=COLOURS[label], label=label)
    axis.fill_between(own["lambda2"], own["low"], own["high"], color=COLOURS[label], alpha=0.2, linewidth=0)


def plot_ranks(edits: pd.DataFrame, title: str) -> Figure:
    """Show the new object's rank before and after every edit by the paper's rule, with our neurons and with random ones."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8), sharex=True, sharey=True, layout="constrained")
    for axis, (control, name) in zip(axes, ((False, "the fact's neurons"), (True, "random neurons")), strict=True):
        own = edits[(edits["rule"] == "scaled") & (edits["control"] == control)]
        for success, colour, marker in ((False, "#7F7F7F", "x"), (True, COLOURS[SUCCESS], "o")):
            some = own[own["success"] == success]
            label = SUCCESS if success else "the answer is something else"
            axis.scatter(some["rank_before"], some["rank_after"], 16, colour, marker, alpha=0.7, linewidth=0.8, label=label)
        axis.axline((1, 1), (2, 2), color="black", linewidth=0.8)
        axis.set(title=name, xscale="log", yscale="log", xlabel="rank of the new object before")
        write_numbers(axis.xaxis)  # where there is no room for more than decades
        label_log_scale(axis.yaxis)
    axes[0].set_ylabel("after")
    share_legend(figure, axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
