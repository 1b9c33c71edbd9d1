"""The book's own code: which notebooks run with which parameters, what may be published, and how it becomes pages."""

import copy
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext

import nbformat
import papermill
import pytest
import tiny_folders
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from snakemake.utils import update_config
from workflow import copy_project, snakemake

from kn_utils.paths import ROOT, result_name
from kn_utils.steps import STEPS
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.runs import NothingToShowError

sys.path.append(str(ROOT / "book"))
import pages
from run_list import RunList
from run_notebook import NOTHING_TO_SHOW, run_notebook

CONFIG = yaml.safe_load((ROOT / "book/runs.yml").read_text(encoding="utf-8"))


def of(**changes):
    return RunList(CONFIG | changes)


# ---- the run list


def test_every_notebook_is_in_the_run_list_and_every_page_exists():
    assert list(CONFIG["notebooks"]) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    listed = [name for part in CONFIG["contents"] for name in part["pages"] if not name.endswith(pages.SECOND_PAGE)]
    assert sorted(listed) == sorted({*CONFIG["notebooks"], *(name for name in listed if (ROOT / f"book/{name}.md").is_file())})
    assert len(set(listed)) == len(listed)


PROFILE = yaml.safe_load((ROOT / "profiles/slurm/runs.yml").read_text(encoding="utf-8"))
ON_CLUSTER = {name: settings | PROFILE["notebooks"].get(name, {}) for name, settings in CONFIG["notebooks"].items()}


@pytest.mark.parametrize("notebooks", [CONFIG["notebooks"], ON_CLUSTER])
def test_a_notebook_has_one_page_for_all_its_relations_whether_it_runs_together_or_for_each(notebooks):
    runs = of(relations="P36,P20,P19", notebooks=notebooks).all_runs()
    (attribution,) = [run for run in runs if run.notebook == "01_attribution"]
    assert attribution.parameters["relation"] == "P36,P20,P19"
    assert attribution.page == "book/notebooks/01_attribution.ipynb"
    assert [run.parameters["relation"] for run in runs if run.notebook == "07_erase_relation"] == ["P19"]
    [decoder, alone] = [run for run in runs if run.notebook in ("10_decoder", "11_try_it")]
    of_the_run = [run for run in runs if run not in (decoder, alone)]
    assert all(
        run.parameters.items() >= {"model": "starter", "n_facts": CONFIG["n_facts"], "seed": 42}.items() for run in of_the_run
    )
    assert alone.notebook == "11_try_it" and alone.parameters == {"model": "starter", "instead": "German"}
    assert decoder.parameters.items() >= {"model": "smollm2-135m", "n_facts": None, "relation": "all"}.items()
    assert attribution.parameters["quadrature"] == "gauss-legendre"
    assert len({run.page for run in runs}) == len(runs)


def test_on_a_cluster_every_notebook_that_makes_tables_runs_for_each_relation():
    runs = of(notebooks=ON_CLUSTER)
    assert [name for name in ON_CLUSTER if runs.each(name)] == [step.notebook for step in STEPS]


def test_all_facts_is_the_notebooks_none_and_spares_no_relation():
    few, every = of(n_facts=12), of(n_facts="all")
    assert few.run("06_edit_facts").parameters.items() >= {"n_facts": 12, "common_share": 0.45}.items()
    assert (
        every.run("06_edit_facts").parameters["n_facts"] is None and "common_share" not in every.run("06_edit_facts").parameters
    )
    assert len(few.relations("06_edit_facts")) == 5 and every.relations("06_edit_facts") == every.dataset.relations


@pytest.mark.parametrize("names", ["P36,P19", "P36, P19", ["P36", "P19"]])
def test_relations_are_listed_as_in_the_notebooks(names):
    runs = of(relations=names, notebooks={"01_attribution": {"jobs": "together", "relations": names}})
    assert runs.relations("01_attribution") == ["P36", "P19"]


def test_longer_objects_are_asked_for_in_every_notebook_of_the_run_but_those_of_a_data_set_of_their_own():
    runs = of(model="smollm2-135m", objects="first-token")
    given = {run.notebook: run.parameters.get("objects") for run in runs.all_runs()}
    assert {name for name, objects in given.items() if objects != "first-token"} == {"10_decoder", "11_try_it"}
    assert runs.results == "book/results/smollm2-135m/starter-first-token"
    assert all("objects" not in run.parameters for run in of().all_runs())


# ---- what a data set lacks


