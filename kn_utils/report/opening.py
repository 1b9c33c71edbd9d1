"""The first screen of the report: what holds, what does not, and what a reader must know first."""

from collections.abc import Sequence

from kn_utils.report.judge import Judged
from kn_utils.report.side_by_side import Runs
from kn_utils.stats.rule import CONTRADICTED, OPEN, PARTLY, SUPPORTED, UNTESTED, Claim

PAPERS_MODEL = "bert-base-cased"
FIRST = {  # what a reader must know about a model before its results
    "starter": "`starter` is our model, trained on web sentences of the paper's data and chosen after a trial had shown such effects",
    "smollm2-135m": "the weights of SmolLM2 had been rounded to four bits",
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
    """Return Markdown that says what stands in every run, what is contradicted or open, and what one must know about the models."""
    cells = {text: [joint_verdict([result.verdict for result in cell]) for cell in row] for text, row in by_row(judged).items()}
    tested = {text: set(verdicts) - {UNTESTED} for text, verdicts in cells.items()}
    every = [text for text, verdicts in tested.items() if verdicts == {SUPPORTED}]
    partly = [text for text, verdicts in tested.items() if PARTLY in verdicts and verdicts <= {SUPPORTED, PARTLY}]
    against = [text for text, verdicts in tested.items() if CONTRADICTED in verdicts]
    unclear = [text for text in tested if text not in {*every, *partly, *against}]
    stands = f"**Supported in every run that tests it, {len(every)} of {len(tested)} tested claims:** {_named(every)}. "
    stands += f"**The effect is there in every such run, but a control fails, {len(partly)}:** {_named(partly)}."
    fails = f"**Contradicted in a run or more, {len(against)}:** {_named(against)}. "
    fails += f"**Open in a run or more, {len(unclear)}:** {_named(unclear)}."
    return f"{stands}\n\n{fails}\n\n{_models(runs)}"


def _named(texts: Sequence[str]) -> str:
    return "; ".join(texts) or "none"


def _models(runs: Runs) -> str:
    models = [results.model for results, _ in runs.values()]
    missing = [] if any(PAPERS_MODEL in model for model in models) else ["BERT-base-cased, the paper's model, was **not** run"]
    known = [text for model, text in FIRST.items() if model in models]
    return f"**Know first:** {'; '.join([*missing, *known])}." if missing or known else ""
