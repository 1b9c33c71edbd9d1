"""Our own results as they are published: written from a run, read back, and shown by notebook 00."""

import shutil
import sys
from dataclasses import replace
from functools import partial

import nbformat
import pandas as pd
import papermill
import pytest
import tiny_folders
import yaml
from snakemake.utils import update_config

from kn_utils import published
from kn_utils.attribution import Method
from kn_utils.facts import load_dataset
from kn_utils.neurons import Thresholds
from kn_utils.paths import MADE_BY, ROOT, model_name
from kn_utils.published import WHOLE, PublishedResults, is_same_run, publish, published_results
from kn_utils.recheck import agrees, recheck
from kn_utils.results import read_provenance
from kn_utils.runs import Run
from kn_utils.steps.attribution import attribute_relation
from kn_utils.steps.knowledge_neurons import find_neurons
from kn_utils.steps.modify_activation import modify_activations

LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that random weights have neurons that prompts share
TEMPLATES = [*tiny_folders.TEMPLATES["P36"], "[X] is home to [Y].", "The country of [X] is [Y]", "[X] is known for [Y] ."]
RUN = ["P36", "P101"]


@pytest.fixture(scope="module")
def run(loaded, tmp_path_factory):
    """Steps 1 to 3 of two of the three relations."""
    folder = tmp_path_factory.mktemp("published")
    data = tiny_folders.write_data(folder / "tiny", templates=dict.fromkeys(tiny_folders.FACTS, TEMPLATES))
    lm, run = loaded("bert"), Run("tiny-bert", load_dataset(data), results_dir=folder / "results")
    for relation in RUN:
        attribute_relation(lm, run, relation, Method())
        find_neurons(run, relation, LOW)
        modify_activations(lm, run, relation)
    return run


