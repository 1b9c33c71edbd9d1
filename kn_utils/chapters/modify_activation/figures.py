"""Figures of notebook 03, from the tables of `numbers`."""

from itertools import product

import pandas as pd
from matplotlib.figure import Figure

from kn_utils.plots.changes import MEAN, VERBS, draw_changes
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.markup import relation_name
from kn_utils.plots.panels import label_log_scale, panels, write_numbers
from kn_utils.plots.style import LINE, MARKERS, NAMES, PALETTE

TARGETS = {"own": "the fact's own prompts", "other": "another relation's prompts"}


def plot_changes(changes: pd.DataFrame, measure: str, title: str) -> Figure:
    """Show the mean change of `measure` for each operation, target and method; for probabilities with the paper's values."""
    mean = changes[changes["relation"] == MEAN]
    table = mean.assign(label=mean["target"].map(TARGETS), value=mean["change"])
    with panels(title, 2.6, columns=2, sharex=True, sharey=True) as (figure, axes):
        for axis, operation in zip(axes, VERBS, strict=True):
            draw_changes(axis, table, operation, measure, beside=TARGETS["own"])
    return figure


def plot_relations(changes: pd.DataFrame, operation: str, measure: str, labels: dict[str, str], title: str) -> Figure:
    """Show the change for each relation, largest first: the facts' own prompts and, if any, those of another relation."""
    rows = changes[(changes["relation"] != MEAN) & (changes["operation"] == operation)]
    ours = rows[(rows["target"] == "own") & (rows["method"] == "attribution")]
    order = ours.sort_values("change", ascending=operation == "suppress")["relation"]
    targets = [target for target in TARGETS if target in set(rows["target"])]
    size = {"height": 0.3 * len(order) + 1.6, "columns": len(targets)}
    with panels(title, **size, sharex=True, sharey=True) as (figure, axes):
        for axis, target in zip(axes, targets, strict=True):
            table = rows[rows["target"] == target].set_index("relation").loc[order].reset_index()
            names = [relation_name(name, labels) for name in table["relation"]]
            plot_intervals(axis, table.assign(label=names, value=table["change"]))
            axis.axvline(0, **LINE)
            axis.set(title=TARGETS[target], xlabel=measure)
    return figure


def plot_flips(flips: pd.DataFrame, title: str) -> Figure:
    """Show how often the top answer to a fact's own prompts changes; `flips` is the table of `numbers.flips`."""
    with panels(title, 2.6, columns=2, sharex=True, sharey=True) as (figure, axes):
        for axis, (operation, verb) in zip(axes, VERBS.items(), strict=True):
            rows = flips[(flips["operation"] == operation) & (flips["target"] == "own")]
            plot_intervals(axis, rows.rename(columns={"flip": "label", "share": "value"}))
            axis.set(title=f"neurons {verb}", xlabel="prompts whose top answer changes (%)")
            axis.set_xlim(left=-1)  # marks at zero are whole
    return figure


def plot_probabilities(table: pd.DataFrame, title: str) -> Figure:
    """Show the ratio of the object's probability after and before for each of the facts' own prompts; `table` is step 3's.

    Operations are rows and methods columns, since dots of several methods in one panel would hide each other.
    """
    own = table[(table["target"] == "own") & (table["neurons"] > 0)]
    with panels(title, 4.6, rows=2, columns=len(PALETTE), sharex=True, sharey=True) as (figure, axes):
        for axis, (operation, method) in zip(axes, product(VERBS, PALETTE), strict=True):
            rows = own[(own["operation"] == operation) & (own["method"] == method)]
            ratio = rows["probability_after"] / rows["probability_before"]
            # rasterized, since thousands of dots are large as vectors
            look = {"marker": MARKERS[method], "color": PALETTE[method], "rasterized": True}
            axis.scatter(rows["probability_before"], ratio, s=6, alpha=0.4, linewidth=0, **look)
            axis.axhline(1, **LINE)
            axis.set(title=NAMES[method] if operation == "suppress" else "", xscale="log", yscale="log")
        for axis, verb in zip(axes[:: len(PALETTE)], VERBS.values(), strict=True):
            axis.set_ylabel(f"{verb}\nafter / before")
        write_numbers(axes[0].xaxis, about=4)  # the panels share their scales
        label_log_scale(axes[0].yaxis)
        for axis in axes[len(PALETTE) :]:
            axis.set_xlabel("probability before")
    return figure
