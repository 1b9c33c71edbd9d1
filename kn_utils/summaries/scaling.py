"""What notebook 09 shows of `benchmarks/scaling.py`: how time and peak memory grow with facts and layers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from kn_utils.paths import DATA, readable_path

MEASURED = DATA / "published" / "scaling.json"


def load_scaling(path: Path = MEASURED) -> tuple[pd.DataFrame, dict]:
    """Return a measurement, a row per process, and the machine and versions it was made with.

    Raises FileNotFoundError if it has not been made.
    """
    if not path.is_file():
        command = f"python benchmarks/scaling.py --output {readable_path(path)}"
        raise FileNotFoundError(f"there is no {readable_path(path)}: `{command}` makes it, on a machine that does nothing else")
    measured = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame(measured["rows"]), measured["machine"]


def growth(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the medians of each point over its turns, with the orders in which time and counted work grow from the point before.

    `rows` has a row per process. An order of 1 means in proportion, one of 2 as the square; `order_of_work` is of the multiply-adds that
    have to be computed. Columns axis ("facts" or "layers", what varies), facts, layers, hidden, prompts, seconds, ms_per_prompt, order,
    order_of_work, gflop_per_second, loaded_mb, peak_memory_mb.
    """
    point = ["axis", "facts", "layers", "hidden", "prompts", "gflop"]
    table = rows.groupby(point, sort=False)[["seconds", "loaded_mb", "peak_memory_mb"]].median().reset_index()
    table["ms_per_prompt"] = 1000 * table["seconds"] / table["prompts"]
    table["gflop_per_second"] = table["gflop"] / table["seconds"]
    size = np.where(table["axis"] == "facts", table["facts"], table["layers"])
    logs = np.log(table[["seconds", "gflop"]].assign(size=size)).groupby(table["axis"]).diff()
    table["order"], table["order_of_work"] = logs["seconds"] / logs["size"], logs["gflop"] / logs["size"]
    shown = ["seconds", "ms_per_prompt", "order", "order_of_work", "gflop_per_second", "loaded_mb", "peak_memory_mb"]
    return table[[*point[:-1], *shown]]
