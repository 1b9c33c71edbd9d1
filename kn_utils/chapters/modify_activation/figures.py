"""Figures of notebook 03: every `plot_x` takes a table of its summary and a title that says model, data set, number of facts and seed."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from kn_utils.plots.changes import MEAN, VERBS, draw_changes
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.panels import label_log_scale, share_legend, write_numbers
from kn_utils.plots.style import MARKERS, NAMES, PALETTE, WIDTH

TARGETS = {"own": "the fact's own prompts", "other": "another relation's prompts"}


def plot_changes(changes: pd.DataFrame, title: str) -> Figure:
    """Show the mean change of the object's probability by operation, target and method, with the paper's values."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.6), sharey=True, layout="constrained")
    mean = changes[changes["relation"] == MEAN]
    table = mean.assign(label=mean["target"].map(TARGETS), value=mean["change"])
    for axis, operation in zip(axes, VERBS, strict=True):
        draw_changes(axis, table, operation, beside=TARGETS["own"])
    share_legend(figure, axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_relations(changes: pd.DataFrame, operation: str, labels: dict[str, str], title: str) -> Figure:
    """Show the change by relation, largest first, for the facts' own prompts and, if there are any, another relation's."""
    own = changes[(changes["relation"] != MEAN) & (changes["operation"] == operation)]
    ours = own[(own["target"] == "own") & (own["method"] == "attribution")]
    order = ours.sort_values("change", ascending=operation == "suppress")["relation"]
    targets = [target for target in TARGETS if target in set(own["target"])]
    size = (WIDTH, 0.22 * len(order) + 1.6)
    figure, axes = plt.subplots(1, len(targets), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained")
    for axis, target in zip(axes[0], targets, strict=True):
        table = own[own["target"] == target].set_index("relation").loc[order].reset_index()
        plot_intervals(
            axis, table.assign(label=[f"{labels[name]} ({name})" for name in table["relation"]], value=table["change"])
        )
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=TARGETS[target], xlabel="change of the probability (%)")
    share_legend(figure, axes[0])
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_flips(flips: pd.DataFrame, title: str) -> Figure:
    """Show how often the top answer of a fact's own prompts changes; `flips` is the summary's table."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.6), sharey=True, layout="constrained")
    for axis, (operation, verb) in zip(axes, VERBS.items(), strict=True):
        own = flips[(flips["operation"] == operation) & (flips["target"] == "own")]
        plot_intervals(axis, own.rename(columns={"flip": "label", "share": "value"}))
        axis.set(title=f"neurons {verb}", xlabel="prompts whose top answer changes (%)", xlim=(0, None))
    share_legend(figure, axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_probabilities(table: pd.DataFrame, title: str) -> Figure:
    """Show for every own prompt how many times its probability is after the change; `table` is step 3's."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharex=True, sharey=True, layout="constrained")
    for axis, (operation, verb) in zip(axes, VERBS.items(), strict=True):
        changed = table[(table["operation"] == operation) & (table["target"] == "own") & (table["neurons"] > 0)]
        for method in reversed(PALETTE):
            own = changed[changed["method"] == method]
            times = own["probability_after"] / own["probability_before"]
            look = {"marker": MARKERS[method], "color": PALETTE[method], "label": NAMES[method]}
            axis.scatter(own["probability_before"], times, s=6, alpha=0.4, linewidth=0, **look)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set(title=f"neurons {verb}", xscale="log", yscale="log", xlabel="probability of the object before")
    write_numbers(axes[0].xaxis)  # the panels share their scales
    label_log_scale(axes[0].yaxis)
    axes[0].set_ylabel("times as probable after")
    share_legend(figure, axes)
    for handle in figure.legends[0].legend_handles:
        handle.set(alpha=1, sizes=[30])
    figure.suptitle(title, x=0.01, ha="left")
    return figure
