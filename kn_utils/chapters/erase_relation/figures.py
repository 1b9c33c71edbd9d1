"""Figures of notebook 07: every `plot_x` takes a table of its summary and a title that says model, data set, number of facts and seed."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kn_utils.chapters.erase_relation.numbers import AFTER, BEFORE, LOSS, OTHERS, OWN, RISE
from kn_utils.chapters.erase_relation.table import DOSES
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.panels import label_log_scale, share_legend, write_numbers
from kn_utils.plots.style import MARKERS, NAMES, PALETTE, WIDTH
from kn_utils.store.paper import paper_values


def plot_erasures(erasures: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show the perplexity of each erased relation before and after, and that of all others beside it; a line per method."""
    relations = list(dict.fromkeys(erasures["relation"]))
    figure, panels = _panels(erasures, labels, sharex=False)
    for where, axis in panels.items():
        for number, method in enumerate(PALETTE):
            own = erasures[(erasures["where"] == where) & (erasures["method"] == method)]
            values = own.pivot(index="relation", columns="quantity", values="value").reindex(
                index=relations, columns=[BEFORE, AFTER]
            )
            height = np.arange(len(relations)) + 0.2 * (number - 1)
            axis.hlines(height, values[BEFORE], values[AFTER], color=PALETTE[method], linewidth=2)
            look = {"marker": MARKERS[method], "linestyle": "none", "color": PALETTE[method], "markersize": 5}
            axis.plot(values[BEFORE], height, **look, markerfacecolor="white")
            axis.plot(values[AFTER], height, **look, label=NAMES[method])
        axis.set(title=where, xscale="log", xlabel="perplexity before (hollow), after (filled)")
        label_log_scale(axis.xaxis)
    share_legend(figure, list(panels.values()))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _panels(erasures: pd.DataFrame, labels: dict[str, str], sharex: bool) -> tuple[Figure, dict[str, Axes]]:
    """A panel for the erased relations themselves and, if any were evaluated, one for all others; a row per erased relation."""
    relations = list(dict.fromkeys(erasures["relation"]))
    shown = [where for where in (OWN, OTHERS) if where in set(erasures["where"])]
    size = (WIDTH, 0.5 * len(relations) + 1.4)
    figure, axes = plt.subplots(1, len(shown), figsize=size, sharex=sharex, sharey=True, squeeze=False, layout="constrained")
    rows = {"yticks": range(len(relations)), "yticklabels": _names(relations, labels), "ylabel": "erased"}
    axes[0, 0].set(**rows, ylim=(len(relations) - 0.5, -0.5))
    return figure, dict(zip(shown, axes[0], strict=True))


def plot_rises(erasures: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show by how many per cent the perplexity rises, with intervals and the paper's values where it erased the same relation."""
    xlabel = "rise of perplexity (%)"
    figure = _plot_changes(erasures, RISE, labels, title, _paper_rises(), xlabel=xlabel, xscale="symlog")
    write_numbers(figure.axes[0].xaxis)  # which the panels share
    return figure


def plot_losses(erasures: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show by how many points the accuracy changes, with intervals."""
    return _plot_changes(erasures, LOSS, labels, title, {}, xlabel="change of accuracy (points)")


def _plot_changes(erasures: pd.DataFrame, quantity: str, labels: dict[str, str], title: str, paper: dict, **settings) -> Figure:
    own = erasures[erasures["quantity"] == quantity]
    relations = list(dict.fromkeys(own["relation"]))
    names = dict(zip(relations, _names(relations, labels), strict=True))
    figure, panels = _panels(own, labels, sharex=True)
    for where, axis in panels.items():
        there = own[own["where"] == where]
        values = {(names[name], "attribution"): paper[where, name] for name in relations if (where, name) in paper}
        plot_intervals(axis, there.assign(label=there["relation"].map(names)), values)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=where, **settings)
    share_legend(figure, list(panels.values()))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _paper_rises() -> dict[tuple[str, str], float]:
    """The paper's rises of perplexity (%), from its values before and after."""
    values = paper_values()["value"]
    erased = [
        name.removeprefix("erase_").removesuffix("_others_before") for name in values.index if name.endswith("_others_before")
    ]
    infixes = {OWN: "", OTHERS: "_others"}
    return {
        (where, name): 100 * (values[f"erase_{name}{infix}_after"] / values[f"erase_{name}{infix}_before"] - 1)
        for name in erased
        for where, infix in infixes.items()
    }


def _names(relations: list[str], labels: dict[str, str]) -> list[str]:
    return [f"{labels[name]} ({name})" for name in relations]


def plot_by_relation(rises: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show the rise of perplexity of every relation (down) after each erasure (across), a heat map; `rises` is the summary's table."""
    figure, axis = plt.subplots(figsize=(WIDTH, 0.19 * rises.shape[1] + 1.8), layout="constrained")
    limit = max(10, np.nanquantile(rises.abs(), 0.98))
    settings = {"cmap": "RdBu_r", "center": 0, "vmin": -limit, "vmax": limit, "cbar_kws": {"label": "rise (%)"}}
    rows = _names(list(rises.columns), labels)
    sns.heatmap(rises.T, annot=len(rises) <= 8, fmt=".0f", annot_kws={"size": "medium"}, yticklabels=rows, **settings, ax=axis)
    axis.set(xlabel="erased", ylabel="evaluated")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_doses(doses: pd.DataFrame, title: str) -> Figure:
    """Show perplexity, relative to none erased, against the number of neurons erased, a panel per erased relation."""
    relations = list(dict.fromkeys(doses["relation"]))
    columns = min(4, len(relations))
    rows = math.ceil(len(relations) / columns)
    size = (WIDTH, 2.2 * rows + 1)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained")
    for axis, relation in zip(axes.flat, relations, strict=False):
        for (where, method), own in doses[doses["relation"] == relation].groupby(["where", "method"], sort=False):
            line = f"{MARKERS[method]}{'-' if where == OWN else ':'}"
            label = f"{NAMES[method]}, {where}"
            axis.plot(own["neurons"], own["ratio"], line, color=PALETTE[method], markersize=4, label=label)
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xticks([0, *DOSES[::2]], [0, *DOSES[::2]])
        axis.set(title=relation, xlabel="neurons erased", xlim=(-0.3, 1.2 * DOSES[-1]))
    for axis in axes[:, 0]:
        axis.set_ylabel("perplexity / that before")
    for axis in axes.flat[len(relations) :]:
        axis.remove()
    share_legend(figure, axes.flat[: len(relations)], ncols=2)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
