"""The files of this repository that an executed notebook depends on, read from what it imports."""

import ast
import json
from functools import cache

from kn_utils.paths import ROOT
from kn_utils.steps import Step
from kn_utils.store.provenance import imported_modules, imports_in

READ_BY = {  # files that a module reads, whatever it is called with
    "kn_utils.data.not_facts": "data/not_facts/**/*.*",
    "kn_utils.report.all_facts": "data/published/all_facts/*/*/*.parquet",
    "kn_utils.store.measured": "data/published/*.json",
    "kn_utils.store.paper": "data/published/paper.csv",
    "kn_utils.store.published": "data/published/results/*/*/*.parquet",
}


@cache
def notebook_sources(notebook: str) -> list[str]:
    """Return a notebook and all files behind it: the modules that its cells import, those these import, and what they always read."""
    template = _template(notebook)
    cells = json.loads((ROOT / template).read_text(encoding="utf-8"))["cells"]
    lines = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code").splitlines()
    code = "\n".join(line for line in lines if not line.startswith(("%", "!")))  # IPython's own commands are no Python
    return [template, *_files(*imports_in(ast.parse(code)))]


def table_sources(step: Step) -> list[str]:
    """Return a step's notebook and the code that its tables depend on: the module that makes them, and all that it imports."""
    return [_template(step.notebook), *_code(f"kn_utils.chapters.{step.name}.table")]


def explorer_sources() -> list[str]:
    """Return the files that the explorer's data depend on: code, published tables, labels and the bundled weights."""
    bundled = [path for name in ("relations.jsonl", "model/*.*") for path in ROOT.glob(f"data/starter/{name}")]
    return [*_files("kn_utils.report.explorer"), *sorted(str(path.relative_to(ROOT)) for path in bundled)]


def _template(notebook: str) -> str:
    return f"notebooks/{notebook}.ipynb"


def _files(*modules: str) -> list[str]:
    every = set().union(*map(imported_modules, modules))
    data = [path for module in every if module in READ_BY for path in ROOT.glob(READ_BY[module])]
    return _code(*modules) + sorted(str(path.relative_to(ROOT)) for path in data)


def _code(*modules: str) -> list[str]:
    return [f"{module.replace('.', '/')}.py" for module in sorted(set().union(*map(imported_modules, modules)))]
