"""The figure of the report: effects relative to the paper's."""

from collections.abc import Sequence
from math import isnan
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from kn_utils.plots.panels import share_legend
from kn_utils.plots.style import WIDTH
from kn_utils.report.judge import Claim, Judged
from kn_utils.stats.rule import Condition

MARKERS = "os^Dv"
SHOWN = (-200, 600)  # per cent of the paper's effect; one ratio of tiny numbers would leave no room for the others


def plot_effects(runs: dict[str, Sequence[Judged]], title: str) -> Figure:
    """Show each claim's effect as a share of the paper's, with its interval, for every run that can test it.

    Claims without an effect in the paper are not shown. Left of zero the effect is the opposite of the paper's. What lies beyond
    `SHOWN` is drawn at its end, an estimate as an arrow.
    """
    claims = [
        one.claim
        for one in next(iter(runs.values()))
        if any(_size(judged[one.claim]) for judged in map(_by_claim, runs.values()))
    ]
    figure, axis = plt.subplots(figsize=(WIDTH, 0.45 * len(claims) + 1.6), layout="constrained")
    for number, (name, judged) in enumerate(runs.items()):
        sizes = {row: _size(_by_claim(judged)[claim]) for row, claim in enumerate(claims)}
        height = [row + 0.5 * (number - (len(runs) - 1) / 2) / len(runs) for row, size in sizes.items() if size]
        shares = [
            [100 * value / size.paper.value for value in (size.value, size.low, size.high)] for size in sizes.values() if size
        ]
        color, marker = f"C{number}", MARKERS[number % len(MARKERS)]
        axis.plot([], [], marker, color=color, label=name)
        for (value, low, high), at in zip(shares, height, strict=True):
            axis.hlines(at, *np.clip([low, high], *SHOWN), color=color, linewidth=2)
            axis.plot(np.clip(value, *SHOWN), at, _arrow(value) or marker, color=color)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.axvline(50, color="black", linewidth=0.8, linestyle=":", label="half the paper's effect")
    axis.axvline(100, color="black", linewidth=0.8, linestyle="--", label="the paper's effect")
    labels = [fill(f"{claim.says} ({claim.section})", 48) for claim in claims]
    axis.set(title=title, xlabel="effect as % of the paper's", yticks=range(len(claims)), yticklabels=labels)
    axis.set_ylim(len(claims) - 0.5, -0.5)
    share_legend(figure, [axis])
    return figure


def _arrow(value: float) -> str:
    """The marker of an estimate that is not shown in its place."""
    return "<" if value < SHOWN[0] else ">" if value > SHOWN[1] else ""


def _by_claim(judged: Sequence[Judged]) -> dict[Claim, Judged]:
    return {one.claim: one for one in judged}


def _size(one: Judged) -> Condition | None:
    """The condition on the effect's size, if the claim has one that could be measured."""
    return next((condition for condition in one.conditions if condition.is_size and not isnan(condition.low)), None)
