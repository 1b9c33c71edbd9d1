"""The pictures of the report: verdicts by claim and run, and effects relative to the paper's."""

from collections.abc import Sequence
from html import escape
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from kn_utils.plots.markup import NO_FORMULAS
from kn_utils.plots.panels import panels
from kn_utils.plots.style import LINE, SERIES, SERIES_MARKERS
from kn_utils.report.judge import Judged
from kn_utils.report.opening import by_row, joint_verdict
from kn_utils.report.tables import NO_CONTROL
from kn_utils.stats.intervals import with_interval
from kn_utils.stats.rule import SUPPORTED, UNTESTED, VERDICTS, signed

SHOWN = (-200, 600)  # % of the paper's effect; a ratio of tiny numbers could be far outside


def verdict_matrix(judged: dict[str, Sequence[Judged]], with_contrasts: bool = False) -> str:
    """Return an HTML table of all claims (rows) by run (columns): in each cell the verdict, the estimate and its interval.

    `with_contrasts` names the number below its claim.
    """
    named = [name.partition(", ") for name in judged]
    heads = "".join(f"<th scope='col'>{escape(run)} <small>{escape(facts)}</small></th>" for run, _, facts in named)
    rows = []
    for text, row in by_row(judged).items():
        number = _contrast(row) if with_contrasts else ""
        rows.append(f"<tr><th scope='row'>{escape(text)}{number}</th>{''.join(map(_cell, row))}</tr>")
    legend = " ".join(f"<span class='{_class(name)}'>{signed(name)}</span>" for name in VERDICTS)
    return (
        f"<table class='verdicts {NO_FORMULAS}'><caption>Claims (rows) in each run (columns): verdict, estimate and 95 % "
        f"interval. {legend}</caption><thead><tr><th scope='col'>claim</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _contrast(row: Sequence[Sequence[Judged]]) -> str:
    """Return the name of the number that tests a row's claim; a row of several claims has none."""
    names = [results[0].conditions[0].contrast for results in row if len(results) == 1 and results[0].conditions]
    return f" <small>→ {escape(names[0])}</small>" if names else ""


def _cell(results: Sequence[Judged]) -> str:
    verdict = joint_verdict([result.verdict for result in results])
    return f"<td class='{_class(verdict)}'><b>{signed(verdict)}</b> <small>{_measured(results)}</small></td>"


def _measured(results: Sequence[Judged]) -> str:
    """Return the estimate, its interval and whether a control was tested; or of several claims how many are supported."""
    tested = [result.verdict for result in results if result.verdict != UNTESTED]
    if len(results) > 1:
        return f"{tested.count(SUPPORTED)} of {len(tested)} supported" if tested else ""
    first = next(iter(results[0].conditions), None)
    if not first:
        return ""
    return with_interval(first.value, first.low, first.high) + (f"; {NO_CONTROL}" if results[0].without_control else "")


def _class(verdict: str) -> str:
    """Return the CSS class of a verdict; book/_static/book.css has the colours."""
    return f"verdict {verdict.replace(' ', '-')}"


def plot_effects(runs: dict[str, Sequence[Judged]], title: str) -> Figure:
    """Show the effect of each claim in % of the paper's, with its interval, for every run that can test the claim.

    A row is named by the measure for which the paper gives a size; claims without one are not shown. A negative effect is opposite to the
    paper's. What lies outside of `SHOWN` is an arrow at the limit: hollow for the end of an interval, filled for an estimate.
    """
    sizes = {name: {result.claim: result.size for result in judged} for name, judged in runs.items()}
    claims = [claim for claim in next(iter(sizes.values())) if any(found[claim] for found in sizes.values())]
    with panels(title, 0.45 * len(claims) + 1.6, legend_columns=1) as (figure, [axis]):
        for number, (name, found) in enumerate(sizes.items()):
            color, marker = SERIES[number], SERIES_MARKERS[number]
            axis.plot([], [], marker, color=color, label=name)
            for row, claim in enumerate(claims):
                if size := found[claim]:
                    height = row + 0.5 * (number - (len(runs) - 1) / 2) / len(runs)
                    value, *ends = (100 * share for share in size.of_paper)
                    axis.hlines(height, *np.clip(ends, *SHOWN), color=color, linewidth=2)
                    for end in filter(_arrow, ends):
                        axis.plot(np.clip(end, *SHOWN), height, _arrow(end), color=color, fillstyle="none")
                    axis.plot(np.clip(value, *SHOWN), height, _arrow(value) or marker, color=color)
        axis.axvline(0, **LINE)
        axis.axvline(100, **LINE, linestyle="--", label="the paper's effect")
        measures = [next(found[claim].contrast for found in sizes.values() if found[claim]) for claim in claims]
        labels = [fill(f"{claim.section}: {measure}", 48) for claim, measure in zip(claims, measures, strict=True)]
        axis.set(xlabel="effect as % of the paper's", yticks=range(len(claims)), yticklabels=labels)
        axis.set(xlim=(SHOWN[0] - 20, SHOWN[1] + 20), ylim=(len(claims) - 0.5, -0.5))
    return figure


def _arrow(value: float) -> str:
    """Return the marker of a value outside of `SHOWN`, and "" of one inside."""
    return "<" if value < SHOWN[0] else ">" if value > SHOWN[1] else ""
