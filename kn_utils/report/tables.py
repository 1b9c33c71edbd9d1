"""Verdicts as tables to be shown."""

from collections.abc import Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from kn_utils.report.judge import Judged
from kn_utils.stats.intervals import number
from kn_utils.stats.rule import UNTESTED, Condition

LATER_SECTIONS = ("4.4", "5.1", "5.2")  # of the paper: web sentences, edits of facts, erasure of relations
SIGNS = {"replicated": "● replicated", "partly": "◐ partly", "not replicated": "○ not replicated"}


def verdict_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per claim: its verdict, the contrast that is the claim itself, in the paper and here, and how many controls hold.

    The contrast stands below the claim, on a line of its own.
    """
    return pd.DataFrame([_claim(one, with_contrast=True) | {"verdict": _signed(one)} | _contrast(one) for one in judged])


def condition_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per condition: what is measured, in the paper and here, the range it must lie in, and whether it does."""
    rows = [
        {"claim": one.claim.says} | _row(condition) | {"must be": condition.required, "holds": "yes" if condition.holds else "no"}
        for one in judged
        for condition in one.conditions
    ]
    return pd.DataFrame(rows, columns=["claim", "contrast", "paper", "ours [95 % interval]", "n", "must be", "holds"])


def reasons_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per claim that is not replicated, with the conditions that fail or the reason why it cannot be tested."""
    return pd.DataFrame(
        [_claim(one) | {"verdict": _signed(one), "because": one.why} for one in judged if one.why],
        columns=["claim", "verdict", "because"],
    )


def by_run(runs: dict[str, Sequence[Judged]]) -> pd.DataFrame:
    """Return a row per claim: its contrast, in the paper, and a column per run: its verdict and, where tested, the contrast and n."""
    rows = []
    for same in zip(*runs.values(), strict=True):
        measured = next((one for one in same if one.conditions), same[0])
        cells = {name: f"{_signed(one)}{_first(one)}" for name, one in zip(runs, same, strict=True)}
        rows.append(_claim(measured, with_contrast=True) | {"paper": _paper(measured)} | cells)
    return pd.DataFrame(rows)


def styled(table: pd.DataFrame) -> Styler:
    """Return a table of texts to be shown: to the left, with its line breaks, and with nothing in it taken for HTML."""
    left = {"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: pre-line"}
    shown = table.style.format(na_rep="", escape="html").format_index(escape="html").format_index(escape="html", axis="columns")
    shown = shown if table.index.names[0] else shown.hide(axis="index")
    return shown.set_table_styles([left])


def described(facts: pd.DataFrame, prompts: pd.DataFrame, inputs: Sequence[dict]) -> dict[str, str]:
    """Return what was run, from step 1's tables `facts` and `prompts` and the inputs in the provenance of each relation's facts."""
    asked = (facts["prompts"] > 0).sum()
    named = {
        "weights": "weights (SHA-256)",
        "n_facts": "facts to ask per relation",
        "quadrature": "quadrature",
        "seed": "seed",
        "device": "device",
    }
    return {
        "relations": f"{facts['relation'].nunique()}",
        "facts asked": f"{asked:,} of {len(facts):,}",
        "prompts": f"{len(prompts):,}, {prompts['correct'].mean():.1%} answered right",
    } | {shown: ", ".join(dict.fromkeys(_short(made[name]) for made in inputs)) for name, shown in named.items()}


def _short(value: object) -> str:
    return "all" if value is None else str(value)[:14]


def _signed(one: Judged) -> str:
    return SIGNS.get(one.verdict, UNTESTED)


def _claim(one: Judged, with_contrast: bool = False) -> dict[str, str]:
    contrast = f"\n→ {one.conditions[0].says}" if with_contrast and one.conditions else ""
    return {"claim": f"{one.claim.section}: {one.claim.says}{contrast}"}


def _contrast(one: Judged) -> dict[str, str]:
    if not one.conditions:
        return {}
    first, *others = one.conditions
    return _values(first) | {
        "controls": _held([condition for condition in others if not condition.is_size]),
        "size": _held([condition for condition in others if condition.is_size]),
    }


def _held(conditions: Sequence[Condition]) -> str:
    """How many of the conditions hold, if there are any."""
    return f"{sum(condition.holds for condition in conditions)} of {len(conditions)} hold" if conditions else "–"


def _first(one: Judged) -> str:
    return "" if one.verdict == UNTESTED else f"\n{one.conditions[0].measured}\n{_size(one.conditions[0])}"


def _paper(one: Judged) -> str:
    return _values(one.conditions[0])["paper"] if one.conditions else "–"


def _row(condition: Condition) -> dict[str, str]:
    return {"contrast": condition.says} | _values(condition)


def _values(condition: Condition) -> dict[str, str]:
    paper = condition.paper
    return {
        "paper": f"{number(paper.value)}{'' if paper.checked else ' *'}" if paper else "–",
        "ours [95 % interval]": condition.measured,
        "n": _size(condition),
    }


def _size(condition: Condition) -> str:
    return f"{condition.n:,} {condition.unit}"


def later_steps(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return the conditions of the claims about web sentences, edits and erasure, as `condition_table` does, with the paper's section.

    A claim of theirs that cannot be tested has one row, with the reason in place of the contrast; one that the paper gives no number for
    has none.
    """
    own = [one for one in judged if one.claim.section in LATER_SECTIONS and one.claim.conditions]
    rows = [_conditions(one).assign(claim=f"{one.claim.section}: {one.claim.says}") for one in own]
    return pd.concat(rows, ignore_index=True).fillna("")


def _conditions(one: Judged) -> pd.DataFrame:
    return condition_table([one]) if one.conditions else pd.DataFrame([{"claim": "", "contrast": one.why}])
