"""A misspelt name of a parameter is an error before anything is computed."""

import time

import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from kn_utils.paths import ROOT
from kn_utils.report.passed import check_cells, check_passed_parameters

DECLARED = 'relation: str = "P101"  # help\nseed: int = 42\nn_facts = None'


@pytest.mark.parametrize(
    "passed, says",
    [
        (
            '# Parameters\nrelations = "P36"\n',
            "no parameter 'relations' (did you mean relation?); it has: relation, seed, n_facts",
        ),
        ("# Parameters\nseed = 1\nzzz = 2\n", "no parameter 'zzz'; it has: "),
    ],
)
def test_a_parameter_that_is_not_declared_is_an_error(passed, says):
    with pytest.raises(ValueError) as failure:
        check_cells(["", DECLARED, passed, "import nothing"])
    assert says in str(failure.value)


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [""],
        ["", DECLARED],
        ["", DECLARED, "# Parameters\nseed = 1\nPAPERMILL_INPUT_PATH = 1\n"],
        ["", "%%magic", "x = 1"],
    ],
)
def test_declared_parameters_and_other_cells_are_none(cells):
    check_cells(cells)


def test_outside_a_notebook_nothing_is_checked():
    check_passed_parameters()


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_checks_what_is_passed(notebook):
    text = notebook.read_text(encoding="utf-8")
    assert "open_run(" in text or "check_passed_parameters()" in text


@pytest.mark.slow
def test_papermill_runs_nothing_with_a_misspelt_parameter(tmp_path):
    """The message comes in less than ten seconds behind the imports, which take as long as the machine is busy."""
    began = time.monotonic()
    with pytest.raises(PapermillExecutionError) as failure:
        papermill.execute_notebook(
            ROOT / "notebooks/01_attribution.ipynb",
            tmp_path / "out.ipynb",
            {"relations": "P36", "results_dir": str(tmp_path / "results")},
            kernel_name="python3",
            progress_bar=False,
        )
    assert "this notebook has no parameter 'relations' (did you mean relation?)" in failure.value.evalue
    assert not (tmp_path / "results").exists() and time.monotonic() - began < 120
