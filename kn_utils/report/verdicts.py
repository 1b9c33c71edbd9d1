"""The claims of one section, for its notebook."""

from collections.abc import Sequence

from IPython.display import HTML, Markdown, display
from pandas.io.formats.style import Styler

from kn_utils.report import tables
from kn_utils.report.figures import verdict_matrix
from kn_utils.report.side_by_side import beside_published, judge_runs
from kn_utils.store.runs import Run


def answer(run: Run, relations: Sequence[str], seed: int, section: str, *findings: str) -> None:
    """Show the answer of a chapter: the given sentences, and the verdicts on its section for this run and our published results."""
    display(Markdown(" ".join(findings)))
    display(HTML(verdict_matrix(judge_runs(beside_published(run, relations), seed, section), with_contrasts=True)))


def verdicts(run: Run, relations: Sequence[str], seed: int, section: str) -> Styler:
    """Return the verdicts on the claims of a section with all their numbers, for this run and our published results."""
    return tables.styled(tables.by_run(judge_runs(beside_published(run, relations), seed, section)))
