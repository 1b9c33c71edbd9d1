"""The notebooks as a user runs them: by papermill, with parameters. On a left-to-right model they run in test_escaping.py."""

import nbformat
import papermill
import pytest
import tiny_folders
from notebook_shell import run_here

from kn_utils.paths import ROOT
from kn_utils.steps import STEP_OF, STEPS
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.published import RESULTS

EVERY = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [ROOT / f"notebooks/{step.notebook}.ipynb" for step in STEPS]  # those that make tables
WITHOUT_PICTURES = ("05_trigger_examples", "18_what_follows")
EVERY_NOTEBOOK = {"relation", "model", "dataset", "results_dir", "n_facts", "seed", "device"}
OWN_FACT = {"sentences", "answer", "instead", "model", "device", "dtype"}  # of notebook 11, which needs no data set


@pytest.fixture(params=EVERY, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_there_are_notebooks():
    without_tables = ["00_report", "08_figures", "09_query_results", "10_decoder", "11_try_it", "18_what_follows"]
    assert [path.stem for path in EVERY] == sorted([*without_tables, *(step.notebook for step in STEPS)])


def test_templates_are_stored_without_outputs(notebook):
    for cell in nbformat.read(notebook, as_version=4).cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)


def test_one_parameters_cell_with_types_and_meanings(notebook):
    tagged = [cell for cell in nbformat.read(notebook, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    parameters = papermill.inspect_notebook(str(notebook))
    assert parameters.keys() == OWN_FACT if notebook.stem == "11_try_it" else parameters.keys() >= EVERY_NOTEBOOK
    for parameter in parameters.values():
        assert parameter["inferred_type_name"] in ("str", "int", "float")
        assert len(parameter["help"]) > 10


NEEDS_MORE_FACTS = "13_fact_or_word"  # two known facts with a common object


def run(notebook, folder, **parameters):
    output = folder / notebook.name
    fixed = {"results_dir": str(folder / "results"), "figures_dir": str(folder / "figures"), "device": "cpu"}
    given = {name: value for name, value in (fixed | parameters).items() if name in papermill.inspect_notebook(str(notebook))}
    try:
        papermill.execute_notebook(notebook, output, given, kernel_name="python3", progress_bar=False)
    except papermill.PapermillExecutionError as error:
        if notebook.stem != NEEDS_MORE_FACTS or error.ename != "NothingToShowError":
            raise
    return nbformat.read(output, as_version=4)


def pictures(notebook) -> int:
    return sum("image/svg+xml" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_all_notebooks_run_on_the_bundled_model_and_some_of_its_facts(tmp_path, capsys):
    few = {"relation": "P36", "dataset": str(tiny_folders.write_starter(tmp_path / "facts")), "n_facts": 4}
    few |= {"common_share": 0.5, "other_facts": 3, "quadrature": "gauss-legendre", "n_prompts": 1, "n_edits": 2, "n_chosen": 1}
    published = {"relation": "P36,P101", "model": "starter", "dataset": "starter", "results_dir": str(RESULTS)}
    others = [path for path in EVERY if path not in NOTEBOOKS and path.stem != "11_try_it"]  # which test_try_it.py runs
    for notebook in NOTEBOOKS + others:
        done = run(notebook, tmp_path, **(published if notebook.stem == "10_decoder" else few))
        assert pictures(done) >= (0 if notebook.stem in {*WITHOUT_PICTURES, NEEDS_MORE_FACTS} else 1), notebook.stem
        for table in STEP_OF[notebook.stem[3:]].tables if notebook in NOTEBOOKS else ():
            [path] = (tmp_path / "results").glob(f"*/*/{table}/*.parquet")
            assert set(read_table(path)["relation"]) <= {"P36"}
            assert read_provenance(path)["inputs"]["relation"] == "P36"
    capsys.readouterr()
    run_here("03_modify_activation", **few, results_dir=str(tmp_path / "results"))
    assert capsys.readouterr().out.count("reusing") == 1
    changes = read_table(next((tmp_path / "results").glob("*/*/modify_activation/P36.parquet")))
    ours = changes.query("method == 'attribution' and target == 'own'").groupby("operation")
    before, after = ours["probability_before"].mean(), ours["probability_after"].mean()
    assert after["suppress"] < before["suppress"] and after["amplify"] > before["amplify"]
