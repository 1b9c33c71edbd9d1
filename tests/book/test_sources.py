"""What an executed notebook is run again for: the code behind it, neither less nor more."""

import ast
import json
import subprocess
import sys

import pytest

from kn_utils.paths import ROOT
from kn_utils.steps import STEPS

sys.path.append(str(ROOT / "book"))
from sources import notebook_sources, table_sources

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
WITHOUT_CLAIMS = {"01_attribution", "05_trigger_examples", "09_query_results", "11_try_it"}


LOADED = """
import json, sys
def loaded_by(imports):
    for name in [name for name in sys.modules if name.startswith("kn_utils")]:
        del sys.modules[name]  # other packages stay loaded, since they take long
    exec(imports, {})
    if "kn_utils.model.models" in sys.modules:
        import kn_utils.model.ways  # the one module that is imported when a function runs
    return [m.__file__ for n, m in sys.modules.items() if n.startswith("kn_utils.") and not hasattr(m, "__path__")]
print(json.dumps([loaded_by(imports) for imports in json.loads(sys.argv[1])]))
"""


def loaded_by(*imports):
    """The files of this package that Python loads for each of some lines of imports."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(imports)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [{path.removeprefix(f"{ROOT}/") for path in paths} for paths in json.loads(done.stdout)]


def imports_of(notebook):
    cells = json.loads((ROOT / f"notebooks/{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    lines = [ast.unparse(line) for line in code.body if isinstance(line, ast.ImportFrom) and line.module.startswith("kn_utils")]
    assert lines, notebook
    return "\n".join(lines)


def behind(path):
    """The notebooks that are run again when a file has changed."""
    return [notebook for notebook in NOTEBOOKS if path in notebook_sources(notebook)]


def python_files(paths):
    return {path for path in paths if path.startswith("kn_utils/")}


@pytest.mark.slow
def test_notebooks_and_tables_depend_on_every_module_that_python_loads_for_them():
    of_tables = "\n".join(f"import kn_utils.chapters.{step.name}.table" for step in STEPS)
    *loaded, for_tables = loaded_by(*map(imports_of, NOTEBOOKS), of_tables)
    for notebook, found in zip(NOTEBOOKS, loaded, strict=True):
        assert found == python_files(notebook_sources(notebook)), notebook
    assert for_tables == python_files(path for step in STEPS for path in table_sources(step))


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_all_files_behind_a_notebook_exist(notebook):
    found = notebook_sources(notebook)
    assert found[0] == f"notebooks/{notebook}.ipynb" and len(found) > 5
    assert [path for path in found if not (ROOT / path).is_file()] == []


def test_a_figure_of_one_chapter_runs_that_chapter_again_and_no_table():
    assert behind("kn_utils/chapters/figures/figures.py") == ["08_figures"]
    assert behind("kn_utils/chapters/trigger_examples/table.py") == ["05_trigger_examples"]
    figures = "kn_utils/chapters/modify_activation/figures.py"
    assert "03_modify_activation" in behind(figures) and not any(figures in table_sources(step) for step in STEPS)


def test_claims_run_those_notebooks_again_that_show_them_and_published_tables_all_that_may_read_them():
    shown_by = {
        "kn_utils/chapters/edit_facts/claims.py": set(NOTEBOOKS) - WITHOUT_CLAIMS,
        "data/published/results/starter/starter/facts.parquet": set(NOTEBOOKS),
    }
    for path, notebooks in shown_by.items():
        assert set(behind(path)) == notebooks
        assert not any(path in table_sources(step) for step in STEPS)


def test_benchmarks_and_tests_run_nothing_again():
    every = [path for notebook in NOTEBOOKS for path in notebook_sources(notebook)]
    assert not [path for path in every if not path.startswith(("kn_utils/", "notebooks/", "data/published/", "data/not_facts/"))]


def test_the_code_of_a_step_runs_it_again():
    for step in STEPS:
        table = f"kn_utils/chapters/{step.name}/table.py"
        assert table in table_sources(step) and table in notebook_sources(step.notebook)
