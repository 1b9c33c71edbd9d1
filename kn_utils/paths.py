"""Paths of data and results. They do not depend on the folder in which a notebook runs."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
OURS = ("starter", "smollm2-135m", "pararel")  # bundled names, never taken for folders

if not (DATA / "registry.txt").is_file():
    raise ImportError(
        f"kn_utils needs the data of its repository, and {DATA} has none: clone the repository and install it there with "
        "`pip install --editable .`"
    )


def user_path(path: str | Path) -> Path:
    """Return an absolute path: `~` is the user's home, and a relative path lies in this repository."""
    return ROOT / os.path.expanduser(str(path))


def result_name(name: str | Path) -> str:
    """Return the folder name for the results of a model or a data set.

    A bundled name stays as it is, and a hub id gets `--` in place of its slash. A local folder or file gets its name and a digest of its
    full path. So two of the same name never share results, and no folder is mistaken for a bundled model.
    """
    found = Path(os.path.expanduser(str(name)))
    if name in OURS or not found.exists():
        return str(name).replace("/", "--")
    path = found.resolve()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def table_path(results_dir: str | Path, model: str, dataset: str, table: str, relation: str) -> Path:
    """Return the path `<results_dir>/<model>/<dataset>/<table>/<relation>.parquet`."""
    return user_path(results_dir) / model / dataset / table / f"{relation}.parquet"


def readable_path(path: Path) -> Path:
    """Return a path for messages: relative to this repository if it lies inside."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
