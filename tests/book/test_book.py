"""The book's own code: which notebooks run with which parameters, what may be published, and how it becomes pages."""

import copy
import json
import re
import sys
from contextlib import nullcontext

import nbformat
import pandas as pd
import papermill
import pytest
import tiny_folders
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from snakemake.utils import update_config
from workflow import snakemake

from kn_utils.paths import MADE_BY, ROOT
from kn_utils.store.files import read_provenance, read_table

sys.path.append(str(ROOT / "book"))
import pages
from gate import problems
from run_list import RunList
from run_notebook import run_notebook
from run_shard import shard_named

CONFIG = yaml.safe_load((ROOT / "book/runs.yml").read_text(encoding="utf-8"))


def of(**changes):
    return RunList(CONFIG | changes)


# ---- the run list


def test_every_notebook_is_in_the_run_list_and_every_page_exists():
    assert list(CONFIG["notebooks"]) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    listed = [name for part in CONFIG["contents"] for name in part["pages"]]
    assert sorted(listed) == sorted({*CONFIG["notebooks"], *(name for name in listed if (ROOT / f"book/{name}.md").is_file())})
    assert len(set(listed)) == len(listed)


PROFILE = yaml.safe_load((ROOT / "profiles/slurm/runs.yml").read_text(encoding="utf-8"))
ON_CLUSTER = {name: settings | PROFILE["notebooks"].get(name, {}) for name, settings in CONFIG["notebooks"].items()}


@pytest.mark.parametrize("notebooks", [CONFIG["notebooks"], ON_CLUSTER])
def test_a_notebook_has_a_page_for_all_relations_and_for_those_listed_whether_it_runs_together_or_for_each(notebooks):
    runs = of(relations="P36,P20,P19", notebooks=notebooks).all_runs()
    attribution = [run for run in runs if run.notebook == "01_attribution"]
    assert [run.parameters["relation"] for run in attribution] == ["P36", "P19", "P36,P20,P19"]  # P20 is not listed
    assert [run.page for run in attribution] == [
        "book/relations/P36.ipynb",
        "book/relations/P19.ipynb",
        "book/notebooks/01_attribution.ipynb",
    ]
    assert [run.parameters["relation"] for run in runs if run.notebook == "07_erase_relation"] == ["P19"]
    of_the_run = [run for run in runs if run.notebook != "10_decoder"]
    assert all(run.parameters.items() >= {"model": "starter", "n_facts": 10, "seed": 42}.items() for run in of_the_run)
    assert runs[-1].parameters.items() >= {"model": "smollm2-135m", "n_facts": None, "relation": "all"}.items()
    assert attribution[0].parameters["quadrature"] == "gauss-legendre"
    assert len({run.page for run in runs}) == len(runs)


def test_on_a_cluster_every_notebook_that_makes_tables_runs_for_each_relation():
    runs = of(notebooks=ON_CLUSTER)
    assert [name for name in ON_CLUSTER if runs.each(name)] == list(MADE_BY)


def test_all_facts_is_the_notebooks_none_and_spares_no_relation():
    few, every = of(n_facts=12), of(n_facts="all")
    assert few.run("06_edit_facts").parameters.items() >= {"n_facts": 12, "common_share": 0.25}.items()
    assert (
        every.run("06_edit_facts").parameters["n_facts"] is None and "common_share" not in every.run("06_edit_facts").parameters
    )
    assert len(few.relations("06_edit_facts")) == 10 and every.relations("06_edit_facts") == every.dataset.relations


@pytest.mark.parametrize("names", ["P36,P19", "P36, P19", ["P36", "P19"]])
def test_relations_are_listed_as_in_the_notebooks(names):
    runs = of(relations=names, notebooks={"01_attribution": {"jobs": "together", "relations": names, "pages": names}})
    assert runs.relations("01_attribution") == runs.pages("01_attribution") == ["P36", "P19"]


# ---- the gate


def ran(*sources, parameters=None):
    cells = [new_markdown_cell("# A title\nand words"), *(new_code_cell(source, execution_count=1) for source in sources)]
    return new_notebook(cells=cells, metadata={"papermill": {"parameters": parameters or {}}})


