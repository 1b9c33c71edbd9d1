"""Figures of notebook 07, from the tables of `numbers`."""

import math
from collections.abc import Iterable
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from kn_utils.chapters.erase_relation.numbers import AFTER, BEFORE, ERASED_IN_THE_PAPER, LOSS, OTHERS, OWN, PAPER, RISE
from kn_utils.chapters.erase_relation.table import DOSES
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.markup import relation_name
from kn_utils.plots.panels import label_log_scale, panels, write_numbers
from kn_utils.plots.style import LINE, MARKERS, NAMES, PALETTE
from kn_utils.store.paper import paper_values


def plot_erasures(erasures: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show the perplexity before and after each erasure, of the erased relation and of all others; a line per method."""
    names, shown = _names(erasures["relation"], labels), _shown(erasures)
    with panels(title, 0.5 * len(names) + 1.4, columns=len(shown), sharex=True, sharey=True) as (figure, axes):
        for axis, where in zip(axes, shown, strict=True):
            for number, method in enumerate(PALETTE):
                rows = erasures[(erasures["where"] == where) & (erasures["method"] == method)]
                values = rows.pivot(index="relation", columns="quantity", values="value").reindex(names)
                height = np.arange(len(names)) + 0.2 * (number - 1)
                axis.hlines(height, values[BEFORE], values[AFTER], color=PALETTE[method], linewidth=2)
                look = {"marker": MARKERS[method], "linestyle": "none", "color": PALETTE[method], "markersize": 5}
                axis.plot(values[BEFORE], height, **look, markerfacecolor="white")
                axis.plot(values[AFTER], height, **look, label=NAMES[method])
            axis.set(title=where, xscale="log", xlabel="perplexity before (hollow), after (filled)")
        label_log_scale(axes[0].xaxis)  # shared by the panels
        axes[0].set(yticks=range(len(names)), yticklabels=names.values(), ylim=(len(names) - 0.5, -0.5), ylabel="erased")
    return figure


def plot_rises(erasures: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show the rise of perplexity (%), with the paper's values for the relations that it erased."""
    values = paper_values()["value"]
    paper = {
        (where, name): 100 * (values[f"erase_{name}_{PAPER[where, AFTER]}"] / values[f"erase_{name}_{PAPER[where, BEFORE]}"] - 1)
        for where in (OWN, OTHERS)
        for name in ERASED_IN_THE_PAPER
    }
    figure = _plot_changes(erasures, RISE, labels, title, paper, xscale="symlog")
    write_numbers(figure.axes[0].xaxis)  # shared by the panels
    return figure


def plot_losses(erasures: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show the change of accuracy (points)."""
    return _plot_changes(erasures, LOSS, labels, title, {})


def _plot_changes(erasures: pd.DataFrame, quantity: str, labels: dict[str, str], title: str, paper: dict, **settings) -> Figure:
    names, shown = _names(erasures["relation"], labels), _shown(erasures)
    with panels(title, 0.5 * len(names) + 1.4, columns=len(shown), sharex=True, sharey=True) as (figure, axes):
        for axis, where in zip(axes, shown, strict=True):
            rows = erasures[(erasures["quantity"] == quantity) & (erasures["where"] == where)]
            values = {(names[name], "attribution"): paper[where, name] for name in names if (where, name) in paper}
            plot_intervals(axis, rows.assign(label=rows["relation"].map(names)), values)
            axis.axvline(0, **LINE)
            axis.set(title=where, xlabel=quantity, **settings)
        axes[0].set_ylabel("erased")
    return figure


def _shown(erasures: pd.DataFrame) -> list[str]:
    """Return the panels: the erased relations and, if evaluated, all others."""
    return [where for where in (OWN, OTHERS) if where in set(erasures["where"])]


def _names(relations: Iterable[str], labels: dict[str, str]) -> dict[str, str]:
    return {name: relation_name(name, labels) for name in relations}


def plot_by_relation(rises: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show the rise of perplexity of each relation (rows) by each erasure (columns); `rises` is the table of `rises_by_relation`.

    Colours are linear up to a rise of 10 %, logarithmic above, and end at the largest rise.
    """
    limit = max(10, np.nanmax(rises.abs()))
    numbers = rises.T.map(lambda rise: "" if np.isnan(rise) else f"{round(rise):,}")
    look = {
        "cmap": "RdBu_r",
        "norm": SymLogNorm(10, vmin=-limit, vmax=limit),
        "cbar_kws": {"label": "rise (%)", "format": "{x:,.0f}"},
    }
    look |= {"annot": numbers if len(rises) <= 8 else False, "fmt": "", "annot_kws": {"size": "medium"}}
    with panels(title, 0.19 * rises.shape[1] + 1.8) as (figure, [axis]):
        sns.heatmap(rises.T, yticklabels=list(_names(rises.columns, labels).values()), **look, ax=axis)
        axis.set(xlabel="erased", ylabel="evaluated")
    return figure


def plot_doses(doses: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show relative perplexity against the number of erased neurons, a panel per erased relation."""
    names = _names(doses["relation"], labels)
    relations = list(names)
    columns = min(4, len(relations))
    size = {"rows": math.ceil(len(relations) / columns), "columns": columns, "legend_columns": 2}
    with panels(title, 2.2 * size["rows"] + 1, **size, sharex=True, sharey=True) as (figure, axes):
        for axis, relation in zip(axes, relations, strict=False):
            for (where, method), rows in doses[doses["relation"] == relation].groupby(["where", "method"], sort=False):
                line = f"{MARKERS[method]}{'-' if where == OWN else ':'}"
                look = {"color": PALETTE[method], "markersize": 4, "label": f"{NAMES[method]}, {where}"}
                axis.plot(rows["neurons"], rows["ratio"], line, **look)
            axis.set_xscale("symlog", linthresh=1)
            axis.set_xticks([0, *DOSES[::2]], [0, *DOSES[::2]])
            axis.set(title=fill(names[relation], 20), xlabel="neurons erased", xlim=(-0.3, 1.2 * DOSES[-1]))
        for axis in axes[::columns]:
            axis.set_ylabel("perplexity after / before")
        for axis in axes[len(relations) :]:
            axis.remove()
    return figure
