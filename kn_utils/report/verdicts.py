"""The claims of one section, for its notebook."""

from collections.abc import Sequence

from IPython.display import Markdown
from pandas.io.formats.style import Styler

from kn_utils.report import tables
from kn_utils.report.judge import judge_all
from kn_utils.report.side_by_side import beside_published, judge_runs, with_enough_prompts
from kn_utils.store.runs import Run


def answer(run: Run, relations: Sequence[str], seed: int, section: str, *findings: str) -> Markdown:
    """Return the answer of a chapter: the given sentences, and this run's verdicts on the claims of the section."""
    counted = with_enough_prompts(run.read, relations) or relations
    judged = judge_all(run.read, counted, seed, section)
    about = [result for result in judged if not result.claim.relation or result.claim.relation in counted]
    return Markdown(" ".join([*findings, tables.verdict_sentences(about)]))


def verdicts(run: Run, relations: Sequence[str], seed: int, section: str) -> Styler:
    """Return the verdicts on the claims of a section, for this run and for our published results."""
    return tables.styled(tables.by_run(judge_runs(beside_published(run, relations), seed, section)))
