"""What the notebooks share: opening a run, and showing tables, lists, sources and verdicts."""

import inspect
from collections.abc import Iterable, Sequence

import pandas as pd
from IPython.display import Code, Markdown, display
from pandas.io.formats.style import Styler

from kn_utils.data.facts import load_dataset
from kn_utils.paths import result_name
from kn_utils.plots.style import NAMES, use_style
from kn_utils.report import tables
from kn_utils.report.judge import judge_all
from kn_utils.report.side_by_side import beside_published, judge_runs, with_enough_prompts
from kn_utils.store.runs import Run


def open_run(
    relation: str | list[str], model: str, dataset: str, results_dir: str, n_facts: int | None, seed: int
) -> tuple[Run, list[str]]:
    """Return the run that a notebook's parameters describe, and its relations; also set the style of figures and tables.

    Raises ValueError for a parameter with a value that is not allowed, and FileNotFoundError for a data set that is not there.
    """
    use_style()
    data = load_dataset(dataset)
    return Run(result_name(model), data, n_facts, seed, results_dir), data.select(relation)


def show(table: pd.DataFrame, precision: int = 2) -> Styler:
    """Return a table as readers see it: methods by their names, numbers rounded, nothing in it taken for HTML.

    A plain row number is left out.
    """
    named = table.replace({"method": NAMES}) if "method" in table else table
    shown = named.rename(index=NAMES).style.format(precision=precision, thousands=",", na_rep="–", escape="html")
    shown = shown.format_index(escape="html").format_index(escape="html", axis="columns")
    return shown.hide(axis="index") if isinstance(table.index, pd.RangeIndex) else shown


def show_list(lines: Iterable[str]) -> None:
    """Show lines of Markdown as a list."""
    display(Markdown("\n".join(f"* {line}" for line in lines)))


def show_source(*functions: object) -> Code:
    """Return the source of functions or classes, to be shown as the code that runs."""
    return Code("\n\n".join(inspect.getsource(function) for function in functions), language="python")


def answer(run: Run, relations: Sequence[str], seed: int, section: str, *findings: str) -> Markdown:
    """Return a chapter's answer: what was found, in sentences, and this run's verdicts on the claims of a section about its relations."""
    counted = with_enough_prompts(run.read, relations) or relations
    judged = judge_all(run.read, counted, seed, section)
    about = [result for result in judged if not result.claim.relation or result.claim.relation in counted]
    return Markdown(" ".join([*findings, tables.verdict_sentences(about)]))


def verdicts(run: Run, relations: Sequence[str], seed: int, section: str) -> Styler:
    """Return the verdicts on a section's claims, in this run and in our published results."""
    return tables.styled(tables.by_run(judge_runs(beside_published(run, relations), seed, section)))
