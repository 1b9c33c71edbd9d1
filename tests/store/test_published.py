"""Our own results as they are published: written from a run, read back, and shown by notebook 00."""

import re
import shlex
import shutil
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import recheck as rechecking
import tiny_folders
from notebook_shell import run_here
from recheck import agrees, impossible, recheck
from workflow import snakemake

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.erase_relation.table import erase_relation
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.chapters.modify_activation.table import Chosen, modify_activations
from kn_utils.chapters.which_score.table import compare_scores
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.report.side_by_side import is_same_run
from kn_utils.steps import PUBLISHED, STEPS
from kn_utils.store import provenance, runs
from kn_utils.store import publish as publish_module
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.publish import publish
from kn_utils.store.published import RESULTS, PublishedResults, published_results
from kn_utils.store.results import digest
from kn_utils.store.runs import Run

LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that random weights have neurons that prompts share
TEMPLATES = [*tiny_folders.TEMPLATES["P36"], "[X] is home to [Y].", "The country of [X] is [Y]", "[X] is known for [Y] ."]
RUN = ["P36", "P101"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROUNDING = 1e-6  # of a probability


@pytest.fixture(scope="module", autouse=True)
def clean_tree():
    """All is made at one commit, whatever the state of the repository that the tests run in."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (publish_module, provenance):
            patch.setattr(module, "commit", lambda: COMMIT)
        yield


@pytest.fixture(scope="module")
def run(loaded, tmp_path_factory):
    """Steps 1 to 3 of two of the three relations."""
    folder = tmp_path_factory.mktemp("published")
    data = tiny_folders.write_data(folder / "tiny", templates=dict.fromkeys(tiny_folders.FACTS, TEMPLATES))
    lm, run = loaded("bert"), Run(loaded("bert").name, load_dataset(data), results_dir=folder / "results")
    for relation in RUN:
        attribute_relation(lm, run, relation, Quadrature())
        find_neurons(run, relation, LOW)
        modify_activations(lm, run, relation)
    return run


@pytest.fixture(scope="module")
def results(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    publish(run, folder)
    return PublishedResults(run.model, run.dataset.name, folder)


def test_published_tables_are_those_of_the_run(run, results):
    whole = [table for table in PUBLISHED if table != "completeness" and run.path(table, "P36").is_file()]
    assert whole == ["facts", "prompts", "knowledge_neurons", "refinement", "modify_activation"]
    for table in whole:
        for relations in (RUN, ["P101"], RUN[::-1]):
            pd.testing.assert_frame_equal(results.read(table, relations), run.read(table, relations))
        assert results.provenance(table) == {name: read_provenance(run.path(table, name)) for name in RUN}


def test_probabilities_are_computed_from_the_published_log_odds(run, results):
    stored = read_table(results.path("modify_activation"))
    rows = results.read("modify_activation", RUN)
    assert set(rows.columns) - set(stored.columns) == {"probability_before", "probability_after"}
    for when in ("before", "after"):
        odds = np.exp(stored[f"log_odds_{when}"].astype(float))
        np.testing.assert_allclose(rows[f"probability_{when}"], odds / (1 + odds), rtol=1e-12)


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


def test_what_is_not_published_is_named(run, results):
    with pytest.raises(
        FileNotFoundError,
        match=f"no table edit_facts is published of {run.model} on {run.dataset.name}; tables there: completeness, ",
    ):
        results.read("edit_facts", RUN)
    with pytest.raises(FileNotFoundError, match="has no P30"):
        results.read("facts", ["P36", "P30"])


def test_a_damaged_file_is_an_error(run, tmp_path):
    [facts, *_] = publish(run, tmp_path)
    facts.write_bytes(facts.read_bytes()[:-8])
    with pytest.raises(ValueError, match="damaged"):
        PublishedResults(run.model, run.dataset.name, tmp_path).read("facts", RUN)


def test_publishing_again_leaves_nothing_of_before(run, tmp_path):
    earlier = tmp_path / run.model / run.dataset.name / "erase_dose.parquet"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    paths = publish(run, tmp_path)
    assert not earlier.exists() and sorted(earlier.parent.iterdir()) == sorted(paths)


def test_publishing_that_fails_leaves_what_was_there(run, tmp_path, monkeypatch):
    paths = publish(run, tmp_path)
    before = [path.read_bytes() for path in paths]
    write = publish_module.write_table

    def write_half(path, pieces, schema, provenance, **options):
        write(path, [piece.slice(0, len(piece) // 2) for piece in pieces], schema, provenance, **options)
        raise OSError("no space left")

    monkeypatch.setattr(publish_module, "write_table", write_half)
    with pytest.raises(OSError, match="no space left"):
        publish(run, tmp_path)
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize("now", ["", COMMIT + provenance.CHANGED])
def test_a_repository_with_changes_publishes_nothing(run, tmp_path, monkeypatch, now):
    monkeypatch.setattr(publish_module, "commit", lambda: now)
    with pytest.raises(ValueError, match="^this repository (is at no commit|has changes that are not committed)"):
        publish(run, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("then", ["", COMMIT + provenance.CHANGED])
def test_a_table_that_was_made_beside_changes_is_not_published(run, tmp_path, monkeypatch, then):
    shutil.copytree(run.results_dir, tmp_path / "results")
    again = replace(run, results_dir=tmp_path / "results")
    again.path("knowledge_neurons", "P101").unlink()
    monkeypatch.setattr(provenance, "commit", lambda: then)
    find_neurons(again, "P101", LOW)
    with pytest.raises(ValueError, match="^02_knowledge_neurons of P101 (is at no commit|has changes)"):
        publish(again, tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_a_table_made_by_other_code_is_not_published(run, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "sources_digest", lambda module: "changed")
    with pytest.raises(ValueError, match="was made by other code than this"):
        publish(run, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_without_tables_says_what_to_run(run, tmp_path):
    empty = Run(run.model, run.dataset, results_dir=tmp_path / "results")
    with pytest.raises(FileNotFoundError, match="run notebooks/01_attribution.ipynb"):
        publish(empty, tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_the_command_publishes_and_says_how_much(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish_module, "publish", partial(publish, folder=tmp_path))
    folder = str(run.dataset.locate("pairs").parent)
    monkeypatch.setattr(sys, "argv", ["published", run.model, folder, "--results-dir", str(run.results_dir)])
    publish_module.main()
    refinement = tmp_path / run.model / run.dataset.name / "refinement.parquet"
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
    assert (checked["layers"] >= 3 * 3).all() and (checked["other_nodes"] == 0).all()  # of three layers and prompts or more


def test_published_facts_of_another_computation_do_not_agree(run, results, loaded):
    checked = recheck(loaded("bert"), run.dataset, results, 100)
    assert not agrees(checked.assign(difference=0.01)) and not agrees(checked.assign(modified=0.01))
    assert not agrees(checked.assign(both=checked["both"] // 2))
    assert not agrees(checked.assign(now=checked["now"] * 2))
    assert not agrees(checked.assign(other_nodes=checked["layers"] // 2))


def test_other_numbers_of_nodes_are_counted(results, loaded, run, monkeypatch):
    attributed = rechecking.attributed

    def with_more_nodes(*given):
        tables = attributed(*given)
        first = tables["completeness"]["layer"] == 0
        return tables | {"completeness": tables["completeness"].assign(nodes=tables["completeness"]["nodes"] + first)}

    monkeypatch.setattr(rechecking, "attributed", with_more_nodes)
    checked = recheck(loaded("bert"), run.dataset, results, 3)
    assert (3 * checked["other_nodes"] == checked["layers"]).all() and not agrees(checked)


def test_what_today_s_code_cannot_make_is_refused(results, loaded, run):
    made = {table: results.provenance(table) for table in ("completeness", "knowledge_neurons")}
    completeness = results.read("completeness", RUN)
    assert impossible(made, completeness) == []
    assert impossible(made, completeness.replace({"nodes": {20: 128}})) == [f"{name} has 128 nodes by released" for name in RUN]
    made["completeness"]["P36"]["inputs"]["kept_share"] = 0.2
    made["knowledge_neurons"]["P101"]["inputs"]["rounds"] = {"rounds": 7}
    assert impossible(made, completeness) == ["P36 was made with other kept_share", "P101 was made with other rounds"]


def test_a_publication_that_today_s_code_cannot_make_is_not_compared(results, loaded, run, monkeypatch):
    monkeypatch.setitem(rechecking.NODES, "released", {128})
    with pytest.raises(ValueError, match="today's code cannot make what is published of .*: P36 has 20 nodes by released"):
        recheck(loaded("bert"), run.dataset, results, 3)


def test_each_method_must_agree():
    found = {"method": ["attribution", "activation"], "difference": 0.0, "modified": 0.0, "published": [50, 950]}
    found |= {"layers": 100, "other_nodes": 0}
    assert agrees(pd.DataFrame(found | {"now": [50, 950], "both": [49, 950]}))
    assert not agrees(pd.DataFrame(found | {"now": [50, 950], "both": [40, 950]}))


def test_a_change_of_other_neurons_or_prompts_is_seen(run, results, loaded, monkeypatch):
    modified = rechecking.modified_answers
    monkeypatch.setattr(
        rechecking, "modified_answers", lambda lm, data, facts, _, seed: modified(lm, data, facts, Chosen({}), seed)
    )
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


@pytest.mark.slow
@pytest.mark.parametrize("name, run", [
    ("starter_starter", "starter starter --results-dir results --seed 42"),
    pytest.param("starter_pararel", "starter pararel --results-dir results --n-facts 100 --seed 42", marks=pytest.mark.real_data),
    pytest.param("smollm2-135m_pararel", "smollm2-135m pararel --results-dir results --n-facts 16 --seed 42", marks=pytest.mark.real_data),
])  # fmt: skip
def test_one_command_runs_what_is_published_and_publishes_it(name, run, tmp_path):
    runs = RESULTS.parent / f"runs/{name}.yml"
    assert f"\n#   snakemake published --configfile data/published/runs/{name}.yml\n" in runs.read_text()
    planned = snakemake(tmp_path, "published", "--dry-run", "--printshellcmds", "--cores", 1, "--configfile", runs)
    assert f"{shlex.quote(sys.executable)} -m kn_utils.store.publish {run}\n" in planned
    steps = {step.name for step in STEPS}
    assert steps | {"published"} == set(re.findall(r"^(\w+) +\d+$", planned, re.MULTILINE)) - {"total"}


def test_the_report_judges_what_was_run_and_says_what_was_not(run, folder_of, few_resamples):
    data, model = run.dataset.locate("pairs").parent, folder_of("bert")
    shown, figures = run_here(  # P30 was not run
        "00_report", relation="all", model=str(model), dataset=str(data), results_dir=str(run.results_dir)
    )
    pages = "".join(data.get("text/html", "") for data in shown)
    assert "there is no table edit_facts of these relations" in pages and "P19 is not among the relations" in pages
    assert figures and "not tested" in pages
    assert "claims on a fact's knowledge neurons" in shown[0]["text/markdown"]
    assert any(re.match("This run does not count these relations, .*: P30", data.get("text/markdown", "")) for data in shown)


@pytest.fixture
def without_tables(run, results, tmp_path, monkeypatch):
    """The same run where it has no tables, beside what it has published."""
    monkeypatch.setattr(runs, "PublishedResults", lambda model, dataset: PublishedResults(model, dataset, results.folder))
    return replace(run, results_dir=tmp_path / "results")


def test_a_run_without_tables_reads_what_is_published_and_says_so(run, without_tables, capsys):
    for table in ("facts", "prompts", "knowledge_neurons"):
        pd.testing.assert_frame_equal(without_tables.read(table, RUN), run.read(table, RUN))
        pd.testing.assert_frame_equal(without_tables.read(table, RUN[::-1]), run.read(table, RUN[::-1]))
        [said] = capsys.readouterr().out.splitlines()
        assert said.startswith(f"{table}: our published table of {run.model} on {run.dataset.name} is used, since ")
        assert without_tables.made_with(table, "P36") == run.made_with(table, "P36")


@pytest.mark.parametrize("other", [{"seed": 1}, {"n_facts": 2}])
def test_another_sample_is_not_read_from_what_is_published(without_tables, other):
    with pytest.raises(FileNotFoundError, match="run notebooks/01_attribution.ipynb with the same parameters first"):
        replace(without_tables, **other).read("facts", RUN)


def test_other_weights_are_not_read_from_what_is_published(without_tables, loaded):
    lm = loaded("bert")
    assert without_tables.made_with("facts", "P36", lm)
    with pytest.raises(FileNotFoundError, match="run notebooks/01_attribution.ipynb"):
        without_tables.made_with("facts", "P36", loaded("gpt2"))


def test_what_is_not_published_is_to_be_run(without_tables):
    with pytest.raises(FileNotFoundError, match="attribution/P36.parquet: run notebooks/01_attribution.ipynb"):
        without_tables.read("attribution", RUN)


def test_a_run_with_its_own_first_step_takes_no_later_one_from_what_is_published(run, without_tables):
    for table in ("attribution", "facts"):
        path = without_tables.path(table, "P36")
        path.parent.mkdir(parents=True)
        shutil.copy(run.path(table, "P36"), path)
    with pytest.raises(FileNotFoundError, match="run notebooks/02_knowledge_neurons.ipynb"):
        without_tables.read("knowledge_neurons", ["P36"])


def test_a_run_may_have_a_table_for_some_relations_only(run, without_tables):
    path = without_tables.path("modify_activation", "P101")
    path.parent.mkdir(parents=True)
    shutil.copy(run.path("modify_activation", "P101"), path)
    pd.testing.assert_frame_equal(without_tables.read("modify_activation", RUN), run.read("modify_activation", RUN))
    assert without_tables.has("modify_activation", RUN) and not without_tables.has("edit_facts", RUN)


def test_a_step_needs_only_the_tables_that_it_reads_to_be_published(run, without_tables, loaded):
    """Notebook 14 reads prompts and facts; of their step, the table of scores is not published."""
    compare_scores(loaded("bert"), without_tables, "P36", n_prompts=1, min_probability=0, max_probability=1)
    made_from = without_tables.made_with("which_score", "P36")["made_from"]
    assert made_from == {"attribution": digest(run.made_with("attribution", "P36"))}


def test_a_later_step_alone_is_published_beside_what_it_was_made_from(run, results, without_tables, loaded, tmp_path):
    folder = tmp_path / "published"
    shutil.copytree(results.folder, folder)
    before = {path.stem: path.read_bytes() for path in folder.rglob("*.parquet")}
    for relation in RUN:
        erase_relation(loaded("bert"), without_tables, relation, other_facts=1)
    publish(without_tables, folder)
    after = {path.stem: path.read_bytes() for path in folder.rglob("*.parquet")}
    assert after.items() > before.items() and after.keys() - before.keys() == {"erase_relation", "erase_facts", "erase_dose"}
    publish(run, folder)
    assert {path.stem for path in folder.rglob("*.parquet")} == before.keys()  # what was made from replaced tables is gone
