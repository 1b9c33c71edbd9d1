"""The first screen of the report and of a chapter: what holds, what does not, and what a reader must know first."""

from collections import Counter
from collections.abc import Sequence

from kn_utils.plots.markup import plain
from kn_utils.report.judge import OURS, Judged, of_paper
from kn_utils.report.side_by_side import Runs
from kn_utils.report.what_follows import experiments_against, thesis_verdict
from kn_utils.stats.rule import CONTRADICTED, OPEN, PARTLY, SUPPORTED, UNTESTED, VERDICTS, Claim, failed_controls, signed
from kn_utils.store.published import PublishedResults

PAPERS_MODEL = "bert-base-cased"
FIRST = {  # what a reader must know about a model before its results
    "starter": "`starter` (ours, 23 million parameters) was trained on the paper's web sentences, and chosen after a trial had shown "
    "such effects",
    "smollm2-135m": "SmolLM2 (135 million) knows few of the facts; its weights had been rounded to four bits",
}


def by_row(judged: dict[str, Sequence[Judged]]) -> dict[str, list[list[Judged]]]:
    """Return for each row of the first screen the results of each run; claims that no run can test are left out."""
    rows: dict[str, list[list[Judged]]] = {}
    for same in zip(*judged.values(), strict=True):
        if any(result.verdict != UNTESTED for result in same):
            cells = rows.setdefault(row_of(same[0].claim), [[] for _ in same])
            for cell, result in zip(cells, same, strict=True):
                cell.append(result)
    return rows


def row_of(claim: Claim) -> str:
    """Return the text of the row that a claim is in."""
    return claim.row or claim.text


def joint_verdict(verdicts: Sequence[str]) -> str:
    """Return the verdict of a cell: that of its tested claims; if these differ, `OPEN` if one is open and none supported, else `PARTLY`."""
    tested = set(verdicts) - {UNTESTED}
    if len(tested) < 2:
        return next(iter(tested), UNTESTED)
    return OPEN if OPEN in tested and SUPPORTED not in tested else PARTLY


def sentences(judged: dict[str, Sequence[Judged]], runs: Runs) -> str:
    """Return Markdown: do the neurons store facts, which claims of the paper stand in our published results, and what one must know first.

    `judged` has all claims of each run. Without published results, it is about the runs.
    """
    published, named = _published(judged, runs)
    found = by_row({name: of_paper(results) for name, results in published.items()})
    tested = {
        text: {joint_verdict([result.verdict for result in cell]) for cell in row} - {UNTESTED} for text, row in found.items()
    }
    every = [text for text, verdicts in tested.items() if verdicts == {SUPPORTED}]
    partly = [text for text, verdicts in tested.items() if PARTLY in verdicts and verdicts <= {SUPPORTED, PARTLY}]
    against = [text for text, verdicts in tested.items() if CONTRADICTED in verdicts]
    unclear = [text for text in tested if text not in {*every, *partly, *against}]
    stands = _listed(f"Supported in all {named}", every)
    stands += " " + _listed("The effect is there, but in one or more a control fails or is open", partly)
    fails = f"{_listed('Contradicted in one or more', against)} {_listed('Open in one or more', unclear)}"
    claims = f"Of {len(tested)} claims on a fact's knowledge neurons (“them”): {stands}\n\n{fails}"
    return "\n\n".join(filter(None, [_thesis(published, named), claims, _models(runs)]))


def published_verdicts(judged: dict[str, Sequence[Judged]], runs: Runs) -> str:
    """Return a Markdown list of the claims of a chapter, each with its verdicts in our published results and the controls that fail."""
    published, named = _published(judged, runs)
    lines = []
    for text, row in by_row(published).items():
        counts = Counter(joint_verdict([result.verdict for result in cell]) for cell in row)
        verdicts = [name for name in VERDICTS if counts[name]]
        said = "; ".join(f"**{signed(name)}** in {counts[name] if len(verdicts) > 1 else 'all'}" for name in verdicts)
        lines.append(f"* {text}: {said}{_what_fails([result for cell in row for result in cell])}")
    return "\n".join([f"In {named} (“them”: a fact's knowledge neurons):\n", *(lines or ["* not tested"])])


def _what_fails(results: Sequence[Judged]) -> str:
    """Return which controls fail, and which are open, in results that are partly supported."""
    controls = [condition for result in results if result.verdict == PARTLY for condition in failed_controls(result.conditions)]
    states: dict[str, set[str]] = {}
    for condition in controls:
        states.setdefault(f"{condition.contrast} (must be {condition.required})", set()).add(condition.state)
    fails = [text for text, found in states.items() if CONTRADICTED in found]
    is_open = [text for text in states if text not in fails]
    kinds = {"Controls that fail": fails, "Controls that are open": is_open}
    return "".join(f". {kind}: {plain('; '.join(texts))}" for kind, texts in kinds.items() if texts)


def _published(judged: dict[str, Sequence[Judged]], runs: Runs) -> tuple[dict[str, Sequence[Judged]], str]:
    """Return the verdicts on our published results, or on all runs if there are none, and how to name them."""
    found = {name: judged[name] for name, (results, _) in runs.items() if isinstance(results, PublishedResults)}
    return (found, f"our {len(found)} published results") if found else (judged, f"{len(judged)} runs")


def _thesis(judged: dict[str, Sequence[Judged]], named: str) -> str:
    """Return a sentence on the thesis, or "" if no run has tested it."""
    verdicts = Counter(thesis_verdict(results) for results in judged.values())
    tested = [f"**{signed(name)}** in {verdicts[name]}" for name in VERDICTS if verdicts[name] and name != UNTESTED]
    if not tested:
        return ""
    against = Counter(", ".join(experiments_against(results)) for results in judged.values())
    listed = "; ".join(f"{numbers} in {count}" for numbers, count in against.most_common() if numbers)
    return (
        f"**Do they store facts?** {'; '.join(tested)} of {named}{f' (experiments against it: {listed})' if listed else ''}, "
        f"{OURS}: [part two](18_what_follows.html)."
    )


def _listed(kind: str, texts: Sequence[str]) -> str:
    return f"**{kind}, {len(texts)}:** {'; '.join(texts) or 'none'}."


def _models(runs: Runs) -> str:
    models = [results.model for results, _ in runs.values()]
    missing = [] if any(PAPERS_MODEL in model for model in models) else ["BERT-base-cased, the paper's model, was **not** run"]
    known = [text for model, text in FIRST.items() if model in models]
    return f"**Know first:** {'; '.join([*missing, *known])}." if missing or known else ""
