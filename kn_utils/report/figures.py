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
SHOWN = (-200, 600)  # % of the paper's effect; a ratio of tiny numbers could be far outside


def plot_effects(runs: dict[str, Sequence[Judged]], title: str) -> Figure:
    """Show the effect of each claim in % of the paper's, with its interval, for every run that can test the claim.

    Claims without a size in the paper are not shown. A negative effect is opposite to the paper's. Intervals are cut at the limits `SHOWN`;
    an estimate outside is an arrow at the limit.
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
                    shape = "<" if value < SHOWN[0] else ">" if value > SHOWN[1] else marker
                    axis.plot(np.clip(value, *SHOWN), height, shape, color=color)
        axis.axvline(0, **LINE)
        axis.axvline(50, **LINE, linestyle=":", label="half the paper's effect")
        axis.axvline(100, **LINE, linestyle="--", label="the paper's effect")
        labels = [fill(f"{claim.text} ({claim.section})", 48) for claim in claims]
        axis.set(xlabel="effect as % of the paper's", yticks=range(len(claims)), yticklabels=labels)
        axis.set_ylim(len(claims) - 0.5, -0.5)
    return figure


def _size(result: Judged) -> Condition | None:
    """Return the claim's condition on the size of the effect, if it was tested."""
    return next((condition for condition in result.conditions if condition.is_size and condition.tested), None)
