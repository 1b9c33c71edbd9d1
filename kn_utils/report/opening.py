"""The first screen of the report: what holds, what does not, and what a reader must know first."""

from collections.abc import Sequence

from kn_utils.report.judge import Judged
from kn_utils.report.side_by_side import Runs
from kn_utils.stats.rule import CONTRADICTED, PARTLY, SUPPORTED, UNTESTED, Claim

PAPERS_MODEL = "bert-base-cased"
FIRST = {  # what a reader must know about a model before its results
    "starter": "`starter` is our model, trained on web sentences of the paper's data and chosen after a trial had shown such effects",
    "smollm2-135m": "the weights of SmolLM2 had been rounded to four bits",
}


def by_claim(judged: dict[str, Sequence[Judged]]) -> dict[Claim, list[Judged]]:
    """Return the results of each claim in all runs, in order; claims that no run can test are left out."""
    claims = {same[0].claim: list(same) for same in zip(*judged.values(), strict=True)}
    return {claim: same for claim, same in claims.items() if any(result.verdict != UNTESTED for result in same)}


def sentences(judged: dict[str, Sequence[Judged]], runs: Runs) -> str:
    """Return Markdown with three sentences: what stands in every run, what is contradicted, and what one must know about the models."""
    tested = {claim: {result.verdict for result in same} - {UNTESTED} for claim, same in by_claim(judged).items()}
    every = [claim for claim, verdicts in tested.items() if verdicts == {SUPPORTED}]
    partly = [claim for claim, verdicts in tested.items() if PARTLY in verdicts and verdicts <= {SUPPORTED, PARTLY}]
    against = [claim for claim, verdicts in tested.items() if CONTRADICTED in verdicts]
    rest = len(tested) - len(every) - len(partly) - len(against)
    stands = f"**Supported in every run, {len(every)} of {len(tested)} tested claims:** {_named(every)}. "
    stands += f"**The effect is there in every run, but a control fails, {len(partly)}:** {_named(partly)}."
    fails = f"**Contradicted in a run or more, {len(against)}:** {_named(against)}. Left, open in a run or more: {rest}."
    return f"{stands}\n\n{fails}\n\n{_models(runs)}"


def _named(claims: Sequence[Claim]) -> str:
    """Return the texts of claims; those about single relations with the same text are named once, with all relations."""
    relations: dict[str, list[str]] = {}
    for claim in claims:
        relations.setdefault(claim.text.replace(claim.relation, "{}") if claim.relation else claim.text, []).append(
            claim.relation
        )
    return "; ".join(text.replace("{}", ", ".join(names)) for text, names in relations.items()) or "none"


def _models(runs: Runs) -> str:
    models = [results.model for results, _ in runs.values()]
    missing = [] if any(PAPERS_MODEL in model for model in models) else ["BERT-base-cased, the paper's model, was **not** run"]
    known = [text for model, text in FIRST.items() if model in models]
    return f"**Know first:** {'; '.join([*missing, *known])}." if missing or known else ""
