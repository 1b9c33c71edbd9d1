"""The panel of notebooks 03 and 10: the mean change of the object's log-odds, or of its probability with the paper's values."""

import pandas as pd
from matplotlib.axes import Axes

from kn_utils.model.neurons import METHODS
from kn_utils.plots.intervals import plot_intervals
from kn_utils.plots.style import LINE
from kn_utils.store.paper import paper_values

MEAN = "mean of relations"  # value of the column relation for the mean over relations
VERBS = {"suppress": "suppressed (x 0)", "amplify": "amplified (x 2)"}


LOG_ODDS, PROBABILITY = "change of the object's log-odds", "change of the object's probability (%)"


def draw_changes(axis: Axes, changes: pd.DataFrame, operation: str, measure: str, beside: str) -> None:
    """Draw the mean changes by an operation, a row per `label`. The paper's values, of `PROBABILITY`, are in the row `beside`."""
    values = paper_values()["value"]
    paper = {(beside, method): values[f"{operation}_{method}"] for method in METHODS} if measure == PROBABILITY else None
    plot_intervals(axis, changes[changes["operation"] == operation], paper)
    axis.axvline(0, **LINE)
    axis.set(title=f"neurons {VERBS[operation]}", xlabel=measure)
