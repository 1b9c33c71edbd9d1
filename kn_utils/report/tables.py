"""Verdicts as tables and sentences."""

from collections.abc import Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from kn_utils.plots.tables import with_plain_headers
from kn_utils.report.judge import Judged, made_for
from kn_utils.stats.intervals import number, with_interval
from kn_utils.stats.rule import (
    CONTRADICTED,
    CONTROL,
    NEGLIGIBLE,
    OTHER_LIMITS,
    PARTLY,
    SHOWN,
    SUPPORTED,
    UNTESTED,
    Condition,
    failed_controls,
    signed,
)
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import Run

OURS = "ours [95 % interval]"
NO_CONTROL = "no control tested"
INPUTS = {
    "weights": "weights (SHA-256)",
    "n_facts": "facts per relation",
    "quadrature": "quadrature",
    "seed": "seed",
    "device": "device",
}


def condition_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per condition: its role, the contrast, its value in the paper and here, the range, the state and the size."""
    rows = [
        {"claim": result.claim.text, "contrast": condition.contrast, "role": condition.role}
        | _values(condition)
        | {"must be": condition.required, "state": _state(condition), "ours / paper": _size(condition)}
        for result in judged
        for condition in result.conditions
    ]
    return pd.DataFrame(rows, columns=["claim", "contrast", "role", "paper", OURS, "n", "must be", "state", "ours / paper"])


def reasons_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per claim that is not supported, with the conditions that do not hold or the reason why it is not tested."""
    rows = [(result.claim.title, signed(result.verdict), result.explanation) for result in judged if result.explanation]
    return pd.DataFrame(rows, columns=["claim", "verdict", "because"])


def limits_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return the verdicts on claims that little changes, if "hardly" means at most 5, 10 or 20 %."""
    rows = [
        {"claim": result.claim.title}
        | {
            f"{limit} %": signed(found)
            for limit, found in sorted((result.at_other_limits | {NEGLIGIBLE: result.verdict}).items())
        }
        for result in judged
        if result.at_other_limits
    ]
    return pd.DataFrame(rows, columns=["claim", *(f"{limit} %" for limit in sorted((NEGLIGIBLE, *OTHER_LIMITS)))])


def by_run(runs: dict[str, Sequence[Judged]], brief: bool = False) -> pd.DataFrame:
    """Return a row per claim with its contrast and the paper's value, and for each run a column with verdict, estimate and n.

    Unless it is `brief`, the cells also have the controls that do not hold, the size, and the verdicts with other limits, and the paper's
    value has the name of its measure; if brief, † marks another measure than the claim's.
    """
    rows = []
    for same in zip(*runs.values(), strict=True):
        measured = next((result for result in same if result.conditions), same[0])
        sized = next((condition for condition in measured.conditions if condition.paper), None)
        other = " †" if sized and sized is not measured.conditions[0] else ""  # another measure than the claim's number
        named = other if brief or not sized else f"\n({sized.contrast})"
        paper = f"{_values(sized)['paper']}{named}" if sized else "–"
        cells = {name: _cell(result, brief) for name, result in zip(runs, same, strict=True)}
        rows.append({"claim": _with_contrast(measured), "paper": paper} | cells)
    return pd.DataFrame(rows)


def compared_verdicts(runs: dict[str, Sequence[Judged]]) -> list[str]:
    """Return sentences in Markdown on the claims that several runs can test: supported in all of these, contradicted in all, others."""
    kinds: dict[str, list[str]] = {"Supported in every run": [], "Contradicted in every run": [], "Other claims": []}
    every, nowhere, mixed = kinds.values()
    for same in zip(*runs.values(), strict=True):
        verdicts = [result.verdict for result in same if result.verdict != UNTESTED]
        if len(verdicts) > 1:
            kind = every if set(verdicts) == {SUPPORTED} else nowhere if set(verdicts) == {CONTRADICTED} else mixed
            kind.append(same[0].claim.text)
    return [f"**{kind}:** {'; '.join(texts)}." for kind, texts in kinds.items() if texts]


def styled(table: pd.DataFrame) -> Styler:
    """Return a table of texts for display: aligned left, with line breaks, and escaped HTML.

    A table of claims has the class that book/_static/book.css shows on a phone with each claim above its cells.
    """
    left = {"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: pre-line"}
    shown = with_plain_headers(table).style.format(na_rep="", escape="html").format_index(escape="html", axis="columns")
    shown = shown.hide(axis="index").set_table_styles([left])
    if "claim" not in shown.columns:
        return shown
    sentences = {"claim": [{"selector": "td", "props": "min-width: min(16rem, 40vw)"}]}
    return shown.set_table_styles(sentences, overwrite=False).set_table_attributes('class="claims"')


def described(results: Run | PublishedResults, relations: Sequence[str]) -> dict[str, str]:
    """Return a description of a run, from step 1's tables and their provenance."""
    if not made_for(results.read, ["facts"], relations):
        return {"relations": "step 1 has not been run"}
    facts, prompts = results.read("facts", relations), results.read("prompts", relations)
    inputs = [results.made_with("facts", relation) for relation in relations]
    return {
        "relations": f"{facts['relation'].nunique()}",
        "facts with prompts": f"{(facts['prompts'] > 0).sum():,} of {len(facts):,}",
        "prompts": f"{len(prompts):,}, {100 * prompts['correct'].mean():.1f} % answered right",
    } | {text: ", ".join(dict.fromkeys(_short(made[name]) for made in inputs)) for name, text in INPUTS.items()}


def _short(value: object) -> str:
    return "all" if value is None else str(value)[:14]


def _with_contrast(result: Judged) -> str:
    return result.claim.title + (f"\n→ {result.conditions[0].contrast}" if result.conditions else "")


def _cell(result: Judged, brief: bool) -> str:
    if result.verdict == UNTESTED:
        return UNTESTED
    first = _values(result.conditions[0])
    lines = [signed(result.verdict), first[OURS], first["n"]]
    if brief:
        return "\n".join(lines + [NO_CONTROL] * result.without_control)
    if result.verdict == PARTLY:
        failed = [condition.contrast for condition in failed_controls(result.conditions)]
        lines.append(f"does not hold: {'; '.join(failed)}")
    if untested := result.untested_controls:
        lines.append(
            f"{len(untested)} of {sum(condition.role == CONTROL for condition in result.conditions)} controls not tested"
        )
    if result.size:
        measure = "" if result.size is result.conditions[0] else f" ({result.size.contrast})"
        lines.append(f"ours / paper{measure}: {_size(result.size)}")
    lines += [f'if "hardly" means {limit} %: {found}' for limit, found in result.at_other_limits.items()]
    return "\n".join(lines)


def _state(condition: Condition) -> str:
    return condition.state if condition.role != SHOWN or condition.state == UNTESTED else "shown"


def _size(condition: Condition) -> str:
    return with_interval(*condition.of_paper) if condition.of_paper else "–"


def _values(condition: Condition) -> dict[str, str]:
    paper = condition.paper
    return {
        "paper": f"{number(paper.value)}{'' if paper.checked else ' *'}" if paper else "–",
        OURS: condition.reason or condition.measured,
        "n": f"{condition.n:,} {condition.unit}" if condition.state != UNTESTED else "–",
    }
