"""Figures of notebook 10. Each function takes one table per model, by the name of the model."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_utils.chapters.decoder.numbers import RULES
from kn_utils.model.neurons import MAX_NEURONS, MIN_NEURONS
from kn_utils.plots.changes import MEAN, VERBS, draw_changes
from kn_utils.plots.layers import draw_layer_shares
from kn_utils.plots.panels import panels, write_numbers
from kn_utils.plots.style import LINE, PALETTE

SHADES = ("#08306b", "#6baed6", "#deebf7")  # from far to short reach; distinct in greyscale
MIN_ERROR = 0.01  # %; smaller errors are not shown, since the reference has about this error
QUANTILES = [0.1, 0.5, 0.9]  # of the errors: the median and the middle 80 %
LOOKS = {"released": (PALETTE["activation"], "-"), "controlled": (PALETTE["attribution"], "--")}


def plot_layers(shares: dict[str, pd.DataFrame], title: str) -> Figure:
    """Show the share of knowledge neurons in each layer, a panel per model; `shares` are tables of `layer_shares`."""
    with panels(title, 2.2 * len(shares) + 0.8, rows=len(shares), sharey=True) as (figure, axes):
        for axis, (name, table) in zip(axes, shares.items(), strict=True):
            draw_layer_shares(axis, table)
            axis.set(title=name, ylabel="share (%)")
        axes[-1].set_xlabel("layer")
    return figure


def plot_changes(changes: dict[str, pd.DataFrame], measure: str, title: str) -> Figure:
    """Show the mean change of `measure` in the facts' own prompts, a row per model; for probabilities with the paper's values.

    `changes` are tables of `log_odds_changes` or `probability_changes` of `kn_utils.chapters.modify_activation.numbers`.
    """
    rows = pd.concat(table.assign(label=name, value=table["change"]) for name, table in changes.items())
    mean = rows[(rows["relation"] == MEAN) & (rows["target"] == "own")]
    with panels(title, 0.6 * len(changes) + 1.6, columns=2, sharex=True, sharey=True) as (figure, axes):
        for axis, operation in zip(axes, VERBS, strict=True):
            draw_changes(axis, mean, operation, measure, beside=next(iter(changes)))
    return figure


def plot_reach_by_relation(reaches: dict[str, pd.DataFrame], title: str) -> Figure:
    """Show the mean number of neurons per fact for each relation, split by reach, a panel per model; `reaches` are tables of `reach`.

    The dashed lines are the range to which p is tuned.
    """
    height = 0.17 * max(map(len, reaches.values())) + 1.6
    with panels(title, height, columns=len(reaches), legend_columns=3, sharex=True, sharey=True) as (figure, axes):
        for axis, (name, table) in zip(axes, reaches.items(), strict=True):
            table.plot.barh(stacked=True, color=SHADES, edgecolor="black", linewidth=0.4, width=0.8, legend=False, ax=axis)
            for end in (MIN_NEURONS, MAX_NEURONS):
                axis.axvline(end, **LINE, linestyle="--")
            axis.set(title=name, xlabel="neurons of a fact", ylabel="")
            axis.grid(axis="y", visible=False)
        axes[0].invert_yaxis()
    return figure


def plot_nodes(nodes: dict[str, pd.DataFrame], title: str) -> Figure:
    """Show the share of prompts for each number of nodes and layer, a panel per model; `nodes` are tables of `nodes_by_layer`."""
    look = {"fmt": "", "cmap": "Blues", "vmin": 0, "vmax": 100, "cbar": False, "annot_kws": {"size": "small"}}
    with panels(title, 0.18 * max(map(len, nodes.values())) + 1.4, columns=len(nodes)) as (figure, axes):
        for axis, (name, table) in zip(axes, nodes.items(), strict=True):
            text = table.map(lambda share: f"{share:.0f}" if share >= 0.5 else "")
            sns.heatmap(table, annot=text, yticklabels=1 + len(table) // 20, **look, ax=axis)
            axis.set(title=name, xlabel="nodes", ylabel="layer")
            axis.tick_params(axis="y", rotation=0)
            axis.invert_yaxis()
    return figure


def plot_errors(errors: pd.DataFrame, title: str) -> Figure:
    """Show the error of both rules for each layer, a panel per model: the median and the middle 80 % of the prompts.

    `errors` has the columns model, rule, layer (from 0) and error (a share of the prompt's largest score).
    """
    models = list(dict.fromkeys(errors["model"]))
    with panels(title, 3.2, columns=len(models), sharey=True) as (figure, axes):
        for axis, model in zip(axes, models, strict=True):
            for rule, (color, line) in LOOKS.items():
                rows = errors[(errors["model"] == model) & (errors["rule"] == rule)]
                found = 100 * rows.groupby("layer")["error"].quantile(QUANTILES).unstack()
                axis.fill_between(found.index + 1, found[0.1], found[0.9], color=color, alpha=0.2, linewidth=0)
                axis.plot(found.index + 1, found[0.5], line, color=color, label=RULES[rule])
            axis.set(title=model, xlabel="layer", yscale="log", xlim=(0.5, len(found) + 0.5))
            axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
            write_numbers(axis.yaxis)
        axes[0].set_ylim(bottom=MIN_ERROR)
        axes[0].set_ylabel("error (% of the prompt's\nlargest score)")
    return figure
