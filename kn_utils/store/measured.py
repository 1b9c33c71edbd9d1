"""What scripts in `benchmarks/` measured, as it is published."""

import json
from pathlib import Path

import pandas as pd

from kn_utils.paths import DATA, readable_path


def load_measured(name: str, folder: Path = DATA / "published") -> tuple[pd.DataFrame, dict]:
    """Return the rows that `benchmarks/<name>.py` measured, and the machine, versions and settings it was made with.

    Raises FileNotFoundError if it has not been made.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        command = f"python benchmarks/{name}.py --output {readable_path(path)}"
        raise FileNotFoundError(f"there is no {readable_path(path)}: `{command}` makes it, on a machine that does nothing else")
    measured = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame(measured["rows"]), measured["machine"]
