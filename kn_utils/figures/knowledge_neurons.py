"""Figures of notebook 02: every `plot_x` takes a table of its summary and a title that says model, data set, number of facts and seed."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from kn_utils.figures.intervals import plot_intervals
from kn_utils.figures.panels import share_legend
from kn_utils.figures.style import NAMES, PALETTE, by_method


def plot_neurons_per_fact(counts: pd.DataFrame, title: str) -> Figure:
    """Show how many facts have 0, 1, 2, ... neurons by each method; `counts` has the columns method and neurons."""
    figure, axis = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    sns.histplot(counts, x="neurons", **by_method(counts), discrete=True, multiple="dodge", shrink=0.8, alpha=1, ax=axis)
    axis.set(title=title, xlabel="neurons of a fact", ylabel="facts")
    sns.move_legend(axis, "upper right", title=None)
    axis.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
    return figure


def plot_shared(pairs: pd.DataFrame, title: str) -> Figure:
    """Show how many neurons two facts share, by kind of pair; `pairs` has the columns method, kind, mean, low and high."""
    figure, axis = plt.subplots(figsize=(8.5, 3.8), layout="constrained")
    plot_intervals(axis, pairs.rename(columns={"kind": "label", "mean": "value"}))
    share_legend(figure, [axis])
    axis.set(
        title=title, xlabel="neurons that two facts share, mean over all pairs (bars: 95 % bootstrap interval)", xlim=(0, None)
    )
    return figure


def plot_thresholds(grid: pd.DataFrame, title: str) -> Figure:
    """Show what other thresholds give, as three heat maps over t and p; `grid` is the summary's table."""
    panels = {
        "neurons": "neurons per fact",
        "one_relation": "shared, one relation",
        "different_relations": "shared, different relations",
    }
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
    for axis, (column, name) in zip(axes, panels.items(), strict=True):
        table = grid.pivot(index="t", columns="p", values=column).sort_index(ascending=False)
        sns.heatmap(table, annot=True, fmt=".2g", cmap="Blues", cbar=False, ax=axis, annot_kws={"size": 8})
        axis.set(
            title=name, xlabel="p: share of the fact's prompts", ylabel="t: share of the largest score" if axis is axes[0] else ""
        )
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_reach(neurons: pd.DataFrame, n_facts: int, title: str) -> Figure:
    """Show how many facts each neuron serves, most frequent first; `neurons` has the columns method, layer and neuron, a row per fact."""
    figure, axis = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    for method, own in neurons.groupby("method", sort=False):
        share = 100 * own.groupby(["layer", "neuron"]).size().sort_values(ascending=False).to_numpy() / n_facts
        axis.step(
            range(1, len(share) + 1), share, where="mid", color=PALETTE[method], label=f"{NAMES[method]}: {len(share):,} neurons"
        )
    axis.set(title=title, xlabel="neuron, by rank", ylabel="facts that have it (%)", xscale="log", yscale="log")
    axis.legend()
    return figure
