"""Functions for all notebooks: open a run, show tables and source code."""

import inspect

import pandas as pd
from IPython.display import Code
from pandas.io.formats.style import Styler

from kn_utils.data.facts import load_dataset
from kn_utils.model.own_model import check_name
from kn_utils.paths import result_name
from kn_utils.plots.style import NAMES, use_style
from kn_utils.report.passed import check_passed_parameters
from kn_utils.store.runs import Run


def open_run(
    relation: str | list[str],
    model: str,
    dataset: str,
    results_dir: str,
    n_facts: int | None,
    seed: int,
    workers: int | None = None,
) -> tuple[Run, list[str]]:
    """Return the run of a notebook's parameters and its relations, and set the style of figures and tables.

    Raises ValueError for a value that is not allowed and a parameter that the notebook does not declare, and FileNotFoundError if the
    data set is missing.
    """
    check_passed_parameters()
    check_name(model)
    use_style()
    data = load_dataset(dataset)
    return Run(result_name(model), data, n_facts, seed, results_dir, workers), data.select(relation)


def show(table: pd.DataFrame, precision: int = 2) -> Styler:
    """Return a table for display: full names of methods, rounded numbers, escaped HTML, and no row numbers."""
    named = table.replace({"method": NAMES}) if "method" in table else table
    shown = named.rename(index=NAMES).style.format(precision=precision, thousands=",", na_rep="–", escape="html")
    shown = shown.format_index(escape="html").format_index(escape="html", axis="columns")
    return shown.hide(axis="index") if isinstance(table.index, pd.RangeIndex) else shown


def show_source(*functions: object) -> Code:
    """Return the source code of functions or classes, for display."""
    return Code("\n\n".join(inspect.getsource(function) for function in functions), language="python")
