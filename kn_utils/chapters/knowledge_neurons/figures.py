"""Figures of notebook 02, from the tables of `numbers`."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_utils.plots.bars import plot_bars
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.panels import panels, write_numbers
from kn_utils.plots.style import LINES, NAMES, PALETTE


def plot_neurons_per_fact(counts: pd.DataFrame, title: str) -> Figure:
    """Show how many facts have 0, 1, 2, ... neurons; `counts` is the table of `neurons_per_fact`."""
    with panels(title, 3.2) as (figure, [axis]):
        plot_bars(axis, counts.groupby("neurons")["method"].value_counts().unstack())
        axis.set(xlabel="neurons of a fact", ylabel="facts")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def plot_shared(pairs: pd.DataFrame, title: str) -> Figure:
    """Show how many neurons two facts share, for each kind of pair; `pairs` has rows of `shared_by_pairs`."""
    with panels(title, 0.45 * pairs["kind"].nunique() + 1.6) as (figure, [axis]):
        plot_intervals(axis, pairs.rename(columns={"kind": "label", "mean": "value"}))
        axis.set(xlabel="neurons that two facts share, mean over all pairs (bars: 95 % bootstrap interval)", xlim=(0, None))
    return figure


def plot_thresholds(grid: pd.DataFrame, title: str) -> Figure:
    """Show the results of other thresholds as heat maps over t and p; `grid` is the table of `threshold_grid`."""
    names = {
        "neurons": "neurons per fact",
        "one_relation": "shared, one relation",
        "different_relations": "shared, different relations",
    }
    names = {
        column: name for column, name in names.items() if grid[column].notna().any()
    }  # one relation has no pairs of the last kind
    with panels(title, 2.8, columns=len(names), sharey=True) as (figure, axes):
        for axis, (column, name) in zip(axes, names.items(), strict=True):
            table = grid.pivot(index="t", columns="p", values=column).sort_index(ascending=False)
            text = table.map(lambda value: f"{value:.0f}" if value >= 10 else f"{value:.2f}")
            sns.heatmap(table, annot=text, fmt="", cmap="Blues", cbar=False, ax=axis, annot_kws={"size": "medium"})
            axis.set(title=name, xlabel="p: share of prompts", ylabel="t: share of largest score" if axis is axes[0] else "")
    return figure


def plot_reach(neurons: pd.DataFrame, n_facts: int, title: str) -> Figure:
    """Show the share of facts that have each neuron, most frequent first; `neurons` is step 2's table."""
    with panels(title, 3.2, legend_columns=1) as (figure, [axis]):
        for method, rows in neurons.groupby("method", sort=False):
            share = 100 * rows.groupby(["layer", "neuron"]).size().sort_values(ascending=False).to_numpy() / n_facts
            look = {"color": PALETTE[method], "linestyle": LINES[method], "label": f"{NAMES[method]}: {len(share):,} neurons"}
            axis.step(range(1, len(share) + 1), share, where="mid", **look)
        axis.set(xlabel="neuron, by rank", ylabel="facts that have it (%)", xscale="log", yscale="log")
        write_numbers(axis.xaxis)
        write_numbers(axis.yaxis)
    return figure
