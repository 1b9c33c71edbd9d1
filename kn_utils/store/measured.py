"""Published measurements of the scripts in `benchmarks/`, and the time that tables took."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from kn_utils.paths import DATA, readable_path
from kn_utils.store.files import read_provenance


def load_measured(name: str, folder: Path = DATA / "published") -> tuple[pd.DataFrame, dict]:
    """Return the rows that `benchmarks/<name>.py` measured, and the machine, versions and settings of the measurement.

    Raises FileNotFoundError if there is no measurement.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        command = f"python benchmarks/{name}.py --output {readable_path(path)}"
        raise FileNotFoundError(f"there is no {readable_path(path)}: `{command}` makes it, on a machine that does nothing else")
    content = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame(content["rows"]), content["machine"]


def seconds_taken(paths: Iterable[Path]) -> float:
    """Return the time that the tables at `paths` took, in seconds of one core: the sum over workers, from provenance."""
    return sum(read_provenance(path)["seconds"] for path in paths)
