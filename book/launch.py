"""Makes the notebooks that the launch buttons open: `python book/launch.py RUN_LIST_AS_JSON REPOSITORY FOLDER`.

Each is a notebook of this repository with the parameters of its page. Its first cell fetches the repository, and the packages that it
needs, where they are not there. CI puts the folder on the branch `launch`, which the buttons of `_ext/repository.py` name.
"""

import json
import sys
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from run_list import NotebookRun, RunList

from kn_utils.paths import ROOT
from kn_utils.steps import STEPS

FETCH = """\
# Where kn_utils is not installed (Colab, Binder): fetch it and the packages that it needs. This takes about a minute.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("kn_utils") is None:
    if not os.path.isdir("{folder}"):
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", "{repository}", "{folder}"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--editable", "./{folder}"], check=True)
    sys.path.insert(0, os.path.abspath("{folder}"))"""
SMALL = {"01_attribution": {"max_memory_gb": 0.5}}  # for Binder's 2 GB
MAKES_TABLES = {step.notebook for step in STEPS}


def launch_notebook(run: NotebookRun, repository: str) -> NotebookNode:
    """Return the notebook of a run with its parameters, behind a cell that fetches the repository where it is not there."""
    template = load_notebook_node(str(ROOT / f"notebooks/{run.notebook}.ipynb"))
    notebook = parameterize_notebook(template, launch_parameters(run))
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)  # of its runs, of which this is none
    fetch = FETCH.format(repository=repository, folder=repository.rsplit("/", 1)[1])
    notebook.cells.insert(0, new_code_cell(fetch, metadata={"tags": ["fetch"]}))
    return notebook


def launch_parameters(run: NotebookRun) -> dict:
    """Return the parameters of a page's notebook where nothing has been run before.

    Results are kept in the default folder. A notebook that only reads tables shows our published ones, which have all facts.
    """
    given = {name: value for name, value in run.parameters.items() if name not in ("results_dir", "figures_dir")}
    if run.notebook == "10_decoder":
        given["results_dir"] = run.parameters["results_dir"]  # it reads nothing but published results
    elif run.notebook not in MAKES_TABLES and "n_facts" in given:
        given["n_facts"] = None
    return given | SMALL.get(run.notebook, {})


def requirements() -> str:
    """Return the packages that kn_utils needs, for Binder, with torch for the CPU."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return "\n".join(["--extra-index-url https://download.pytorch.org/whl/cpu", *project["dependencies"], ""])


def make_launch(runs: RunList, repository: str, folder: Path) -> None:
    """Write the notebook of every page, and Binder's environment."""
    (folder / "binder").mkdir(parents=True, exist_ok=True)
    (folder / "binder/requirements.txt").write_text(requirements(), encoding="utf-8")
    (folder / "binder/runtime.txt").write_text("python-3.12\n", encoding="utf-8")
    for run in runs.all_runs():
        nbformat.write(launch_notebook(run, repository), folder / f"{run.notebook}.ipynb")


if __name__ == "__main__":
    make_launch(RunList(json.loads(sys.argv[1])), sys.argv[2].removesuffix("/"), Path(sys.argv[3]))