def test_a_notebook_that_ran_as_asked_may_be_published():
    executed = ran("x = 1", parameters={"n": None})
    executed.cells.insert(1, new_code_cell("n = None", execution_count=1, metadata={"tags": ["injected-parameters"]}))
    assert problems(executed, ran("x = 1"), {"n": None}) == []


def test_what_may_not_be_published():
    failed = ran("1 / 0")
    failed.cells[1].outputs = [new_output("error", ename="ZeroDivisionError", evalue="division by zero")]
    assert problems(failed, ran("1 / 0"), {}) == ["cell 1 failed: ZeroDivisionError: division by zero"]
    skipped = ran("x = 1", "y = 2")
    skipped.cells[2].execution_count = None
    assert problems(skipped, ran("x = 1", "y = 2"), {}) == ["code cells 2 were not executed"]
    other = ran("x", parameters={"seed": 1, "extra": 2})
    assert problems(other, ran("x"), {"seed": 42, "n": None}) == [
        "it ran with extra = 2 where None is asked for",
        "it ran with n = None where None is asked for",
        "it ran with seed = 1 where 42 is asked for",
    ]
    assert problems(ran("x = 1"), ran("x = 2"), {}) == ["its cells are not those of the notebook as it is stored now"]


# ---- pages


def test_a_page_has_folded_code_a_title_of_its_own_and_no_progress_bars():
    executed = ran("x = 1")
    executed.metadata["widgets"] = {"state": 1}
    executed.cells[1].outputs = [
        new_output("display_data", {pages.WIDGET: {}, "text/plain": "100%"}),
        new_output("stream", name="stderr", text="100%"),
        new_output("stream", name="stdout", text="kept"),
    ]
    made = pages.page(executed, "P36 · capital")
    assert made.cells[0].source == "# P36 · capital\nand words"
    assert made.cells[1].metadata["tags"] == ["hide-input"]
    assert [output.get("text") for output in made.cells[1].outputs] == ["kept"]
    assert "widgets" not in made.metadata and "widgets" in executed.metadata


def test_the_table_of_contents_follows_the_run_list():
    contents = pages.table_of_contents(of(relations="P36,P20,P19"))  # of which P20 has no page
    assert contents["root"] == "notebooks/00_report"
    first = contents["parts"][0]["chapters"][0]
    assert first == {"file": "notebooks/01_attribution", "sections": [{"file": "relations/P36"}, {"file": "relations/P19"}]}
    assert [part["caption"] for part in contents["parts"]] == [part["caption"] for part in CONFIG["contents"]]


def test_the_papers_own_setting_is_as_released():
    config = copy.deepcopy(CONFIG)
    update_config(config, yaml.safe_load((ROOT / "book/paper_runs.yml").read_text(encoding="utf-8")) | {"dataset": "starter"})
    runs = RunList(config)
    given = {notebook: runs.run(notebook, "P19").parameters for notebook in MADE_BY}
    assert all(one["model"] == "google-bert/bert-base-cased" and one["n_facts"] is None for one in given.values())
    assert given["01_attribution"]["quadrature"] == "released" and given["07_erase_relation"]["other_facts"] is None
    assert "common_share" not in given["06_edit_facts"] and len(runs.relations("06_edit_facts")) == 34
    assert runs.relations("07_erase_relation") == ["P19", "P27", "P106", "P937"]


# ---- running

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.mark.slow
def test_a_run_that_fails_is_kept_under_another_name(tmp_path):
    template = tmp_path / "one.ipynb"
    cells = [new_code_cell("n: int = 1", metadata={"tags": ["parameters"]}), new_code_cell("1 / n")]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), template)
    with pytest.raises(Exception, match="ZeroDivisionError"):
        run_notebook(template, tmp_path / "out.ipynb", {"n": 0})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.ipynb", "out.failed.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize("error, for_tables, ends_well", [
    ("NothingToShowError", True, True), ("NothingToShowError", False, False), ("ValueError", True, False),
])  # fmt: skip
def test_a_run_for_tables_may_have_nothing_to_show(error, for_tables, ends_well, tmp_path, capsys):
    template = tmp_path / "one.ipynb"
    code = f"from kn_utils.store.runs import NothingToShowError\nraise {error}('no fact has neurons')"
    cells = [new_code_cell("n: int = 1", metadata={"tags": ["parameters"]}), new_code_cell(code)]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), template)
    with nullcontext() if ends_well else pytest.raises(papermill.PapermillExecutionError, match="no fact has neurons"):
        run_notebook(template, tmp_path / "out.ipynb", {}, for_tables)
    assert ("the notebook ends early: no fact has neurons\n" in capsys.readouterr().out) == ends_well
    assert (tmp_path / "out.ipynb").exists() == ends_well


