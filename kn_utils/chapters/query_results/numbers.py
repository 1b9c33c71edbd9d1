"""What notebook 09 shows of `benchmarks/scaling.py`: how time and peak memory grow with facts and layers."""

import numpy as np
import pandas as pd

from kn_utils.store.runs import FACT_KEY


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


def ways(made: pd.DataFrame) -> pd.DataFrame:
    """Count the tables by how they were made: versions, device, Python, machine and threads; `made` has a row per provenance."""
    inputs = pd.json_normalize([inputs["versions"] | {"device": inputs.get("device")} for inputs in made["inputs"]])
    return inputs.join(made[["python", "machine", "threads"]]).value_counts(dropna=False).rename("tables").reset_index()


def finding(facts: pd.DataFrame, neurons: pd.DataFrame, made: pd.DataFrame) -> str:
    """Return what the tables of a run hold and how they were made, in two sentences; `made` as of `ways`, with notebook and seconds."""
    with_neurons, alike = len(neurons.drop_duplicates(FACT_KEY)), len(ways(made))
    return (
        f"{with_neurons} of {len(facts)} facts have knowledge neurons. The {len(made)} tables of {made['notebook'].nunique()} notebooks "
        f"took {made['seconds'].sum() / 60:.1f} minutes of computing and were made {'alike' if alike == 1 else f'in {alike} ways'}."
    )
