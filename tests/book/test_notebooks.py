"""The notebooks: their parameters, and that they run on a masked model. On a left-to-right model they run in test_escaping.py."""

import known_facts
import nbformat
import papermill
import pytest
import tiny_folders
from notebook_shell import run_here

from kn_utils.paths import ROOT
from kn_utils.steps import STEP_OF, STEPS
from kn_utils.store.files import read_provenance, read_table

EVERY = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [ROOT / f"notebooks/{step.notebook}.ipynb" for step in STEPS]  # those that make tables
RUN_ELSEWHERE = ("10_decoder", "11_try_it")  # tests/chapters/test_decoder.py and test_try_it.py
FACTS = {"P36": tiny_folders.many_facts(12)}
TEMPLATES = {"P36": known_facts.TEMPLATES["P36"]}
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


@pytest.mark.slow
def test_all_notebooks_run_on_a_masked_model_and_one_relation(tmp_path, capsys, few_resamples, nothing_published):
    """On `starter` and by papermill they run in the book."""
    data = tiny_folders.write_sentences(tiny_folders.write_data(tmp_path / "facts", FACTS, TEMPLATES), FACTS)
    model = known_facts.write_trained(tmp_path / "model", "bert", data)
    few = {
        "relation": "P36",
        "dataset": str(data),
        "model": str(model),
        "device": "cpu",
        "results_dir": str(tmp_path / "results"),
    }
    few |= {"score_share": 0.1, "baseline_share": 0.1, "prompt_share": 0.5, "figures_dir": str(tmp_path / "figures")}
    few |= {"common_share": 0.9, "n_prompts": 1, "n_edits": 2, "n_chosen": 2, "min_probability": 0.0}
    others = [path for path in EVERY if path not in NOTEBOOKS and path.stem not in RUN_ELSEWHERE]
    for notebook in NOTEBOOKS + others:
        _, figures = run_here(notebook.stem, **few)
        assert figures >= (0 if notebook.stem in WITHOUT_PICTURES else 1), notebook.stem
        for table in STEP_OF[notebook.stem[3:]].tables if notebook in NOTEBOOKS else ():
            [path] = (tmp_path / "results").glob(f"*/*/{table}/*.parquet")
            assert set(read_table(path)["relation"]) <= {"P36"}
            assert read_provenance(path)["inputs"]["relation"] == "P36"
    capsys.readouterr()
    run_here("03_modify_activation", **few)
    assert capsys.readouterr().out.count("reusing") == 1
    changes = read_table(next((tmp_path / "results").glob("*/*/modify_activation/P36.parquet")))
    ours = changes.query("method == 'attribution' and target == 'own'").groupby("operation")
    before, after = ours["probability_before"].mean(), ours["probability_after"].mean()
    assert after["suppress"] < before["suppress"] and after["amplify"] > before["amplify"]
