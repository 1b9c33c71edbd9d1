"""What an executed notebook must be before it is published: Jupyter Book shows one that failed, or never ran, without a word."""

from collections.abc import Mapping

from nbformat import NotebookNode


def problems(executed: NotebookNode, template: NotebookNode, parameters: Mapping) -> list[str]:
    """Return what is wrong with an executed notebook; nothing if it ran to its end, from this template and with these parameters."""
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    found = [f"cell {number} failed: {error}" for number, cell in enumerate(cells, 1) for error in _errors(cell)]
    never = [number for number, cell in enumerate(cells, 1) if cell.source.strip() and cell.execution_count is None]
    if never:
        found.append(f"code cells {', '.join(map(str, never))} were not executed")
    recorded = executed.metadata.get("papermill", {}).get("parameters", {})
    for name in sorted(parameters.keys() | recorded.keys()):
        if name not in recorded or name not in parameters or recorded[name] != parameters[name]:
            found.append(f"it ran with {name} = {recorded.get(name)!r} where {parameters.get(name)!r} is asked for")
    if _sources(executed) != _sources(template):
        found.append("its cells are not those of the notebook as it is stored now")
    return found


def _errors(cell: NotebookNode) -> list[str]:
    return [f"{output.ename}: {output.evalue}" for output in cell.outputs if output.output_type == "error"]


def _sources(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
