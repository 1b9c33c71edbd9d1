"""Figures of notebook 04, from the tables of `numbers`."""

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.model.neurons import METHODS
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.markup import relation_name
from kn_utils.plots.panels import panels
from kn_utils.plots.style import KIND_NAMES, LINE, NAMES, PALETTE
from kn_utils.store.paper import paper_values

_KIND_MARKERS = {"head_and_tail": "o", "head_only": "v", "head_only_comparable": "s", "random": "x"}
_KIND_COLOURS = {"head_and_tail": "#009E73", "head_only": "#E69F00", "head_only_comparable": "#CC79A7", "random": "#7F7F7F"}


def plot_activations(activations: pd.DataFrame, title: str) -> Figure:
    """Show the mean activation for each kind of sentence, a panel per method; `activations` is the table of `mean_activations`."""
    values, methods = paper_values()["value"], _by_method(activations)
    paper = {(name, "attribution"): values[f"distant_{kind}"] for kind, name in KIND_NAMES.items() if f"distant_{kind}" in values}
    with panels(title, 2.8, columns=len(methods), sharex=True, sharey=True) as (figure, axes):
        for axis, (method, rows) in zip(axes, methods.items(), strict=True):
            table = rows.set_index("kind").reindex(list(KIND_NAMES)).assign(method=method, label=list(KIND_NAMES.values()))
            plot_intervals(axis, table.rename(columns={"mean": "value"}), paper)
            axis.axvline(0, **LINE)
            axis.set(title=f"{NAMES[method]}, {rows['facts'].max()} facts", xlabel="mean activation (95 % interval)")
    return figure


def plot_differences(means: pd.DataFrame, title: str) -> Figure:
    """Show the distribution over facts of the activation with head and tail minus that of each other kind, a panel per method.

    `means` is the table of `fact_means`. Boxes contain the middle 50 % of the facts, whiskers 95 %.
    """
    methods, others = _by_method(means), [kind for kind in KIND_NAMES if kind != "head_and_tail"]
    with panels(title, 2.8, columns=len(methods), sharex=True, sharey=True) as (figure, axes):
        for axis, (method, rows) in zip(axes, methods.items(), strict=True):
            boxes = [(rows["head_and_tail"] - rows[kind]).dropna() for kind in others]
            look = {"patch_artist": True, "boxprops": {"facecolor": PALETTE[method]}, "medianprops": {"color": "white"}}
            axis.boxplot(boxes, orientation="horizontal", whis=(2.5, 97.5), showfliers=False, widths=0.5, **look)
            axis.axvline(0, **LINE)
            axis.set(title=f"{NAMES[method]}, {len(rows)} facts", xlabel="head and tail minus other kind")
        names = [KIND_NAMES[kind] for kind in others]
        axes[0].set(yticks=range(1, len(others) + 1), yticklabels=names, ylim=(len(others) + 0.5, 0.5))
    return figure


def plot_relations(means: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show the mean activation for each relation and kind of sentence, a panel per method; `means` is the table of `relation_means`."""
    methods = _by_method(means)
    first = next(iter(methods.values())).query("kind == 'head_and_tail'").set_index("relation")["mean"]
    order = first.reindex(means["relation"].unique()).sort_values(na_position="first").index
    with panels(title, 0.24 * len(order) + 1.6, columns=len(methods), sharex=True, sharey=True) as (figure, axes):
        for axis, (method, rows) in zip(axes, methods.items(), strict=True):
            for number, (kind, name) in enumerate(KIND_NAMES.items()):
                height = [row + 0.2 * (1.5 - number) for row in range(len(order))]  # beside each other: equal values hide no mark
                values = rows[rows["kind"] == kind].set_index("relation")["mean"].reindex(order)
                axis.plot(values, height, _KIND_MARKERS[kind], color=_KIND_COLOURS[kind], markersize=4, label=name)
            axis.axvline(0, **LINE)
            axis.set(title=NAMES[method], xlabel="mean activation", yticks=range(len(order)), ylim=(-0.5, len(order) - 0.5))
        axes[0].set_yticklabels([relation_name(name, labels) for name in order])
    return figure


def _by_method(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each method."""
    return {method: table[table["method"] == method] for method in METHODS if method in set(table["method"])}