def test_own_data_runs_through_all_steps_that_it_has_the_data_for(tmp_path):
    """It has none of the relations that the run list names, and no web sentences."""
    own = tiny_folders.write_data(
        tmp_path / "own", {"capital": tiny_folders.FACTS["P36"]}, {"capital": ["The capital of [X] is [Y]."]}
    )
    runs = of(dataset=str(own))
    skipped = {"04_distant_prompts", "05_trigger_examples"}
    assert runs.notebooks == [name for name in CONFIG["notebooks"] if name not in skipped]
    assert all(runs.relations(notebook) == ["capital"] for notebook in runs.notebooks)
    assert not skipped & {run.notebook for run in runs.all_runs()}
    assert runs.notes == [
        "04_distant_prompts and 05_trigger_examples are skipped: the data set has no web sentences of capital",
        "06_edit_facts runs over all relations: this run has no P36, P101, P103, P106, P176",
        "07_erase_relation runs over all relations: this run has no P19, P27, P106, P937",
        "12_is_it_knowledge runs over all relations: this run has no P36, P103, P176",
        "13_fact_or_word runs over all relations: this run has no P39, P140, P407, P463",
        "14_which_score runs over all relations: this run has no P36, P103",
        "15_how_much_passes runs over all relations: this run has no P36, P103, P140, P176, P407, P463",
        "16_does_it_help_editing runs over all relations: this run has no P36, P103, P176",
        "17_how_few runs over all relations: this run has no P36, P103, P176",
    ]
    tiny_folders.write_sentences(own, {"capital": tiny_folders.FACTS["P36"]})
    assert of(dataset=str(own)).notebooks == list(CONFIG["notebooks"])


def test_a_notebook_runs_over_those_of_its_relations_that_are_chosen_or_over_all_chosen():
    few, other = of(relations="P36,P20,P19"), of(relations="P36,P20")
    assert few.relations("07_erase_relation") == ["P19"] and other.relations("07_erase_relation") == ["P36", "P20"]
    assert "07_erase_relation runs over P19: this run has no P27, P106, P937" in few.notes
    assert of().notes == []


# ---- what may be published


def ran(*sources):
    cells = [new_markdown_cell("# A title\nand words"), *(new_code_cell(source, execution_count=1) for source in sources)]
    return new_notebook(cells=cells)


def test_a_notebook_that_ended_early_is_not_published(tmp_path, monkeypatch):
    """So ends a run that has made its tables but has nothing to show."""
    runs = of(relations="P36", results_dir=str(tmp_path / "results"), notebooks={"01_attribution": {"jobs": "each"}})
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    for run in runs.all_runs():
        executed = ran("x = 1", "show(x)")
        executed.cells[2].outputs = [new_output("error", ename="NothingToShowError", evalue="no fact has neurons")]
        pages._write(tmp_path / run.executed, executed)
    with pytest.raises(ValueError, match=r"01_attribution\.ipynb: NothingToShowError: no fact has neurons$"):
        pages.make_pages(runs)
    assert not (tmp_path / "book").exists()


def test_a_chapter_that_is_skipped_has_a_page_that_says_so(tmp_path, monkeypatch):
    """Others link to it."""
    own = tiny_folders.write_data(tmp_path / "own")
    runs = of(dataset=str(own), results_dir=str(tmp_path / "results"))
    executed = ran("x = 1")
    executed.cells[-1].metadata["tags"] = ["parameters"]
    executed.cells.insert(1, new_markdown_cell(pages.ANSWER))
    for run in runs.all_runs():
        pages._write(tmp_path / run.executed, executed)
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    pages.make_pages(runs)
    made = nbformat.read(tmp_path / "book/notebooks/04_distant_prompts.ipynb", as_version=4)
    assert [cell.source for cell in made.cells] == [f"# 4 · Web sentences\n\n{pages.SKIPPED}"]
    listed = yaml.safe_load((tmp_path / "book/_toc.yml").read_text(encoding="utf-8"))["parts"][0]["chapters"]
    assert {"file": "notebooks/04_distant_prompts"} in listed


# ---- pages


def test_a_page_has_folded_code_and_no_progress_bars():
    executed = ran("x = 1")
    executed.metadata["widgets"] = {"state": 1}
    executed.cells[1].outputs = [
        new_output("display_data", {pages.WIDGET: {}, "text/plain": "100%"}),
        new_output("stream", name="stderr", text="100%"),
        new_output("stream", name="stdout", text="kept"),
    ]
    made = pages.page(executed)
    assert made.cells[1].metadata["tags"] == ["remove-input"]  # no heading "The answer": all of it is the answer
    assert [output.get("text") for output in made.cells[1].outputs] == ["kept"]
    assert "widgets" not in made.metadata and "widgets" in executed.metadata


TEXT = [new_output("stream", name="stdout", text="shown")]


