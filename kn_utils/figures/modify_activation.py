"""Figures of notebook 03: every `plot_x` takes a table of its summary and a title that says model, data set, number of facts and seed."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from kn_utils.figures.intervals import plot_intervals
from kn_utils.figures.panels import label_log_scale, share_legend
from kn_utils.figures.style import NAMES, PALETTE
from kn_utils.published import published
from kn_utils.summaries.modify_activation import MEAN

TARGETS = {"own": "the fact's own prompts", "other": "prompts of a fact of another relation"}
VERBS = {"suppress": "suppressed (x 0)", "amplify": "amplified (x 2)"}


def plot_changes(changes: pd.DataFrame, title: str) -> Figure:
    """Show the mean change of the object's probability by operation, target and method, with the paper's values."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
    paper = published()["value"]
    for axis, (operation, verb) in zip(axes, VERBS.items(), strict=True):
        mean = changes[(changes["relation"] == MEAN) & (changes["operation"] == operation)]
        table = mean.assign(label=mean["target"].map(TARGETS), value=mean["change"])
        values = {(TARGETS["own"], method): paper[f"{operation}_{method}"] for method in ("attribution", "activation")}
        plot_intervals(axis, table, values)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=f"neurons {verb}", xlabel="change of the object's probability (%)")
    share_legend(figure, axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_relations(changes: pd.DataFrame, operation: str, labels: dict[str, str], title: str) -> Figure:
    """Show the change for the facts' own prompts by relation, largest first (the paper's figures 4 and 5)."""
    own = changes[(changes["relation"] != MEAN) & (changes["operation"] == operation) & (changes["target"] == "own")]
    order = own[own["method"] == "attribution"].sort_values("change", ascending=operation == "suppress")["relation"]
    table = own.set_index("relation").loc[order].reset_index()
    table = table.assign(label=[f"{labels[name]} ({name})" for name in table["relation"]], value=table["change"])
    figure, axis = plt.subplots(figsize=(8, 0.32 * len(order) + 1.6), layout="constrained")
    plot_intervals(axis, table)
    share_legend(figure, [axis])
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(title=title, xlabel=f"change of the object's probability with neurons {VERBS[operation]} (%)")
    return figure


def plot_flips(flips: pd.DataFrame, title: str) -> Figure:
    """Show how often the top answer of a fact's own prompts changes; `flips` is the summary's table."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
    for axis, (operation, verb) in zip(axes, VERBS.items(), strict=True):
        own = flips[(flips["operation"] == operation) & (flips["target"] == "own")]
        plot_intervals(axis, own.rename(columns={"flip": "label", "share": "value"}))
        axis.set(title=f"neurons {verb}", xlabel="prompts whose top answer changes (%)", xlim=(0, None))
    share_legend(figure, axes)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def plot_probabilities(table: pd.DataFrame, title: str) -> Figure:
    """Show for every own prompt how many times its probability is after the change; `table` is step 3's."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharex=True, sharey=True, layout="constrained")
    for axis, (operation, verb) in zip(axes, VERBS.items(), strict=True):
        changed = table[(table["operation"] == operation) & (table["target"] == "own") & (table["neurons"] > 0)]
        for method in reversed(PALETTE):
            own = changed[changed["method"] == method]
            times = own["probability_after"] / own["probability_before"]
            axis.scatter(
                own["probability_before"], times, s=8, alpha=0.4, linewidth=0, color=PALETTE[method], label=NAMES[method]
            )
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set(title=f"neurons {verb}", xscale="log", yscale="log", xlabel="probability of the object before")
    label_log_scale(axes[0].yaxis)
    axes[0].set_ylabel("times as probable after")
    share_legend(figure, axes)
    for handle in figure.legends[0].legend_handles:
        handle.set(alpha=1, sizes=[30])
    figure.suptitle(title, x=0.01, ha="left")
    return figure
