"""Figures of notebook 01."""

import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.panels import panels, write_numbers
from kn_utils.plots.style import NAMES, PALETTE


def plot_score_map(score: np.ndarray, activation: np.ndarray, title: str) -> Figure:
    """Show the scores of one prompt over layers and neurons; integrated gradients above, the baseline below.

    `score` and `activation` are [layers, neurons]. Each dot is a neuron with at least 2 % of the largest score; its size is this share.
    """
    with panels(title, 5.6, rows=2, sharex=True, sharey=True) as (figure, axes):
        for axis, (method, values) in zip(axes, {"attribution": score, "activation": activation}.items(), strict=True):
            share = values / values.max()
            layer, neuron = np.nonzero(share >= 0.02)
            size = 4 + 130 * share[layer, neuron]
            axis.scatter(neuron, layer + 1, s=size, color=PALETTE[method], alpha=0.55, linewidth=0)
            axis.set(title=f"{NAMES[method]}: {len(layer):,} of {values.size:,} neurons reach 2 % of the largest", ylabel="layer")
            axis.set(ylim=(0.2, len(values) + 0.8), xlim=(-0.01 * values.shape[1], 1.01 * values.shape[1]))
        axes[1].set_xlabel("neuron of the layer")
    return figure


def plot_agreement(agreement: pd.DataFrame, title: str) -> Figure:
    """Show how much the kept neurons of two prompts overlap; `agreement` is the table of `mean_agreement`."""
    with panels(title, 2.8) as (figure, [axis]):
        plot_intervals(axis, agreement.rename(columns={"kind": "label", "mean": "value"}))
        axis.set(xlabel="overlap of kept neurons (Jaccard index; bars: 95 % bootstrap interval)", xlim=(0, None))
    return figure


def plot_answers(prompts: pd.DataFrame, templates: list[str], title: str) -> Figure:
    """Show the share of correct answers and the object's probability for each template of a relation; `prompts` is step 1's table."""
    labels = prompts["prompt"].map(lambda index: textwrap.fill(templates[index], 45))
    labelled = prompts.assign(template=labels, percent=100 * prompts["correct"])
    color = PALETTE["attribution"]
    with panels(title, 0.34 * labels.nunique() + 1.3, columns=2, sharey=True) as (figure, [left, right]):
        sns.barplot(labelled, x="percent", y="template", errorbar=None, color=color, ax=left)
        left.set(xlabel="object on top (% of prompts)", ylabel="", xlim=(0, 100))
        sns.stripplot(labelled, x="probability", y="template", color=color, alpha=0.5, size=4, ax=right)
        right.set(xlabel="probability of the object", xscale="log", ylabel="")
        write_numbers(right.xaxis)
    return figure


def plot_error(completeness: pd.DataFrame, title: str) -> Figure:
    """Show the completeness gap of each layer as a share of P(object); `completeness` is the table of `gap_shares`."""
    with panels(title, 3) as (figure, [axis]):
        sns.boxplot(completeness, x="layer", y="gap_share", color=PALETTE["attribution"], fliersize=2, linewidth=0.8, ax=axis)
        axis.set(xlabel="layer", ylabel="|completeness gap| / P(object)", yscale="log")
        write_numbers(axis.yaxis)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True))
    return figure
