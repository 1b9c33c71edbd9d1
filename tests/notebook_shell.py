"""Notebooks run in this process, which spares the start of a kernel: what their cells show, and the error that stops them."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from kn_utils.paths import ROOT

PANDAS = ("display.html.use_mathjax", "styler.html.mathjax")  # what kn_utils.plots.style sets, beside matplotlib's style


@contextmanager
def notebook_shell() -> Iterator[InteractiveShell]:
    """A new IPython shell, in which figures stay open; styles, figures and `__main__` are as before at the end."""
    close = plt.close
    with plt.rc_context(), pd.option_context(*(item for name in PANDAS for item in (name, pd.get_option(name)))):
        plt.close = lambda figure=None: None  # a notebook may close what it has shown
        shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
        try:
            yield shell
        finally:
            plt.close = close
            close("all")
            shell.restore_sys_module_state()  # its __main__ is none that other tests could start processes from
            InteractiveShell.clear_instance()


def run_cells(shell: InteractiveShell, name: str, parameters: dict) -> list[dict]:
    """Run a notebook with those of the parameters that it has and return what its cells show, by type. Raises what a cell raises."""
    shown = []
    for cell in nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            with capture_output(stdout=False, stderr=False) as captured:
                result = shell.run_cell(cell.source)
            result.raise_error()
            shown += [output.data for output in captured.outputs]
            if result.result is not None:  # the cell's last expression
                shown.append(shell.display_formatter.format(result.result)[0])
            if "parameters" in cell.metadata.get("tags", []):
                shell.push({key: value for key, value in parameters.items() if key in shell.user_ns})
    return shown


def run_here(name: str, **parameters) -> tuple[list[dict], int]:
    """Run a notebook in a shell of its own and return what its cells show, by type, and the number of its figures."""
    with notebook_shell() as shell:
        return run_cells(shell, name, parameters), len(plt.get_fignums())
