"""Verdicts as tables to be shown."""

from collections.abc import Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from kn_utils.report.judge import Judged
from kn_utils.stats.intervals import number
from kn_utils.stats.rule import UNTESTED, Condition

SIGNS = {"replicated": "● replicated", "partly": "◐ partly", "not replicated": "○ not replicated", UNTESTED: UNTESTED}
OURS = "ours [95 % interval]"
INPUTS = {
    "weights": "weights (SHA-256)",
    "n_facts": "facts to ask per relation",
    "quadrature": "quadrature",
    "seed": "seed",
    "device": "device",
}


def verdict_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per claim: its verdict, the contrast that is the claim itself, in the paper and here, and how many controls hold.

    The contrast stands below the claim, on a line of its own.
    """
    rows = []
    for result in judged:
        row = {"claim": _with_contrast(result), "verdict": SIGNS[result.verdict]}
        if result.conditions:
            first, *others = result.conditions
            row |= _values(first) | {"controls": _held(others, is_size=False), "size": _held(others, is_size=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def condition_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per condition: what is measured, in the paper and here, the range it must lie in, and whether it does."""
    rows = [
        {"claim": result.claim.text, "contrast": condition.contrast}
        | _values(condition)
        | {"must be": condition.required, "holds": ("yes" if condition.holds else "no") if condition.tested else "untested"}
        for result in judged
        for condition in result.conditions
    ]
    return pd.DataFrame(rows, columns=["claim", "contrast", "paper", OURS, "n", "must be", "holds"])


def reasons_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per claim that is not replicated, with the conditions that fail or the reason why it cannot be tested."""
    rows = [(_claim(result), SIGNS[result.verdict], result.explanation) for result in judged if result.explanation]
    return pd.DataFrame(rows, columns=["claim", "verdict", "because"])


def by_run(runs: dict[str, Sequence[Judged]]) -> pd.DataFrame:
    """Return a row per claim: its contrast, in the paper, and a column per run: its verdict and, where tested, the contrast and n."""
    rows = []
    for same in zip(*runs.values(), strict=True):
        measured = next((result for result in same if result.conditions), same[0])
        paper = _values(measured.conditions[0])["paper"] if measured.conditions else "–"
        cells = {name: _cell(result) for name, result in zip(runs, same, strict=True)}
        rows.append({"claim": _with_contrast(measured), "paper": paper} | cells)
    return pd.DataFrame(rows)


def styled(table: pd.DataFrame) -> Styler:
    """Return a table of texts to be shown: to the left, with its line breaks, and with nothing in it taken for HTML."""
    left = {"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: pre-line"}
    shown = table.style.format(na_rep="", escape="html").format_index(escape="html").format_index(escape="html", axis="columns")
    shown = shown if table.index.names[0] else shown.hide(axis="index")
    return shown.set_table_styles([left])


def described(facts: pd.DataFrame, prompts: pd.DataFrame, inputs: Sequence[dict]) -> dict[str, str]:
    """Return what was run, from step 1's tables `facts` and `prompts` and the inputs in the provenance of each relation's facts."""
    return {
        "relations": f"{facts['relation'].nunique()}",
        "facts asked": f"{(facts['prompts'] > 0).sum():,} of {len(facts):,}",
        "prompts": f"{len(prompts):,}, {prompts['correct'].mean():.1%} answered right",
    } | {text: ", ".join(dict.fromkeys(_short(made[name]) for made in inputs)) for name, text in INPUTS.items()}


def _short(value: object) -> str:
    return "all" if value is None else str(value)[:14]


def _claim(result: Judged) -> str:
    return f"{result.claim.section}: {result.claim.text}"


def _with_contrast(result: Judged) -> str:
    return _claim(result) + (f"\n→ {result.conditions[0].contrast}" if result.conditions else "")


def _cell(result: Judged) -> str:
    if result.verdict == UNTESTED:
        return UNTESTED
    untested = sum(not condition.tested for condition in result.conditions)
    note = f" ({untested} of {len(result.conditions) - 1} controls untested)" if untested else ""
    first = _values(result.conditions[0])
    return f"{SIGNS[result.verdict]}{note}\n{first[OURS]}\n{first['n']}"


def _held(conditions: Sequence[Condition], is_size: bool) -> str:
    """How many of the controls, or of the conditions on size, hold, of those that could be tested."""
    wanted = [condition for condition in conditions if condition.is_size == is_size]
    tested = [condition for condition in wanted if condition.tested]
    if not wanted:
        return "–"
    untested = f"{len(wanted) - len(tested)} untested" if len(tested) < len(wanted) else ""
    held = f"{sum(condition.holds for condition in tested)} of {len(tested)} hold" if tested else ""
    return ", ".join(filter(None, (held, untested)))


def _values(condition: Condition) -> dict[str, str]:
    paper = condition.paper
    return {
        "paper": f"{number(paper.value)}{'' if paper.checked else ' *'}" if paper else "–",
        OURS: condition.measured,
        "n": f"{condition.n:,} {condition.unit}",
    }