def make(folder, target, runs, **config):
    """Call the workflow for a data set with the relations of `runs`."""
    (folder / "runs.json").write_text(json.dumps(runs | {name: str(value) for name, value in config.items()}))
    return snakemake(folder, target, "--cores", "1", "--configfile", "runs.json")


@pytest.mark.slow
def test_shards_of_a_relation_give_the_same_table_as_one_job(folder_of, tmp_path):
    data = tiny_folders.write_data(tmp_path / "tiny", facts={"P36": tiny_folders.many_facts(20)})
    config = {"model": folder_of("bert"), "dataset": data, "n_facts": "all"}
    found = {}
    for shards in (1, 2):
        runs = {"relations": "P36", "notebooks": {"01_attribution": {"jobs": "each", "shards": shards}}}
        runs["notebooks"] |= {"07_erase_relation": {"relations": "all"}}
        results = tmp_path / f"results-{shards}"
        target = results / "tiny-bert" / "tiny" / "attribution" / "P36.parquet"
        done = make(tmp_path, target, runs, results_dir=results, **config)
        assert f"{1 if shards == 1 else 3} of {1 if shards == 1 else 3} steps" in done
        found[shards] = [read_table(target.parents[1] / table / "P36.parquet") for table in MADE_BY["01_attribution"]]
        assert sorted(path.name for path in target.parent.iterdir() if path.suffix != ".lock") == ["P36.parquet"]
    for one, joined in zip(*found.values(), strict=True):
        pd.testing.assert_frame_equal(one, joined, check_exact=True)


@pytest.mark.parametrize("name", ["", "2", "0-of-2", "3-of-2", "2 of 4", "a-of-b"])
def test_a_share_that_is_none(name):
    with pytest.raises(ValueError, match=f"the share is '{name}'; it must be 1-of-N, 2-of-N, ... or N-of-N"):
        shard_named(name)


@pytest.mark.slow
def test_the_workflow_makes_tables_and_a_second_call_does_nothing(folder_of, tmp_path):
    data = tiny_folders.write_data(tmp_path / "tiny")
    config = {"model": folder_of("bert"), "dataset": data, "results_dir": tmp_path / "results", "n_facts": "all"}
    runs = {"relations": "P36", "notebooks": {"07_erase_relation": {"relations": "all"}}}
    tables = tmp_path / "results" / "tiny-bert" / "tiny"
    target = tables / "knowledge_neurons" / "P36.parquet"
    first = make(tmp_path, target, runs, **config)
    assert "2 of 2 steps" in first
    for table in (*MADE_BY["01_attribution"], *MADE_BY["02_knowledge_neurons"]):
        assert set(read_table(tables / table / "P36.parquet")["relation"]) <= {"P36"}
    assert "Nothing to be done" in make(tmp_path, target, runs, **config)
    made = read_provenance(target)["finished"]
    (tables / "notebooks" / "02_knowledge_neurons.ipynb").unlink()
    assert "1 of 1 steps" in make(tmp_path, tables / "notebooks" / "02_knowledge_neurons.ipynb", runs, **config)
    assert read_provenance(target)["finished"] == made  # the table was kept, not made again


@pytest.mark.slow
def test_the_book_can_be_made_from_the_jobs_of_a_cluster_too(tmp_path):
    planned = snakemake(tmp_path, "--dry-run", "--forceall", "--cores", 1, "--configfile", ROOT / "profiles/slurm/runs.yml")
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", planned, re.MULTILINE))
    assert {jobs[rule] for rule in ("attribution", "knowledge_neurons", "modify_activation")} == {
        str(len(of().dataset.relations))
    }
    assert jobs["chapter"] == str(len(CONFIG["notebooks"])) and "relation_page" not in jobs
