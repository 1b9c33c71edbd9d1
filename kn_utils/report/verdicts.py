"""The claims of one section, for its notebook."""

from collections.abc import Sequence

from IPython.display import Markdown
from pandas.io.formats.style import Styler

from kn_utils.plots.markup import scope
from kn_utils.report import tables
from kn_utils.report.judge import judge_all
from kn_utils.report.side_by_side import beside_published, judge_runs, with_enough_prompts
from kn_utils.stats.rule import UNTESTED
from kn_utils.store.published import published_results
from kn_utils.store.runs import Run


def answer(run: Run, relations: Sequence[str], seed: int, section: str, *findings: str) -> Markdown:
    """Return the answer of a chapter: the given sentences, and the verdicts on the section of this run and of our published results."""
    counted = with_enough_prompts(run.read, relations) or relations
    judged = judge_all(run.read, counted, seed, section)
    about = [result for result in judged if not result.claim.relation or result.claim.relation in counted]
    text = " ".join([*findings, tables.verdict_sentences(about)])
    return Markdown("\n".join([f"{text}\n", *published_answers(seed, section)]))


def published_answers(seed: int, section: str) -> list[str]:
    """Return a line of Markdown for each of our published results that can test a claim of the section, on all its relations."""
    lines = []
    for results in published_results():
        relations = with_enough_prompts(results.read, results.relations)
        tested = [result for result in judge_all(results.read, relations, seed, section) if result.verdict != UNTESTED]
        if tested:
            lines.append(f"* Published, {scope(results, relations)}: {tables.verdict_sentences(tested)}")
    return lines


def verdicts(run: Run, relations: Sequence[str], seed: int, section: str) -> Styler:
    """Return the verdicts on the claims of a section, for this run and for our published results."""
    return tables.styled(tables.by_run(judge_runs(beside_published(run, relations), seed, section)))
