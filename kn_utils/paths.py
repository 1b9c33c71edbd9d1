"""Where this repository keeps its data and results, whatever folder a notebook runs in."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
OURS = ("starter", "smollm2-135m", "pararel")  # names of models and data sets that are never taken for folders

if not (DATA / "registry.txt").is_file():
    raise ImportError(
        f"kn_utils needs the data of its repository, and {DATA} has none: clone the repository and install it there with "
        "`pip install --editable .`"
    )


def user_path(path: str | Path) -> Path:
    """Return a path as the user means it: `~` is their home, and a relative path lies in this repository."""
    return ROOT / os.path.expanduser(str(path))


def result_name(name: str | Path) -> str:
    """Return the folder name that results of a model or a data set are kept under.

    That is a name of ours or a hub id (with `--` for its slash) as it is. Of a local folder it is the folder's own name and a digest of
    its full path, so that two folders of one name never share results, and none passes for a name of ours.
    """
    folder = Path(os.path.expanduser(str(name)))
    if name in OURS or not folder.is_dir():
        return str(name).replace("/", "--")
    path = folder.resolve()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def table_path(results_dir: str | Path, model: str, dataset: str, table: str, relation: str) -> Path:
    """Return where a table of one relation is kept: `results/<model>/<dataset>/<table>/<relation>.parquet`."""
    return user_path(results_dir) / model / dataset / table / f"{relation}.parquet"


def readable_path(path: Path) -> Path:
    """Return a path as a reader is shown it: from this repository on, if it lies in it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
