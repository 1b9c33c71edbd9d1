"""Provenance of tables: the code and the packages on which values depend, the commit and the machine."""

import ast
import hashlib
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version

import kn_utils
from kn_utils.paths import ROOT

PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
NOT_DIGESTED = ("kn_utils.model.architectures",)  # a table depends on one entry alone, which is among the model's settings
CHANGED = "+changes"  # appended to the commit if there are uncommitted changes


@cache
def sources_digest(module: str) -> str:
    """Return the SHA-256 of the source of a module of kn_utils and of all modules that it imports, directly or indirectly.

    The digest is computed from syntax trees without docstrings, so comments and formatting do not change it. `steps`, `paths` and
    `parameters` are not included, since no value depends on them.
    """
    names = sorted(name for name in imported_modules(module) if name.count(".") > 1 and name not in NOT_DIGESTED)
    code = [(name, _syntax(_tree(name))) for name in names]
    return hashlib.sha256(repr(code).encode()).hexdigest()


@cache
def imported_modules(module: str) -> frozenset[str]:
    """Return a module of kn_utils and all modules of kn_utils that it imports, directly or indirectly."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += direct_imports(name)
    return frozenset(found)


@cache
def direct_imports(module: str) -> tuple[str, ...]:
    """Return the modules of kn_utils that a module imports, at the top or inside functions."""
    return imports_in(_tree(module))


def imports_in(code: ast.AST) -> tuple[str, ...]:
    """Return the modules of kn_utils that a piece of code imports."""
    found = []
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if _path(name).is_file() else node.module for name in inside]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return tuple(dict.fromkeys(name for name in found if name.startswith("kn_utils.") and _path(name).is_file()))


def _path(module: str):
    return ROOT / f"{module.replace('.', '/')}.py"


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def _syntax(node: object) -> object:
    """Return a syntax tree as nested lists, without docstrings, positions, and empty fields, which depend on the Python version."""
    if isinstance(node, ast.AST):
        return [type(node).__name__, *_fields(node)]
    return [_syntax(item) for item in node if not _is_docstring(item)] if isinstance(node, list) else repr(node)


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    for name, value in ast.iter_fields(node):
        if value is not None and value != []:
            yield name, _syntax(value)


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache  # looking them up takes longer than reading a small table
def package_versions() -> dict[str, str]:
    """Return the versions of the numeric packages."""
    return {package: version(package) for package in PACKAGES}


@cache
def commit() -> str:
    """Return the commit of this repository, with `CHANGED` appended if files differ from it; "" outside a git repository.

    New files count in `kn_utils` only, where they may be imported. `data/published` does not count, since publishing changes it.
    """
    head = _git("rev-parse", "HEAD")
    tracked = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!data/published")
    return f"{head}{CHANGED}" if head and (tracked or _git("status", "--porcelain", "--", "kn_utils")) else head


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    except FileNotFoundError:  # no git here
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def circumstances(seconds: float) -> dict:
    """Return the part of the provenance on which values do not depend."""
    return {
        "seconds": round(seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "kn_utils": kn_utils.__version__,
        "threads": 1,  # of each worker; `seconds` is the sum over workers
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
