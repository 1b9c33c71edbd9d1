"""Functions for all notebooks: open a run, show figures, tables and source code."""

import inspect
from html import escape

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Code, Markdown, display
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from kn_utils.data.facts import load_dataset
from kn_utils.model.own_model import check_name
from kn_utils.parameters import ONE_TOKEN
from kn_utils.paths import result_name
from kn_utils.plots.alternative import alternative_text
from kn_utils.plots.files import svg_text
from kn_utils.plots.style import use_style
from kn_utils.plots.tables import styled_table
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
    objects: str = ONE_TOKEN,
) -> tuple[Run, list[str]]:
    """Return the run of a notebook's parameters and its relations, and set the style of figures and tables.

    Raises ValueError for a value that is not allowed and a parameter that the notebook does not declare, and FileNotFoundError if the
    data set is missing.
    """
    check_passed_parameters()
    check_name(model)
    use_style()
    data = load_dataset(dataset, objects)
    return Run(result_name(model), data, n_facts, seed, results_dir, workers), data.select(relation)


def show(table: pd.DataFrame, precision: int = 2, caption: str = "") -> Styler:
    """Return a table for display, see `kn_utils.plots.tables`."""
    return styled_table(table, precision, caption)


def folded(title: str, table: Styler) -> HTML:
    """Return a table that opens by a click on its title."""
    return HTML(f"<details><summary>{escape(title)}</summary>{table.to_html()}</details>")


def show_figure(figure: Figure, caption: str) -> None:
    """Display a figure with its caption, Markdown that says what to see; `book/pages.py` numbers it.

    The figure is vector graphics (SVG), with an alternative text, and is closed.
    """
    described = {"caption": caption, "alt": alternative_text(figure)}
    display({"image/svg+xml": svg_text(figure), "text/plain": described["alt"]}, raw=True, metadata={"figure": described})
    display(Markdown(caption), metadata={"caption": True})
    plt.close(figure)


def show_source(*functions: object) -> Code:
    """Return the source code of functions or classes, for display."""
    return Code("\n\n".join(inspect.getsource(function) for function in functions), language="python")
