"""Turns the executed notebooks into pages, and the run list into a table of contents: `python book/pages.py RUN_LIST_AS_JSON`."""

import json
import sys
from copy import deepcopy

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from neuron_links import link_neurons
from run_list import RunList

from kn_utils.data.facts import Dataset
from kn_utils.paths import ROOT, result_name
from kn_utils.plots.markup import plain

WIDGET = "application/vnd.jupyter.widget-view+json"
ANSWER = "## The answer"  # the heading before which a notebook is only set up
SKIPPED = "This chapter is left out: the data set has no web sentences."  # its page stays, since others link to it
OPEN = "show-code"  # the tag of cells whose code is what they teach


def make_pages(runs: RunList) -> None:
    """Write the page of every run and `book/_toc.yml`. Raises ValueError, with every error, if a notebook ended early."""
    executed = [(run, nbformat.read(ROOT / run.executed, as_version=4)) for run in runs.all_runs()]
    failed = [f"{run.executed}: {error}" for run, notebook in executed for error in errors(notebook)]
    if failed:
        raise ValueError("these notebooks cannot be published:\n" + "\n".join(failed))
    for run, notebook in executed:
        model, dataset = run.parameters["model"], run.parameters.get("dataset", "starter")  # notebook 11 has no data set
        link_neurons(notebook, result_name(model), result_name(dataset))
        _write(ROOT / run.page, page(notebook, title_of(run.relation, runs.dataset) if run.relation else ""))
    for name in runs.skipped:
        title = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells[0].source.partition("\n")[0]
        _write(ROOT / f"book/notebooks/{name}.ipynb", new_notebook(cells=[new_markdown_cell(f"{title}\n\n{SKIPPED}")]))
    contents = yaml.safe_dump(table_of_contents(runs), sort_keys=False, allow_unicode=True)
    (ROOT / "book/_toc.yml").write_text(f"# Made by book/pages.py from book/runs.yml.\n{contents}", encoding="utf-8")


def title_of(relation: str, dataset: Dataset) -> str:
    """Return the title of a relation's page as Markdown."""
    return plain(f"{relation} · {dataset.labels[relation]}")


def errors(notebook: NotebookNode) -> list[str]:
    """Return the errors in an executed notebook: that it has nothing to show is one, see `run_notebook`."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]


def page(executed: NotebookNode, title: str = "") -> NotebookNode:
    """Return an executed notebook as a page: without its set-up and progress bars, code folded, and under `title` if there is one."""
    made = deepcopy(executed)
    made.metadata.pop("widgets", None)
    answer = next((number for number, cell in enumerate(made.cells) if cell.source.startswith(ANSWER)), 0)
    for number, cell in enumerate(made.cells):
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            folded = ["remove-cell"] if number < answer else [] if OPEN in tags else ["hide-input"]
            cell.metadata["tags"] = [*tags, *folded]
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
    if title:
        made.cells[0].source = f"# {title}\n" + made.cells[0].source.partition("\n")[2]
    return made


def _is_progress(output: NotebookNode) -> bool:
    return WIDGET in output.get("data", {}) or output.get("name") == "stderr"


def _write(path, notebook: NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def table_of_contents(runs: RunList) -> dict:
    """Return Jupyter Book's table of contents: the parts of the run list, with a chapter's single relations below it."""
    (first, *rest), *parts = [[_entry(runs, name) for name in part["pages"]] for part in runs.config["contents"]]
    captions = [part["caption"] for part in runs.config["contents"]]
    chapters = [{"caption": caption, "chapters": part} for caption, part in zip(captions, [rest, *parts], strict=True)]
    return {"format": "jb-book", "root": first["file"], "parts": chapters}


def _entry(runs: RunList, name: str) -> dict:
    if name not in runs.config["notebooks"]:
        return {"file": name}
    entry = {"file": f"notebooks/{name}"}
    if name not in runs.skipped and (relations := runs.pages(name)):
        entry["sections"] = [{"file": f"relations/{relation}"} for relation in relations]
    return entry


if __name__ == "__main__":
    make_pages(RunList(json.loads(sys.argv[1])))