def test_a_page_opens_with_its_answer_and_shows_the_code_that_teaches():
    cells = [
        new_markdown_cell("# 1"),
        new_code_cell("setup()"),
        new_markdown_cell("## The answer\nIt is:"),
        new_code_cell("answer()", outputs=TEXT),
        new_markdown_cell("## Method"),
        new_code_cell("table()", outputs=TEXT),
        new_code_cell("silent = 1"),
        new_code_cell("by_hand()", metadata={"tags": ["show-code"]}),
    ]
    made = pages.page(new_notebook(cells=cells))
    tags = [cell.metadata["tags"] for cell in made.cells if cell.cell_type == "code"]
    assert tags == [["remove-cell"], ["remove-input"], ["hide-input"], ["remove-cell"], ["show-code"]]
    nbformat.validate(made)


def test_a_figure_has_a_caption_and_an_alternative_text_and_what_is_beside_it_has_neither():
    described = {"caption": "See *this*.", "alt": "A figure."}
    figure = new_output("display_data", {"image/svg+xml": "<svg/>"}, metadata={"figure": described})
    caption = new_output("display_data", {"text/markdown": "See *this*."}, metadata={"caption": True})
    executed = new_notebook(cells=[new_code_cell("draw()", outputs=[figure, caption, *TEXT])])
    executed.cells.insert(0, new_markdown_cell("## The answer"))
    _, drawn, beside = pages.page(executed).cells
    assert drawn.metadata["mystnb"] == {"image": {"alt": "A figure."}, "figure": {"caption": "See *this*."}}
    assert [output.output_type for output in drawn.outputs] == ["display_data"] and "mystnb" not in beside.metadata
    assert beside.outputs == TEXT and "remove-input" in beside.metadata["tags"]  # the code is shown once
    nbformat.validate(pages.page(executed))


