"""The notebooks as a user runs them: by papermill, with parameters, on an encoder and on a left-to-right model."""

import nbformat
import pandas as pd
import papermill
import pytest
import tiny_folders
from papermill.exceptions import PapermillExecutionError

from kn_utils.paths import ROOT
from kn_utils.steps import STEP_OF, STEPS
from kn_utils.store.files import read_provenance, read_table

EVERY = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [ROOT / f"notebooks/{step.notebook}.ipynb" for step in STEPS]  # those that make tables
EVERY_NOTEBOOK = {"relation", "model", "dataset", "results_dir", "n_facts", "seed", "device"}
OWN_FACT = {"sentences", "answer", "instead", "model", "device"}  # of notebook 11, which needs no data set


@pytest.fixture(params=EVERY, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_there_are_notebooks():
    assert [path.stem for path in EVERY] == [
        "00_report",
        *(step.notebook for step in STEPS),
        "08_figures",
        "09_query_results",
        "10_decoder",
        "11_try_it",
    ]


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


def run(notebook, folder, **parameters):
    output = folder / notebook.name
    fixed = {"results_dir": str(folder / "results"), "device": "cpu"}
    papermill.execute_notebook(notebook, output, fixed | parameters, kernel_name="python3", progress_bar=False)
    return nbformat.read(output, as_version=4)


def printed(notebook) -> str:
    return "\n".join(output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)


def pictures(notebook) -> int:
    return sum("image/svg+xml" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


def assert_tables_and_pictures(notebook, done, results, relations):
    assert pictures(done) >= (0 if notebook.stem == "05_trigger_examples" else 1)
    for relation in relations:
        for table in STEP_OF[notebook.stem[3:]].tables:
            [path] = results.glob(f"*/*/{table}/{relation}.parquet")
            assert set(read_table(path)["relation"]) <= {relation}
            assert read_provenance(path)["inputs"]["relation"] == relation


@pytest.mark.slow
def test_all_notebooks_run_on_the_bundled_model_and_facts(tmp_path):
    own = {"01_attribution": {"quadrature": "gauss-legendre"}, "07_erase_relation": {"other_facts": 1}}
    for notebook in NOTEBOOKS:
        done = run(notebook, tmp_path, relation="P36", n_facts=20, **own.get(notebook.stem, {}))
        assert_tables_and_pictures(notebook, done, tmp_path / "results", ["P36"])
    again = run(NOTEBOOKS[2], tmp_path, relation="P36", n_facts=20)
    assert printed(again).count("reusing") == 1
    changes = pd.concat(read_table(path) for path in (tmp_path / "results").glob("*/*/modify_activation/*.parquet"))
    ours = changes.query("method == 'attribution' and target == 'own'").groupby("operation")
    before, after = ours["probability_before"].mean(), ours["probability_after"].mean()
    assert after["suppress"] < before["suppress"] and after["amplify"] > before["amplify"]


@pytest.mark.slow
def test_all_notebooks_run_on_your_own_decoder_and_facts(folder_of, tmp_path):
    templates = ["The capital of [X] is [Y].", "[X] has the capital [Y]", "[X] is home to [Y].", "[X] is known for [Y] ."]
    data = tiny_folders.write_data(tmp_path / "tiny", templates=dict.fromkeys(tiny_folders.FACTS, templates))
    tiny_folders.write_sentences(data)
    parameters = {"relation": "P36,P101", "model": str(folder_of("gpt2")), "dataset": str(data)}
    lenient = {"score_share": 0.1, "baseline_share": 0.1, "prompt_share": 0.5}  # so that random weights have knowledge neurons
    for notebook in NOTEBOOKS:
        if notebook.stem == "06_edit_facts":
            with pytest.raises(PapermillExecutionError, match="no fact"):  # three or six are too few for a neuron to be uncommon
                run(notebook, tmp_path, **parameters)
            continue
        done = run(notebook, tmp_path, **parameters, **(lenient if notebook.stem == "02_knowledge_neurons" else {}))
        assert_tables_and_pictures(notebook, done, tmp_path / "results", ["P36", "P101"])


@pytest.mark.slow
def test_a_notebook_without_its_predecessor_says_which_to_run(folder_of, tiny_data, tmp_path):
    parameters = {"relation": "P36", "model": str(folder_of("bert")), "dataset": str(tiny_data)}
    for number, needed in ((1, "01_attribution"), (2, "02_knowledge_neurons")):
        with pytest.raises(PapermillExecutionError) as failure:
            run(NOTEBOOKS[number], tmp_path, **parameters)
        assert f"run notebooks/{needed}.ipynb with the same parameters first" in failure.value.evalue