@pytest.fixture(scope="module")
def results(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    publish(run, folder)
    return PublishedResults("tiny-bert", "tiny", folder)


def test_published_tables_are_those_of_the_run(run, results):
    whole = [table for table in WHOLE if run.path(table, "P36").is_file()]
    assert whole == ["facts", "prompts", "knowledge_neurons", "refinement", "modify_activation"]
    for table in whole:
        for relations in (RUN, ["P101"], RUN[::-1]):
            pd.testing.assert_frame_equal(results.read(table, relations), run.read(table, relations))
        assert results.provenance(table) == {name: read_provenance(run.path(table, name)) for name in RUN}


def test_of_completeness_a_row_for_each_number_of_nodes_is_published(run, results):
    rows = results.read("completeness", RUN)
    assert not rows.duplicated(["relation", "layer", "nodes"]).any() and (rows["nodes"] == 20).all()
    every = run.read("completeness", RUN)
    counts = every.groupby(["relation", "layer"], sort=False).agg(
        prompts=("gap", "size"), gap=("gap", lambda gap: gap.abs().max())
    )
    pd.testing.assert_frame_equal(rows.set_index(["relation", "layer"])[["prompts", "gap"]], counts)


def test_published_results_are_found_by_model_and_data_set(results):
    assert published_results(results.folder) == [results] and results.relations == RUN


def test_what_is_not_published_is_named(results):
    with pytest.raises(
        FileNotFoundError, match="no table edit_facts is published of tiny-bert on tiny; tables there: completeness, "
    ):
        results.read("edit_facts", RUN)
    with pytest.raises(FileNotFoundError, match="has no P30"):
        results.read("facts", ["P36", "P30"])


def test_a_damaged_file_is_an_error(run, tmp_path):
    [facts, *_] = publish(run, tmp_path)
    facts.write_bytes(facts.read_bytes()[:-8])
    with pytest.raises(ValueError, match="damaged"):
        PublishedResults("tiny-bert", "tiny", tmp_path).read("facts", RUN)


def test_publishing_again_leaves_nothing_of_before(run, tmp_path):
    earlier = tmp_path / "tiny-bert" / "tiny" / "erase_dose.parquet"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    assert earlier not in publish(run, tmp_path) and not earlier.exists()


def test_a_run_without_tables_says_what_to_run(run, tmp_path):
    empty = Run("tiny-bert", run.dataset, results_dir=tmp_path / "results")
    with pytest.raises(FileNotFoundError, match="run notebooks/01_attribution.ipynb"):
        publish(empty, tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_the_command_publishes_and_says_how_much(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(published, "publish", partial(publish, folder=tmp_path))
    folder = str(run.dataset.locate("pairs").parent)
    monkeypatch.setattr(sys, "argv", ["published", run.model, folder, "--results-dir", str(run.results_dir)])
    published.main()
    assert f"{tmp_path / 'tiny-bert' / 'tiny' / 'refinement.parquet'}: " in capsys.readouterr().out
    assert published_results(tmp_path)


def test_only_a_run_of_the_same_relations_and_inputs_is_the_same(run, results, tmp_path):
    assert is_same_run(results, run, RUN) and is_same_run(results, run, ["P36"])
    assert not is_same_run(results, run, [*RUN, "P30"])
    shutil.copytree(run.results_dir, tmp_path / "results")
    again = replace(run, results_dir=tmp_path / "results")
    find_neurons(again, "P101", Thresholds())
    assert not is_same_run(results, again, RUN)
    again.path("knowledge_neurons", "P101").unlink()
    assert not is_same_run(results, again, RUN)


@pytest.mark.parametrize("facts, rows", [(3, 6), (100, 14)])
def test_published_facts_computed_anew_are_the_same(run, results, loaded, facts, rows):
    checked = recheck(loaded("bert"), run.dataset, results, facts)
    assert len(checked) == rows and checked["published"].sum() > 0
    assert (checked["difference"] == 0).all() and (checked["published"] == checked["both"]).all() and agrees(checked)


def test_published_facts_of_another_computation_do_not_agree(run, results, loaded):
    checked = recheck(loaded("bert"), run.dataset, results, 100)
    assert not agrees(checked.assign(difference=0.01))
    assert not agrees(checked.assign(both=checked["both"] // 2))
    assert not agrees(checked.assign(now=checked["now"] * 2))


def test_other_weights_or_facts_are_not_compared(run, results, loaded, tiny_dataset):
    with pytest.raises(ValueError, match="P36 was published with weights"):
        recheck(loaded("roberta"), run.dataset, results, 3)
    with pytest.raises(ValueError, match="P36 was published with facts_and_templates"):
        recheck(loaded("bert"), tiny_dataset, results, 3)


@pytest.mark.parametrize("results", published_results(), ids=lambda results: f"{results.model}-{results.dataset}")
def test_what_is_published_was_run_as_its_run_list_says(results):
    config = yaml.safe_load((ROOT / "book/runs.yml").read_text())
    listed = yaml.safe_load((published.RESULTS.parent / f"runs/{results.model}_{results.dataset}.yml").read_text())
    update_config(config, listed)
    assert (model_name(config["model"]), config["dataset"]) == (results.model, results.dataset)
    assert config["relations"] in ("all", ",".join(results.relations))
    drawn = config["n_facts"] != "all"
    for notebook, tables in MADE_BY.items():
        settings = config["notebooks"][notebook] | (config["notebooks"][notebook].get("if_drawn", {}) if drawn else {})
        for table in set(published.TABLES) & set(tables):
            if not (results.folder / results.model / results.dataset / f"{table}.parquet").is_file():
                continue
            made = results.provenance(table)
            relations = settings.get("relations", "all")
            assert list(made) == (results.relations if relations == "all" else relations.split(","))
            asked = {"n_facts": config["n_facts"] if drawn else None, "seed": config["seed"]} | settings.get("parameters", {})
            assert all(one["inputs"].items() >= asked.items() for one in made.values())


@pytest.mark.slow
def test_the_report_judges_what_was_run_and_says_what_was_not(run, folder_of, tmp_path):
    data = run.dataset.locate("pairs").parent
    parameters = {
        "relation": "P36,P101",
        "model": str(folder_of("bert")),
        "dataset": str(data),
        "results_dir": str(run.results_dir),
    }
    output = tmp_path / "00_report.ipynb"
    papermill.execute_notebook(ROOT / "notebooks/00_report.ipynb", output, parameters, kernel_name="python3", progress_bar=False)
    shown = [
        out["data"]
        for cell in nbformat.read(output, 4).cells
        if cell.cell_type == "code"
        for out in cell.outputs
        if "data" in out
    ]
    pages = "".join(data.get("text/html", "") for data in shown)
    assert "there is no table edit_facts of these relations" in pages and "P19 is not among the relations" in pages
    assert any("image/png" in data for data in shown)
    assert "cannot be tested here" in shown[-1]["text/markdown"]
