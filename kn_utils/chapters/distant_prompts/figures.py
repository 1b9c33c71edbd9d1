"""Figures of notebook 04: every `plot_x` takes a table of its summary and a title that says model, data set, number of facts and seed."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.panels import share_legend
from kn_utils.plots.style import KIND_NAMES, NAMES, PALETTE, WIDTH
from kn_utils.store.paper import paper_values

_KIND_MARKERS = {"head_and_tail": "o", "head_only": "v", "head_only_comparable": "s", "random": "x"}
_KIND_COLOURS = {"head_and_tail": "#009E73", "head_only": "#E69F00", "head_only_comparable": "#CC79A7", "random": "#7F7F7F"}


def plot_activations(activations: pd.DataFrame, title: str) -> Figure:
    """Show the mean activation by kind of sentence, a panel per method, with the paper's values for integrated gradients.

    `activations` has the columns method, kind, mean, low, high and facts. The panels' scales differ.
    """
    paper = paper_values()["value"]
    values = {
        (KIND_NAMES[kind], "attribution"): paper[f"distant_{kind}"] for kind in KIND_NAMES if f"distant_{kind}" in paper.index
    }
    figure, panels = _panels(activations, (WIDTH, 2.8))
    for axis, method, own in panels:
        rows = own.set_index("kind").reindex(list(KIND_NAMES)).assign(method=method, label=list(KIND_NAMES.values()))
        plot_intervals(axis, rows.rename(columns={"mean": "value"}), values)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=f"{NAMES[method]}, {own['facts'].max()} facts", xlabel="mean activation (95 % interval)")
    share_legend(figure, [axis for axis, _, _ in panels])
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_differences(means: pd.DataFrame, title: str) -> Figure:
    """Show, fact by fact, by how much the activation with head and tail exceeds that in other sentences, a panel per method.

    `means` is a row per fact and method, a column per kind. Boxes hold the middle half of the facts, whiskers 95 % of them.
    """
    figure, panels = _panels(means, (WIDTH, 2.8))
    others = [kind for kind in KIND_NAMES if kind != "head_and_tail"]
    for axis, method, own in panels:
        differences = -own[others].sub(own["head_and_tail"], axis=0)
        boxes = [differences[kind].dropna() for kind in others]
        look = {"patch_artist": True, "boxprops": {"facecolor": PALETTE[method]}, "medianprops": {"color": "white"}}
        axis.boxplot(boxes, orientation="horizontal", whis=(2.5, 97.5), showfliers=False, widths=0.5, **look)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=f"{NAMES[method]}, {len(own)} facts", xlabel="head and tail minus other kind")
    names = [KIND_NAMES[kind] for kind in others]
    panels[0][0].set(yticks=range(1, len(others) + 1), yticklabels=names, ylim=(len(others) + 0.5, 0.5))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_relations(means: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """Show the mean activation by relation and kind of sentence, a panel per method, highest with head and tail first.

    `means` has the columns relation, method, kind and mean; `labels` are the relations' names.
    """
    figure, panels = _panels(means, (WIDTH, 0.24 * means["relation"].nunique() + 1.6))
    first = panels[0][2].query("kind == 'head_and_tail'").set_index("relation")["mean"]
    order = first.reindex(means["relation"].unique()).sort_values(na_position="first").index
    for axis, method, own in panels:
        for kind, name in KIND_NAMES.items():
            values = own[own["kind"] == kind].set_index("relation")["mean"].reindex(order)
            axis.plot(values, range(len(order)), _KIND_MARKERS[kind], color=_KIND_COLOURS[kind], label=name)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=NAMES[method], xlabel="mean activation", yticks=range(len(order)), ylim=(-0.5, len(order) - 0.5))
    panels[0][0].set_yticklabels([f"{labels[name]} ({name})" for name in order])
    share_legend(figure, [axis for axis, _, _ in panels])
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _panels(table: pd.DataFrame, size: tuple[float, float]) -> tuple[Figure, list[tuple[Axes, str, pd.DataFrame]]]:
    """A figure with, per method, its axes and its rows of the table."""
    methods = [method for method in NAMES if method in set(table["method"])]
    figure, axes = plt.subplots(1, len(methods), figsize=size, sharey=True, squeeze=False, layout="constrained")
    return figure, [(axis, method, table[table["method"] == method]) for axis, method in zip(axes[0], methods, strict=True)]
