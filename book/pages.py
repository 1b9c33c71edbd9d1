"""Turns the executed notebooks into pages, and the run list into a table of contents: `python book/pages.py RUN_LIST_AS_JSON`."""

import json
import shlex
import sys
from copy import deepcopy
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from neuron_links import link_neurons
from run_list import NotebookRun, RunList

from kn_utils.paths import ROOT, result_name

WIDGET = "application/vnd.jupyter.widget-view+json"
ANSWER = "## The answer"  # the heading before which a notebook is only set up
APPENDIX = "# Appendix"  # the heading with which a notebook's second page begins
SECOND_PAGE = "_appendix"  # end of the name of that page
SKIPPED = "This chapter is left out: the data set has no web sentences."  # its page stays, since others link to it
OPEN = "show-code"  # the tag of cells whose code is what they teach


def make_pages(runs: RunList) -> None:
    """Write the pages of every run and `book/_toc.yml`. Raises ValueError, with every error, if a notebook ended early."""
    executed = [(run, nbformat.read(ROOT / run.executed, as_version=4)) for run in runs.all_runs()]
    failed = [f"{run.executed}: {error}" for run, notebook in executed for error in errors(notebook)]
    if failed:
        raise ValueError("these notebooks cannot be published:\n" + "\n".join(failed))
    for run, notebook in executed:
        model, dataset = run.parameters["model"], run.parameters.get("dataset", "starter")  # notebook 11 has no data set
        link_neurons(notebook, result_name(model), result_name(dataset))
        first, *second = pages(notebook, run)
        _write(ROOT / run.page, first)
        for appendix in second:
            _write((ROOT / run.page).with_stem(run.notebook + SECOND_PAGE), appendix)
    for name in runs.skipped:
        title = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells[0].source.partition("\n")[0]
        _write(ROOT / f"book/notebooks/{name}.ipynb", new_notebook(cells=[new_markdown_cell(f"{title}\n\n{SKIPPED}")]))
    contents = yaml.safe_dump(table_of_contents(runs), sort_keys=False, allow_unicode=True)
    (ROOT / "book/_toc.yml").write_text(f"# Made by book/pages.py from book/runs.yml.\n{contents}", encoding="utf-8")


def errors(notebook: NotebookNode) -> list[str]:
    """Return the errors in an executed notebook: that it has nothing to show is one, see `run_notebook`."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]


def pages(executed: NotebookNode, run: NotebookRun) -> list[NotebookNode]:
    """Return an executed notebook as a page, and what stands below its heading `APPENDIX`, if it has one, as a second page."""
    made = page(executed)
    starts = [number for number, cell in enumerate(made.cells) if cell.source.startswith(APPENDIX)]
    second = [NotebookNode(made | {"cells": made.cells[start:]}) for start in starts]
    made.cells = [*made.cells[: starts[0] if starts else None], new_markdown_cell(parameters_of(executed, run))]
    return [made, *second]


def page(executed: NotebookNode) -> NotebookNode:
    """Return an executed notebook without its set-up and its progress bars, and with numbered figures.

    Code is folded, but for code that teaches. Code of the answer, and code that shows nothing, is left out.
    """
    made = deepcopy(executed)
    made.metadata.pop("widgets", None)
    for cell in made.cells:
        cell["outputs"] = [output for output in cell.get("outputs", []) if not _is_left_out(output)]
        for output in cell.outputs:
            output.get("data", {}).pop("text/latex", None)  # source code has it, and it would load MathJax
    answer = next((number for number, cell in enumerate(made.cells) if cell.source.startswith(ANSWER)), 0)
    after = (number for number, cell in enumerate(made.cells) if number > answer and cell.source.startswith("#"))
    end = next(after, len(made.cells))
    for number, cell in enumerate(made.cells):
        tag = "remove-cell" if number < answer else "remove-input" if number < end else _code_tag(cell)
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), *([tag] if tag else [])]
    made.cells = [part for cell in made.cells for part in _parts(cell)]
    return made


def _is_left_out(output: NotebookNode) -> bool:
    """Return whether an output is a progress bar, or the caption that follows a figure outside the book."""
    return WIDGET in output.get("data", {}) or output.get("name") == "stderr" or "caption" in output.get("metadata", {})


def _code_tag(cell: NotebookNode) -> str:
    if {OPEN, "remove-input"} & set(cell.metadata.get("tags", [])):
        return ""
    return "hide-input" if cell.outputs else "remove-cell"


def _parts(cell: NotebookNode) -> list[NotebookNode]:
    """Return a cell as cells that show at most one figure each, since captions are set by cell; only the first has the code."""
    if cell.cell_type != "code":
        cell.pop("outputs")
        cell.metadata.pop("tags")
        return [cell]
    if not any("figure" in output.get("metadata", {}) for output in cell.outputs):
        return [cell]
    parts = []
    for number, output in enumerate(cell.outputs):
        part = deepcopy(cell)
        part.outputs, part.id = [output], f"{cell.id}-{number}"
        if number and "remove-input" not in part.metadata.tags:
            part.metadata.tags.append("remove-input")
        if figure := output.get("metadata", {}).pop("figure", None):
            part.metadata["mystnb"] = {"image": {"alt": figure["alt"]}, "figure": {"caption": figure["caption"]}}
        parts.append(part)
    return parts


def parameters_of(executed: NotebookNode, run: NotebookRun) -> str:
    """Return Markdown with the command of a run, and the meanings and defaults of the notebook's parameters."""
    given = " ".join(f"-p {name} {shlex.quote(str(value))}" for name, value in run.parameters.items())
    command = f"```sh\npapermill notebooks/{run.notebook}.ipynb out.ipynb {given}\n```"
    declared = next(cell.source for cell in executed.cells if "parameters" in cell.metadata.get("tags", []))
    return (
        f"## Parameters\n\nThis page was made by\n\n{command}\n\nAll parameters and their defaults:\n\n```python\n{declared}\n```"
    )


def _write(path: Path, notebook: NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def table_of_contents(runs: RunList) -> dict:
    """Return Jupyter Book's table of contents: the parts of the run list."""
    (first, *rest), *parts = [[{"file": _file(runs, name)} for name in _listed(runs, part)] for part in runs.config["contents"]]
    captions = [part["caption"] for part in runs.config["contents"]]
    chapters = [{"caption": caption, "chapters": part} for caption, part in zip(captions, [rest, *parts], strict=True)]
    return {"format": "jb-book", "root": first["file"], "parts": chapters}


def _listed(runs: RunList, part: dict) -> list[str]:
    """Return the pages of a part; a chapter that is skipped has no second page."""
    second_pages = {name + SECOND_PAGE for name in runs.skipped}
    return [name for name in part["pages"] if name not in second_pages]


def _file(runs: RunList, name: str) -> str:
    return f"notebooks/{name}" if name.removesuffix(SECOND_PAGE) in runs.config["notebooks"] else name


if __name__ == "__main__":
    make_pages(RunList(json.loads(sys.argv[1])))
