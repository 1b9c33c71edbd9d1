"""Publish the tables of a run: `python -m kn_utils.store.publish MODEL DATASET`; `snakemake published` first makes the tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from kn_utils.data.facts import load_dataset
from kn_utils.paths import result_name
from kn_utils.steps import PUBLISHED, STEP_OF, STEPS, Step, upstream
from kn_utils.store.files import read_provenance, write_table
from kn_utils.store.provenance import CHANGED, commit
from kn_utils.store.published import COMPUTED, RESULTS
from kn_utils.store.runs import Run


def publish(run: Run, folder: Path = RESULTS) -> list[Path]:
    """Write the tables of a run as published results and return their paths; older ones of the same tables are replaced.

    Every table has all relations that were run, with the provenance of each. Published tables that the run was made from stay as they are;
    those of other steps that need a replaced table are deleted.
    Raises FileNotFoundError if no step has been run, and ValueError if a table is damaged, belongs to another run or was made by other
    code. Also raises ValueError if a table was made outside a commit or with uncommitted changes, or if this repository has uncommitted
    changes now.
    """
    check_commit("this repository", commit())
    done = {table: [name for name in run.dataset.relations if run.path(table, name).is_file()] for table in PUBLISHED}
    done = {table: relations for table, relations in done.items() if relations}
    if not done:
        run.made_with(STEPS[0].name, run.dataset.relations[0])  # raises an error that tells what to run first
    made = {table: _provenances(run, table, relations) for table, relations in done.items()}
    tables = {table: _joined(run, table, list(relations)) for table, relations in made.items()}
    place = folder / run.model / run.dataset.name
    place.mkdir(parents=True, exist_ok=True)
    paths = {table: place / f"{table}.parquet" for table in tables}
    for table, content in tables.items():
        write_small(content, made[table], paths[table])
    replaced = {STEP_OF[table] for table in done}
    for path in set(place.glob("*.parquet")) - set(paths.values()):
        if _depends_on(STEP_OF[path.stem], replaced):
            path.unlink()
    return list(paths.values())


def _depends_on(step: Step, steps: set[Step]) -> bool:
    """Return whether a step is one of `steps` or needs the tables of one of them, directly or indirectly."""
    return step in steps or any(_depends_on(STEP_OF[name], steps) for name in upstream(step))


def _provenances(run: Run, table: str, relations: Sequence[str]) -> dict[str, dict]:
    made = {relation: read_provenance(run.path(table, relation)) for relation in relations}
    for relation, provenance in made.items():
        check_commit(f"{STEP_OF[table].notebook} of {relation}", provenance["commit"])
    return made


def check_commit(what: str, at: str) -> None:
    """Raise ValueError if a table, named by `what`, was made outside a commit or `at` one with uncommitted changes."""
    if not at:
        raise ValueError(
            f"{what} is at no commit of a git repository: only tables that name the commit they were made at are published"
        )
    if at.endswith(CHANGED):
        raise ValueError(f"{what} has changes that are not committed ({at}): commit them, and run it again if it is a table")


def _joined(run: Run, table: str, relations: Sequence[str]) -> pa.Table:
    rows = run.read(table, relations)
    if table == "completeness":  # one row per prompt and layer would be too large
        rows = quadrature_by_layer(rows)
    return pa.Table.from_pandas(rows.drop(columns=list(COMPUTED.get(table, ()))), preserve_index=False)


def write_small(table: pa.Table, made: dict[str, dict], path: Path) -> None:
    """Write a table with the provenance of each relation, under a temporary name that is then changed to `path`.

    Byte-stream splitting of floats halves the size.
    """
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [name for name in table.column_names if name not in floats]
    encoding = {"use_dictionary": others, "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT")}
    partial = path.with_name(f".{path.name}.part")
    write_table(partial, [table], table.schema, made, compression="zstd", compression_level=19, **encoding)
    partial.replace(path)


def quadrature_by_layer(completeness: pd.DataFrame) -> pd.DataFrame:
    """Return the number of prompts for each relation, layer and number of nodes.

    Columns relation, layer (from 0), nodes, prompts, error (largest estimate) and gap (largest absolute value).
    """
    sized = completeness.assign(gap=completeness["gap"].abs())
    kinds = sized.groupby(["relation", "layer", "nodes"], sort=False)
    return kinds.agg(prompts=("fact", "size"), error=("error", "max"), gap=("gap", "max")).reset_index()


def main() -> None:
    """Publish a run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kn_utils.store.publish", description="Put a run's tables into data/published/results."
    )
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--results-dir", default="results")
    parser.add_argument("--n-facts", type=int)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    run = Run(result_name(given.model), load_dataset(given.dataset), given.n_facts, given.seed, given.results_dir)
    for path in publish(run):
        print(f"{path}: {path.stat().st_size / 1e3:,.0f} kB, {len(read_provenance(path))} relations")


if __name__ == "__main__":
    main()
