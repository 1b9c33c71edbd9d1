"""The notebooks as a user runs them: by papermill, with parameters, on an encoder and on a left-to-right model."""

import nbformat
import papermill
import pytest
import tiny_folders
from papermill.exceptions import PapermillExecutionError

from kn_utils.paths import ROOT
from kn_utils.results import read_provenance, read_table
from kn_utils.runs import MADE_BY

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
EVERY_NOTEBOOK = {"relation", "model", "dataset", "results_dir", "n_facts", "seed", "device"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == list(MADE_BY)


def test_templates_are_stored_without_outputs(notebook):
    for cell in nbformat.read(notebook, as_version=4).cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)


def test_one_parameters_cell_with_types_and_meanings(notebook):
    tagged = [cell for cell in nbformat.read(notebook, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    parameters = papermill.inspect_notebook(str(notebook))
    assert parameters.keys() >= EVERY_NOTEBOOK
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
    return sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_all_notebooks_run_on_own_model_and_own_facts(folder_of, tmp_path, model_type):
    data = tiny_folders.write_sentences(tiny_folders.write_data(tmp_path / "tiny"))
    parameters = {"relation": "P36,P101", "model": str(folder_of(model_type)), "dataset": str(data)}
    for notebook in NOTEBOOKS:
        done = run(notebook, tmp_path, **parameters)
        assert pictures(done) >= (1 if notebook.stem != "05_trigger_examples" else 0)
        for relation in ("P36", "P101"):
            for table in MADE_BY[notebook.stem]:
                [path] = (tmp_path / "results").glob(f"*/tiny/{table}/{relation}.parquet")
                assert set(read_table(path).get("relation", relation)) <= {relation}
                assert read_provenance(path)["inputs"]["relation"] == relation
    again = run(NOTEBOOKS[2], tmp_path, **parameters)
    assert printed(again).count("reusing") == 2


@pytest.mark.slow
def test_a_notebook_without_its_predecessor_says_which_to_run(folder_of, tiny_data, tmp_path):
    parameters = {"relation": "P36", "model": str(folder_of("bert")), "dataset": str(tiny_data)}
    for number, needed in ((1, "01_attribution"), (2, "02_knowledge_neurons")):
        with pytest.raises(PapermillExecutionError) as failure:
            run(NOTEBOOKS[number], tmp_path, **parameters)
        assert f"run notebooks/{needed}.ipynb with the same parameters first" in failure.value.evalue


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"relation": "P9999"}, "data set 'tiny' has no relation ['P9999']; it has: P30, P36, P101, or 'all'"),
        ({"quadrature": "simpson"}, "quadrature is 'simpson'; it must be one of released, gauss-legendre"),
        ({"dataset": "no/such/folder"}, "unknown data set 'no/such/folder': use 'starter', 'pararel', or a folder"),
        ({"n_facts": 0}, "n_facts is 0; it must be None (all facts) or a whole number of at least 1"),
    ],
)
def test_a_bad_parameter_stops_the_notebook_with_one_message(folder_of, tiny_data, tmp_path, parameters, message):
    good = {"relation": "P36", "model": str(folder_of("bert")), "dataset": str(tiny_data)}
    with pytest.raises(PapermillExecutionError) as failure:
        run(NOTEBOOKS[0], tmp_path, **(good | parameters))
    assert message in failure.value.evalue
    assert not (tmp_path / "results").exists()
