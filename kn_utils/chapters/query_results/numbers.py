"""Statistics for notebook 09: of `benchmarks/scaling.py`, and of the provenance of tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kn_utils.steps import PUBLISHED, STEPS, Step
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import FACT_KEY

GROWTH = {
    "axis": "what grows",
    "facts": "facts",
    "layers": "layers",
    "workers": "workers",
    "seconds": "seconds",
    "ms_per_prompt": "ms per prompt",
    "order": "exponent of time",
    "order_of_work": "exponent of work",
    "gflop_per_second": "GFLOP/s",
    "loaded_mb": "memory before (MB)",
    "peak_memory_mb": "peak memory (MB)",
}
WHOLE = ["ms_per_prompt", "gflop_per_second", "loaded_mb", "peak_memory_mb"]


def growth(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the medians over repetitions for each size; `rows` are those of `benchmarks/scaling.py`.

    `axis` is what varies, "facts", "layers" or "workers". `order` is the exponent with which the time grows from the size before (1:
    linear, 2: quadratic), `order_of_work` that of the number of multiply-adds of a worker. Other columns: facts, layers, hidden, workers,
    prompts, seconds, ms_per_prompt, gflop_per_second, loaded_mb, peak_memory_mb.
    """
    point = ["axis", "facts", "layers", "hidden", "workers", "prompts", "gflop"]
    table = rows.groupby(point, sort=False)[["seconds", "loaded_mb", "peak_memory_mb"]].median().reset_index()
    table["ms_per_prompt"] = 1000 * table["seconds"] / table["prompts"]
    table["gflop_per_second"] = table["gflop"] / table["seconds"]
    size = [row[row["axis"]] for _, row in table.iterrows()]
    work = table["gflop"] / table["workers"]
    logs = np.log(pd.DataFrame({"seconds": table["seconds"], "work": work, "size": size})).groupby(table["axis"]).diff()
    table["order"], table["order_of_work"] = logs["seconds"] / logs["size"], logs["work"] / logs["size"]
    shown = ["seconds", "ms_per_prompt", "order", "order_of_work", "gflop_per_second", "loaded_mb", "peak_memory_mb"]
    return table[[*point[:-1], *shown]]


def named_growth(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `growth` for display: with headers in words and units, and large numbers without decimals."""
    return table.assign(**table[WHOLE].round().astype(int))[list(GROWTH)].rename(columns=GROWTH)


def scaling_title(rows: pd.DataFrame, machine: dict) -> str:
    """Return the title of the figure of `benchmarks/scaling.py`, with the number of turns and the machine."""
    where = ", ".join(f"{name} {machine[name]}" for name in ("processor", "cores", "torch"))
    return (
        "Attribution by the number of facts, layers and workers\n"
        f"BERT with random weights, medians of {rows['turn'].nunique()} turns, one thread per worker\n{where}"
    )


def ways(made: pd.DataFrame) -> pd.DataFrame:
    """Return the number of tables for each combination of versions, device, Python, machine and threads; `made` are provenances."""
    inputs = pd.json_normalize([inputs["versions"] | {"device": inputs.get("device")} for inputs in made["inputs"]])
    return inputs.join(made[["python", "machine", "threads"]]).value_counts(dropna=False).rename("tables").reset_index()


def published_minutes(published: Sequence[PublishedResults]) -> pd.DataFrame:
    """Return the minutes of one core that each notebook (rows) took for published results (columns), summed over relations."""
    columns = {}
    for results in published:
        facts, prompts = (len(results.read(table, results.relations)) for table in ("facts", "prompts"))
        name = f"{results.model} / {results.dataset}, {facts:,} facts, {prompts:,} prompts"
        columns[name] = {step.notebook[:2]: _minutes(results, step) for step in STEPS if set(step.tables) & set(PUBLISHED)}
    return pd.DataFrame(columns).rename_axis("notebook")


def _minutes(results: PublishedResults, step: Step) -> float:
    """Return the minutes of one core that a step took; all its tables say the same."""
    table = next(table for table in step.tables if table in PUBLISHED)
    return sum(made["seconds"] for made in results.provenance(table).values()) / 60


def finding(facts: pd.DataFrame, neurons: pd.DataFrame, made: pd.DataFrame) -> str:
    """Return two sentences on the tables of a run; `made` are their provenances, with columns notebook and seconds."""
    with_neurons, alike = len(neurons.drop_duplicates(FACT_KEY)), len(ways(made))
    return (
        f"{with_neurons} of {len(facts)} facts have knowledge neurons. The {len(made)} tables of {made['notebook'].nunique()} notebooks "
        f"took {made['seconds'].sum() / 60:.1f} minutes of computing and were made {'alike' if alike == 1 else f'in {alike} ways'}."
    )
