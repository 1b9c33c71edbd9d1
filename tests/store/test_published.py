"""Our own results as they are published: written from a run, read back, and shown by notebook 00."""

import re
import shutil
import sys
from dataclasses import replace
from functools import partial

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import tiny_folders
import yaml
from kn_utils.report.recheck import agrees, recheck
from snakemake.utils import update_config
from workflow import snakemake

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.modify_activation.table import modify_activations
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.neurons import Thresholds
from kn_utils.paths import MADE_BY, ROOT, result_name
from kn_utils.report import recheck as rechecking
from kn_utils.store import published
from kn_utils.store.files import read_provenance
from kn_utils.store.published import WHOLE, PublishedResults, is_same_run, publish, published_results
from kn_utils.store.runs import Run

LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that random weights have neurons that prompts share
TEMPLATES = [*tiny_folders.TEMPLATES["P36"], "[X] is home to [Y].", "The country of [X] is [Y]", "[X] is known for [Y] ."]
RUN = ["P36", "P101"]
ROUNDING = 1e-6  # of a probability


@pytest.fixture(scope="module")
def run(loaded, tmp_path_factory):
    """Steps 1 to 3 of two of the three relations."""
    folder = tmp_path_factory.mktemp("published")
    data = tiny_folders.write_data(folder / "tiny", templates=dict.fromkeys(tiny_folders.FACTS, TEMPLATES))
    lm, run = loaded("bert"), Run("tiny-bert", load_dataset(data), results_dir=folder / "results")
    for relation in RUN:
        attribute_relation(lm, run, relation, Quadrature())
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
    paths = publish(run, tmp_path)
    assert not earlier.exists() and sorted(earlier.parent.iterdir()) == sorted(paths)


def test_publishing_that_fails_leaves_what_was_there(run, tmp_path, monkeypatch):
    paths = publish(run, tmp_path)
    before = [path.read_bytes() for path in paths]
    write = published.write_checked

    def write_half(path, pieces, schema, metadata, **options):
        write(path, [piece.slice(0, len(piece) // 2) for piece in pieces], schema, metadata, **options)
        raise OSError("no space left")

    monkeypatch.setattr(published, "write_checked", write_half)
    with pytest.raises(OSError, match="no space left"):
        publish(run, tmp_path)
    assert [path.read_bytes() for path in paths] == before


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
    refinement = tmp_path / "tiny-bert" / "tiny" / "refinement.parquet"
    assert f"{refinement}: {refinement.stat().st_size / 1e3:,.0f} kB, 2 relations\n" in capsys.readouterr().out
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
    assert (checked["difference"] == 0).all() and (checked["modified"] < ROUNDING).all()  # step 3 asks other prompts at once
    assert (checked["published"] == checked["both"]).all() and agrees(checked)


def test_published_facts_of_another_computation_do_not_agree(run, results, loaded):
    checked = recheck(loaded("bert"), run.dataset, results, 100)
    assert not agrees(checked.assign(difference=0.01)) and not agrees(checked.assign(modified=0.01))
    assert not agrees(checked.assign(both=checked["both"] // 2))
    assert not agrees(checked.assign(now=checked["now"] * 2))


def test_each_method_must_agree():
    found = {"method": ["attribution", "activation"], "difference": 0.0, "modified": 0.0, "published": [50, 950]}
    assert agrees(pd.DataFrame(found | {"now": [50, 950], "both": [49, 950]}))
    assert not agrees(pd.DataFrame(found | {"now": [50, 950], "both": [40, 950]}))


def test_a_change_of_other_neurons_or_prompts_is_seen(run, results, loaded, monkeypatch):
    modified = rechecking.modified_answers
    monkeypatch.setattr(rechecking, "modified_answers", lambda lm, data, facts, _, seed: modified(lm, data, facts, {}, seed))
    checked = recheck(loaded("bert"), run.dataset, results, 100)
    assert (checked["difference"] == 0).all() and ((checked["modified"] > ROUNDING) == (checked["published"] > 0)).all()
    monkeypatch.setattr(rechecking, "modified_answers", lambda *given: modified(*given).iloc[1:])
    assert np.isinf(recheck(loaded("bert"), run.dataset, results, 100).query("method == 'attribution'")["modified"]).all()


@pytest.mark.parametrize("fewest, relations", [({"P36"}, {"P36"}), (set(), {"P36", "P101"})])
def test_facts_are_of_relations_that_can_have_neurons(run, results, loaded, monkeypatch, fewest, relations):
    monkeypatch.setattr(rechecking, "with_enough_prompts", lambda _, among: [name for name in among if name in fewest])
    assert set(recheck(loaded("bert"), run.dataset, results, 100)["relation"]) == relations


def test_the_command_says_how_much_of_each_method_agrees(run, results, folder_of, monkeypatch, capsys):
    monkeypatch.setattr(rechecking, "PublishedResults", partial(PublishedResults, folder=results.folder))
    folder = str(run.dataset.locate("pairs").parent)
    monkeypatch.setattr(sys, "argv", ["recheck", str(folder_of("bert")), folder, "--facts", "3", "--device", "cpu"])
    assert rechecking.main() == 0
    *_, first, second = capsys.readouterr().out.splitlines()
    assert re.match(r"attribution: (\d+) of \1 published neurons are found again, and 0 others; probabilities differ by 0", first)
    assert second.startswith("activation: ")


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
    assert (result_name(config["model"]), config["dataset"]) == (results.model, results.dataset)
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
@pytest.mark.parametrize("name, run", [
    ("starter_starter", "starter starter --results-dir results --seed 42"),
    pytest.param("starter_pararel", "starter pararel --results-dir results --n-facts 200 --seed 42", marks=pytest.mark.real_data),
    pytest.param("smollm2-135m_pararel", "smollm2-135m pararel --results-dir results --n-facts 60 --seed 42", marks=pytest.mark.real_data),
])  # fmt: skip
def test_one_command_runs_what_is_published_and_publishes_it(name, run, tmp_path):
    runs = published.RESULTS.parent / f"runs/{name}.yml"
    assert f"\n#   snakemake published --configfile data/published/runs/{name}.yml\n" in runs.read_text()
    planned = snakemake(tmp_path, "published", "--dry-run", "--printshellcmds", "--cores", 1, "--configfile", runs)
    assert f"{sys.executable} -m kn_utils.store.published {run}\n" in planned
    steps = {notebook[3:] for notebook in MADE_BY}
    assert steps | {"published"} == set(re.findall(r"^(\w+) +\d+$", planned, re.MULTILINE)) - {"total"}


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