def test_an_appendix_is_a_page_of_its_own_and_parameters_come_last():
    parameters = new_code_cell('relation: str = "P36"  # its meaning', metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# 0"), parameters, new_markdown_cell("## The answer"), new_markdown_cell("# Appendix: more")]
    first, second = pages.pages(new_notebook(cells=cells), of(relations="P36,P19").run("00_report"))
    assert [cell.source for cell in second.cells] == ["# Appendix: more"]
    assert first.cells[-1].source.startswith("## Parameters")
    assert "papermill notebooks/00_report.ipynb out.ipynb -p relation all -p model starter" in first.cells[-1].source
    assert "# its meaning" in first.cells[-1].source


def test_every_notebook_has_its_answer_in_front():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        headings = [cell.source for cell in nbformat.read(path, 4).cells if cell.source.startswith("## ")]
        assert headings[0].startswith(pages.ANSWER), path.name


def test_the_table_of_contents_follows_the_run_list():
    contents = pages.table_of_contents(of(relations="P36,P20,P19"))
    assert contents["root"] == "notebooks/00_report"
    first, *_, last = contents["parts"][0]["chapters"]
    assert (first, last) == ({"file": "notebooks/01_attribution"}, {"file": "notebooks/00_report_appendix"})
    assert [part["caption"] for part in contents["parts"]] == [part["caption"] for part in CONFIG["contents"]]


def test_the_papers_own_setting_is_as_released():
    config = copy.deepcopy(CONFIG)
    update_config(config, yaml.safe_load((ROOT / "book/paper_runs.yml").read_text(encoding="utf-8")) | {"dataset": "starter"})
    runs = RunList(config)
    given = {step.name: runs.run(step.notebook, "P19").parameters for step in STEPS}
    assert all(one["model"] == "google-bert/bert-base-cased" and one["n_facts"] is None for one in given.values())
    assert given["attribution"]["quadrature"] == "released" and given["erase_relation"]["other_facts"] is None
    assert "common_share" not in given["edit_facts"] and len(runs.relations("06_edit_facts")) == 34
    assert runs.relations("07_erase_relation") == ["P19", "P27", "P106", "P937"]


# ---- cleaning


@pytest.mark.parametrize("target, kept", [
    ("clean", ["results", "book/results", "figures", "runs", ".venv"]),
    ("distclean", ["results", "book/results", "figures", "runs"]),
    ("clean-results", ["runs", ".venv"]),
    ("clean-runs", ["results", "book/results", "figures", ".venv"]),
])  # fmt: skip
def test_nothing_is_removed_that_the_target_does_not_name(target, kept, tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    folders = {name: tmp_path / name for name in ("results", "book/results", "figures", "runs", ".venv", "book/_build")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    subprocess.run(["make", target], cwd=tmp_path, check=True, capture_output=True)
    assert [name for name in kept if not folders[name].is_dir()] == []
    assert not all(folder.is_dir() for folder in folders.values())


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
@pytest.mark.parametrize("error, ends_well", [("NothingToShowError", True), ("ValueError", False)])
def test_a_run_may_have_nothing_to_show(error, ends_well, tmp_path, capsys):
    assert NothingToShowError.__name__ == NOTHING_TO_SHOW
    template = tmp_path / "one.ipynb"
    code = f"class {error}(Exception):\n    pass\n\nraise {error}('no fact has neurons')"  # known by its name
    cells = [new_code_cell("n: int = 1", metadata={"tags": ["parameters"]}), new_code_cell(code)]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), template)
    with nullcontext() if ends_well else pytest.raises(papermill.PapermillExecutionError, match="no fact has neurons"):
        run_notebook(template, tmp_path / "out.ipynb", {})
    assert ("the notebook ends early: no fact has neurons\n" in capsys.readouterr().out) == ends_well
    assert (tmp_path / "out.ipynb").exists() == ends_well


in_project = pytest.mark.xdist_group("project")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of this project, a model and a data set, in folders whose names have spaces and parentheses."""
    folder = copy_project(tmp_path_factory.mktemp("My Projects (new)") / "my clone (1)")
    tiny_folders.write_model(folder / "my model (1)", "bert")
    tiny_folders.write_data(folder / "my facts (1)")
    return folder


def make(project, *arguments, **config):
    """Call the workflow of the project on its own model and data set."""
    chosen = {"model": "my model (1)", "dataset": "my facts (1)", "results_dir": "my results (1)", "n_facts": "all"} | config
    return snakemake(project, *arguments, "--cores", 1, "--config", *(f"{name}={value}" for name, value in chosen.items()))


def jobs(printed):
    """How many jobs of each rule the workflow has planned."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}


def results_of(project):
    return project / "my results (1)" / result_name(project / "my model (1)") / result_name(project / "my facts (1)")


@pytest.mark.endurance
@in_project
def test_the_workflow_makes_what_is_not_there_or_older_than_its_code_whatever_folders_are_called(project):
    step = ["tables", "--until", "knowledge_neurons"]
    first = make(project, *step, relations="P36")
    assert "07_erase_relation runs over all relations: this run has no P19, P27, P106, P937" in first
    assert jobs(first) == {"attribution": 1, "knowledge_neurons": 1, "total": 2}
    tables = results_of(project)
    for table in (table for step in STEPS[:2] for table in step.tables):
        assert set(read_table(tables / table / "P36.parquet")["relation"]) <= {"P36"}
    with (project / "kn_utils/chapters/knowledge_neurons/table.py").open("a", encoding="utf-8") as code:
        code.write("CHANGED = True\n")
    assert jobs(make(project, *step, "--dry-run", relations="P36")) == {"knowledge_neurons": 1, "total": 1}


@pytest.mark.long
@in_project
def test_a_step_whose_notebook_is_gone_runs_again_and_keeps_its_tables(project):
    step = ["tables", "--until", "attribution"]
    make(project, *step, relations="P101")
    assert jobs(make(project, *step, relations="P101")) == {"total": 0}
    made = read_provenance(results_of(project) / "attribution/P101.parquet")["finished"]
    (results_of(project) / "notebooks/01_attribution.ipynb").unlink()
    assert jobs(make(project, *step, relations="P101")) == {"attribution": 1, "total": 1}
    assert read_provenance(results_of(project) / "attribution/P101.parquet")["finished"] == made


@pytest.mark.endurance
@in_project
@pytest.mark.parametrize("arguments", [["published"], ["book"], ["book", "--configfile", "profiles/slurm/runs.yml"]])
def test_all_that_the_workflow_can_make_is_planned_whatever_folders_are_called(project, arguments):
    planned = make(project, *arguments, "--dry-run", "--printshellcmds", "--forceall", seed=1)
    skipped = "04_distant_prompts and 05_trigger_examples are skipped: the data set has no web sentences of P30, P36, P101"
    assert skipped in planned
    count = jobs(planned)
    some = {
        "is_it_knowledge",
        "which_score",
        "how_much_passes",
        "does_it_help_editing",
        "how_few",
    }  # listed for one relation here
    steps = {"attribution", "knowledge_neurons", "modify_activation", "edit_facts", "erase_relation", "fact_or_word", *some}
    assert count.keys() & {step.name for step in STEPS} == steps
    if "--configfile" in arguments:  # every notebook runs for each relation, and once more for its chapter
        assert {count[step] for step in steps - some} == {3} and "relation_page" not in count
        assert {count[step] for step in some} == {1}
        assert count["chapter"] == len(CONFIG["notebooks"]) - 2
    else:
        assert {count[step] for step in steps} == {1}


def test_the_workflow_has_no_run_blocks():
    """Snakemake starts them by a shell command in which the repository's folder is not quoted."""
    assert not re.search(r"^ *run: *$", (ROOT / "Snakefile").read_text(encoding="utf-8"), re.MULTILINE)
