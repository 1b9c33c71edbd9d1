"""The notebooks that the launch buttons open: their parameters, their addresses, and that they run where nothing of ours is installed."""

import importlib
import json
import os
import subprocess
import sys
import sysconfig
import venv

import nbformat
import pytest
import yaml

from kn_utils.paths import ROOT

sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book/_ext")]
launch, repository, run_list = map(importlib.import_module, ("launch", "repository", "run_list"))

REPOSITORY = "https://github.com/someone/kn"
WORKBENCH = ("jupyter", "papermill", "ipywidgets", "snakemake", "notebook")
RUN = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for code in json.load(open(sys.argv[1])):
    shell.run_cell(code, store_history=True).raise_error()
"""


@pytest.fixture(scope="module")
def runs():
    return run_list.RunList(yaml.safe_load((ROOT / "book/runs.yml").read_text(encoding="utf-8")))


def code_of(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def given_in(notebook) -> dict:
    """The parameters of the cell that papermill puts behind the notebook's own."""
    [injected] = [cell.source for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    given: dict = {}
    exec(injected, given)
    return {name: value for name, value in given.items() if name != "__builtins__"}


def test_every_page_has_a_notebook_with_its_parameters(runs, tmp_path):
    launch.make_launch(runs, REPOSITORY, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.ipynb")} == set(runs.notebooks)
    for run in runs.all_runs():
        notebook = nbformat.read(tmp_path / f"{run.notebook}.ipynb", as_version=4)
        nbformat.validate(notebook)
        given = given_in(notebook)
        assert {"relation", "model", "dataset", "seed"} & run.parameters.keys() <= given.keys()
        assert all(given[name] == run.parameters[name] for name in ("relation", "model", "dataset") if name in run.parameters)
        assert code_of(notebook)[0].startswith("# Where kn_utils is not installed") and REPOSITORY in code_of(notebook)[0]
        assert not any(cell.get("outputs") for cell in notebook.cells)


def test_results_go_to_the_default_folder_and_what_only_reads_shows_published_tables(runs):
    parameters = {run.notebook: launch.launch_parameters(run) for run in runs.all_runs()}
    assert [name for name, given in parameters.items() if "results_dir" in given] == ["10_decoder"]
    assert parameters["03_modify_activation"]["n_facts"] == runs.n_facts == 5
    assert parameters["00_report"]["n_facts"] is None and parameters["09_query_results"]["n_facts"] is None
    assert parameters["01_attribution"]["max_memory_gb"] == 0.5  # Binder has 2 GB


@pytest.mark.parametrize("page, notebook", [("03_modify_activation", "03_modify_activation"), ("00_report", "11_try_it")])
def test_the_buttons_name_the_launch_branch_and_the_front_page_opens_try_it(page, notebook):
    binder = f"https://mybinder.org/v2/gh/someone/kn/main?urlpath=lab/tree/notebooks/{page}.ipynb"
    colab = f"https://colab.research.google.com/github/someone/kn/blob/main/notebooks/{page}.ipynb"
    wanted = [
        "https://mybinder.org/v2/gh/someone/kn/launch?urlpath=lab/tree/",
        "https://colab.research.google.com/github/someone/kn/blob/launch/",
    ]
    assert [repository.launch_address(address) for address in (binder, colab)] == [f"{start}{notebook}.ipynb" for start in wanted]


def test_binder_gets_what_the_package_needs_and_no_workbench():
    lines = launch.requirements().splitlines()
    assert lines[0] == "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert any(line.startswith("torch>=") for line in lines) and any(line.startswith("transformers>=") for line in lines)
    assert not [line for line in lines if line.startswith(WORKBENCH)]
    assert "ipython>=7.34" in lines  # Colab's own


@pytest.fixture
def bare(tmp_path):
    """The Python of an environment that has the packages, as Colab has, but not kn_utils."""
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare/bin/python"
    packages = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    (tmp_path / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (tmp_path / "packages.pth").rename(f"{packages}/packages.pth")
    subprocess.run(
        [python, "-c", "import torch, importlib.util; assert importlib.util.find_spec('kn_utils') is None"],
        check=True,
        cwd=tmp_path,
    )
    return python


@pytest.mark.endurance
@pytest.mark.parametrize("notebook, changed", [
    ("11_try_it", {}),
    pytest.param("02_knowledge_neurons", {"relation": "P101", "n_facts": 3}, marks=pytest.mark.long),
])  # fmt: skip
def test_a_launched_notebook_runs_where_nothing_of_ours_is_installed(runs, tmp_path, bare, notebook, changed):
    """The address is that of this repository's folder."""
    run = next(run for run in runs.all_runs() if run.notebook == notebook)
    run.parameters.update(changed)
    (tmp_path / "cells.json").write_text(json.dumps(code_of(launch.launch_notebook(run, f"file://{ROOT}"))))
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run([bare, "-c", RUN, "cells.json"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / ROOT.name / "kn_utils/__init__.py").is_file()
    if notebook == "02_knowledge_neurons":
        assert "01_attribution of P101 has not been run: it is run now" in done.stdout
        assert (tmp_path / ROOT.name / "results/starter/starter/knowledge_neurons/P101.parquet").is_file()
