"""The floors of the package: imports run down only, no chapter imports another, and tests mirror the package."""

import ast
import subprocess
import sys

import pytest

from kn_utils.paths import ROOT
from kn_utils.steps import STEPS
from kn_utils.store.provenance import direct_imports

FLOORS = ("data", "model", "store", "stats", "plots", "chapters", "report")  # from the ground up
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "kn_utils").rglob("*.py"))
    if path.stem != "__init__"
]


def place(module: str) -> tuple[int, str]:
    """The number of a module's floor, -1 for the ground, and its chapter, "" outside chapters."""
    _, *names = module.split(".")
    floor = FLOORS.index(names[0]) if len(names) > 1 else -1
    return floor, names[1] if names[0] == "chapters" and len(names) > 2 else ""


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_down_only_and_no_chapter_imports_another(module):
    floor, chapter = place(module)
    for imported in direct_imports(module):
        floor_below, other = place(imported)
        assert floor_below <= floor, f"{module} imports {imported}, which is above it"
        assert not (chapter and other) or chapter == other, f"{module} imports another chapter, {imported}"


def test_every_folder_is_a_floor_and_every_step_has_its_room():
    folders = {path.name for path in (ROOT / "kn_utils").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(FLOORS)
    for step in STEPS:
        assert (ROOT / f"kn_utils/chapters/{step.name}/table.py").is_file()
        assert (ROOT / f"notebooks/{step.notebook}.ipynb").is_file() and step.notebook[3:] == step.name


@pytest.mark.parametrize("module", MODULES)
def test_nothing_happens_at_import(module):
    """Top-level statements only define things: no loop, no call for its effect, no with block."""
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If)
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert docstring or isinstance(node, allowed), f"{module}, line {node.lineno}"


def test_no_module_imports_the_models_of_transformers_before_a_model_is_loaded():
    """They take seconds, also in notebooks that load no model."""
    command = f"import sys, {', '.join(MODULES)}; print('transformers.modeling_utils' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
