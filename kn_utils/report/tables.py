"""Verdicts as tables and sentences."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from kn_utils.plots.tables import with_plain_headers
from kn_utils.report.judge import Judged, made_for
from kn_utils.stats.intervals import number
from kn_utils.stats.rule import NOT_REPLICATED, PARTLY, REPLICATED, UNTESTED, VERDICTS, Condition
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import Run

SIGNS = {REPLICATED: "● replicated", PARTLY: "◐ partly", NOT_REPLICATED: "○ not replicated", UNTESTED: UNTESTED}
OURS = "ours [95 % interval]"
INPUTS = {
    "weights": "weights (SHA-256)",
    "n_facts": "facts per relation",
    "quadrature": "quadrature",
    "seed": "seed",
    "device": "device",
}


def condition_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per condition: the contrast, its value in the paper and here, the required range, and whether it holds."""
    rows = [
        {"claim": result.claim.text, "contrast": condition.contrast}
        | _values(condition)
        | {"must be": condition.required, "holds": ("yes" if condition.holds else "no") if condition.tested else "untested"}
        for result in judged
        for condition in result.conditions
    ]
    return pd.DataFrame(rows, columns=["claim", "contrast", "paper", OURS, "n", "must be", "holds"])


def reasons_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Return a row per claim that is not replicated, with the failing conditions or the reason why it cannot be tested."""
    rows = [(_claim(result), SIGNS[result.verdict], result.explanation) for result in judged if result.explanation]
    return pd.DataFrame(rows, columns=["claim", "verdict", "because"])


def by_run(runs: dict[str, Sequence[Judged]]) -> pd.DataFrame:
    """Return a row per claim with its contrast and the paper's value, and for each run a column with verdict, estimate and n."""
    rows = []
    for same in zip(*runs.values(), strict=True):
        measured = next((result for result in same if result.conditions), same[0])
        paper = _values(measured.conditions[0])["paper"] if measured.conditions else "–"
        cells = {name: _cell(result) for name, result in zip(runs, same, strict=True)}
        rows.append({"claim": _with_contrast(measured), "paper": paper} | cells)
    return pd.DataFrame(rows)


def verdict_sentences(judged: Sequence[Judged]) -> str:
    """Return Markdown that lists the claims of each verdict."""
    claims = {name: [result.claim.text for result in judged if result.verdict == name] for name in VERDICTS}
    return " ".join(f"**{name.capitalize()}:** {'; '.join(texts)}." for name, texts in claims.items() if texts)


def counted_verdicts(judged: Sequence[Judged]) -> str:
    """Return the number of claims with each verdict, as part of a sentence."""
    counts = Counter(result.verdict for result in judged)
    tested = sum(counts.values()) - counts[UNTESTED]
    if not tested:
        return "none of the claims can be tested"
    return f"of {tested} claims that can be tested, {counts[REPLICATED]} replicated, {counts[PARTLY]} partly, {counts[NOT_REPLICATED]} not"


def compared_verdicts(runs: dict[str, Sequence[Judged]]) -> str:
    """Return Markdown that lists the claims replicated in all runs that can test them, in none, and in some or partly."""
    kinds: dict[str, list[str]] = {"Replicated wherever it can be tested": [], "Nowhere": [], "In some runs, or in part": []}
    every, nowhere, mixed = kinds.values()
    for same in zip(*runs.values(), strict=True):
        verdicts = {result.verdict for result in same} - {UNTESTED}
        if verdicts:
            kind = every if verdicts == {REPLICATED} else nowhere if verdicts == {NOT_REPLICATED} else mixed
            kind.append(same[0].claim.text)
    return " ".join(f"**{kind}:** {'; '.join(texts)}." for kind, texts in kinds.items() if texts)


def styled(table: pd.DataFrame) -> Styler:
    """Return a table of texts for display: aligned left, with line breaks, and escaped HTML."""
    left = {"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: pre-line"}
    shown = with_plain_headers(table).style.format(na_rep="", escape="html").format_index(escape="html", axis="columns")
    sentences = {"claim": [{"selector": "td", "props": "min-width: 16rem"}]} if "claim" in shown.columns else {}
    return shown.hide(axis="index").set_table_styles([left]).set_table_styles(sentences, overwrite=False)


def described(results: Run | PublishedResults, relations: Sequence[str]) -> dict[str, str]:
    """Return a description of a run, from step 1's tables and their provenance."""
    if not made_for(results.read, ["facts"], relations):
        return {"relations": "step 1 has not been run"}
    facts, prompts = results.read("facts", relations), results.read("prompts", relations)
    inputs = [results.made_with("facts", relation) for relation in relations]
    return {
        "relations": f"{facts['relation'].nunique()}",
        "facts with prompts": f"{(facts['prompts'] > 0).sum():,} of {len(facts):,}",
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


def _values(condition: Condition) -> dict[str, str]:
    paper = condition.paper
    return {
        "paper": f"{number(paper.value)}{'' if paper.checked else ' *'}" if paper else "–",
        OURS: condition.measured,
        "n": f"{condition.n:,} {condition.unit}",
    }
