"""The figure of the report: effects relative to the paper's."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from kn_utils.plots.panels import panels
from kn_utils.plots.style import LINE
from kn_utils.report.judge import Judged
from kn_utils.stats.rule import Condition

MARKERS = "os^Dv"
SHOWN = (-200, 600)  # per cent of the paper's effect; one ratio of tiny numbers would leave no room for the others


def plot_effects(runs: dict[str, Sequence[Judged]], title: str) -> Figure:
    """Show each claim's effect as a share of the paper's, with its interval, for every run that can test it.

    Claims without an effect in the paper are not shown. Left of zero the effect is the opposite of the paper's. What lies beyond
    `SHOWN` is drawn at its end, an estimate as an arrow.
    """
    sizes = {name: {result.claim: _size(result) for result in judged} for name, judged in runs.items()}
    claims = [claim for claim in next(iter(sizes.values())) if any(found[claim] for found in sizes.values())]
    with panels(title, 0.45 * len(claims) + 1.6) as (figure, [axis]):
        for number, (name, found) in enumerate(sizes.items()):
            color, marker = f"C{number}", MARKERS[number % len(MARKERS)]
            axis.plot([], [], marker, color=color, label=name)
            for row, claim in enumerate(claims):
                if size := found[claim]:
                    height = row + 0.5 * (number - (len(runs) - 1) / 2) / len(runs)
                    value, *ends = (100 * each / size.paper.value for each in (size.value, size.low, size.high))
                    axis.hlines(height, *np.clip(ends, *SHOWN), color=color, linewidth=2)
                    axis.plot(np.clip(value, *SHOWN), height, _arrow(value) or marker, color=color)
        axis.axvline(0, **LINE)
        axis.axvline(50, **LINE, linestyle=":", label="half the paper's effect")
        axis.axvline(100, **LINE, linestyle="--", label="the paper's effect")
        labels = [fill(f"{claim.text} ({claim.section})", 48) for claim in claims]
        axis.set(xlabel="effect as % of the paper's", yticks=range(len(claims)), yticklabels=labels)
        axis.set_ylim(len(claims) - 0.5, -0.5)
    return figure


def _arrow(value: float) -> str:
    """The marker of an estimate that is not shown in its place."""
    return "<" if value < SHOWN[0] else ">" if value > SHOWN[1] else ""


def _size(result: Judged) -> Condition | None:
    """The condition on the effect's size, if the claim has one that could be measured."""
    return next((condition for condition in result.conditions if condition.is_size and condition.tested), None)
