"""What the notebooks share: opening a run, and showing tables and sources."""

import inspect

import pandas as pd
from IPython.display import Code
from pandas.io.formats.style import Styler

from kn_utils.data.facts import load_dataset
from kn_utils.paths import result_name
from kn_utils.plots.style import NAMES, use_style
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
    """Return the run that a notebook's parameters describe, and its relations; also set the style of figures and tables.

    Raises ValueError for a parameter with a value that is not allowed, and FileNotFoundError for a data set that is not there.
    """
    use_style()
    data = load_dataset(dataset)
    return Run(result_name(model), data, n_facts, seed, results_dir, workers), data.select(relation)


def show(table: pd.DataFrame, precision: int = 2) -> Styler:
    """Return a table as readers see it: methods by their names, numbers rounded, nothing in it taken for HTML.

    A plain row number is left out.
    """
    named = table.replace({"method": NAMES}) if "method" in table else table
    shown = named.rename(index=NAMES).style.format(precision=precision, thousands=",", na_rep="–", escape="html")
    shown = shown.format_index(escape="html").format_index(escape="html", axis="columns")
    return shown.hide(axis="index") if isinstance(table.index, pd.RangeIndex) else shown


def show_source(*functions: object) -> Code:
    """Return the source of functions or classes, to be shown as the code that runs."""
    return Code("\n\n".join(inspect.getsource(function) for function in functions), language="python")
