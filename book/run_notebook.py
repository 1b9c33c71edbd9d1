"""Runs one notebook by papermill: `python book/run_notebook.py TEMPLATE OUTPUT '{"relation": "P101"}' [--for-tables]`.

Papermill only warns about a parameter the notebook does not have; here that is an error. The output appears when the run has succeeded;
a run that failed leaves what it did beside it, under a name that ends in .failed.ipynb. A run `--for-tables` has succeeded, too, when its
tables are made but hold nothing to show, as those of a relation whose facts have no knowledge neurons.
"""

import json
import sys
from pathlib import Path

import papermill

NOTHING_TO_SHOW = "NothingToShowError"  # of kn_utils.store.runs, which would load torch here, beside the kernel that computes


def declared_parameters(template: Path, parameters: dict) -> dict:
    """Return the parameters that a notebook declares, as papermill describes them. Raises ValueError if it has not all `parameters`."""
    declared = papermill.inspect_notebook(str(template))
    if unknown := sorted(parameters.keys() - declared.keys()):
        raise ValueError(f"{template} has no parameter {', '.join(unknown)}; it has: {', '.join(declared)}")
    return declared


def run_notebook(template: Path, output: Path, parameters: dict, for_tables: bool = False) -> None:
    """Execute `template` with `parameters` and write it to `output`.

    Raises ValueError for a parameter the notebook does not declare, papermill.PapermillExecutionError if a cell fails, but not with
    NothingToShowError if the run is for its tables, and OSError, with what to do, if the notebook cannot be written.
    """
    declared_parameters(template, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_suffix(".failed.ipynb")
    try:
        papermill.execute_notebook(template, unfinished, parameters, kernel_name="python3", progress_bar=False)
    except papermill.PapermillExecutionError as error:
        if not for_tables or error.ename != NOTHING_TO_SHOW:
            raise
        print(f"the notebook ends early: {error.evalue}")
    except OSError as reason:  # said in a few lines, for the log may lie on a disk that is full
        raise OSError(
            f"cannot run and write {output} ({reason}). All finished parts and tables are kept; "
            "free space or choose another results_dir, then run the same command again."
        ) from None
    unfinished.replace(output)


if __name__ == "__main__":
    run_notebook(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), "--for-tables" in sys.argv[4:])
