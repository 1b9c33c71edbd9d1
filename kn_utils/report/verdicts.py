"""The claims of one section, for its notebook."""

from collections.abc import Sequence

from IPython.display import HTML, Markdown, display
from pandas.io.formats.style import Styler

from kn_utils.report import tables
from kn_utils.report.figures import verdict_matrix
from kn_utils.report.opening import published_verdicts
from kn_utils.report.side_by_side import beside_published, judge_runs
from kn_utils.store.runs import Run


def answer(run: Run, relations: Sequence[str], seed: int, section: str, *findings: str) -> None:
    """Show the answer of a chapter: the verdicts on its section in our published results and in this run, then sentences on this run."""
    runs = beside_published(run, relations)
    judged = judge_runs(runs, seed, section)
    display(Markdown(published_verdicts(judged, runs)))
    display(HTML(verdict_matrix(judged, with_contrasts=True)))
    if findings:
        display(Markdown(f"**This run.** {' '.join(findings)}"))


def verdicts(run: Run, relations: Sequence[str], seed: int, section: str) -> Styler:
    """Return the verdicts on the claims of a section with all their numbers, for this run and our published results."""
    return tables.styled(tables.by_run(judge_runs(beside_published(run, relations), seed, section)))
