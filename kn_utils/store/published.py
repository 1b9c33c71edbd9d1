"""Our published results, in `data/published/results/<model>/<dataset>/`: one file per table, with all relations.

`python -m kn_utils.store.published MODEL DATASET` publishes the tables of a finished run; `snakemake published` first makes the tables.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from kn_utils.data.facts import load_dataset
from kn_utils.model.forward import probability_of
from kn_utils.paths import DATA, result_name
from kn_utils.steps import PUBLISHED, STEP_OF
from kn_utils.store.files import read_provenance, read_table, write_table
from kn_utils.store.provenance import CHANGED, commit
from kn_utils.store.runs import Run

RESULTS = DATA / "published" / "results"
COMPUTED = {  # columns that are not published, and the columns from which they are computed again, by table
    "modify_activation": {"probability_before": "log_odds_before", "probability_after": "log_odds_after"}
}


@dataclass(frozen=True)
class PublishedResults:
    """Our published tables of one model and data set."""

    model: str
    dataset: str
    folder: Path = RESULTS

    @property
    def relations(self) -> list[str]:
        """The published relations."""
        return list(self.provenance("facts"))

    def path(self, table: str) -> Path:
        """Return the path of a table. Raises FileNotFoundError if it is not published."""
        path = self.folder / self.model / self.dataset / f"{table}.parquet"
        if not path.is_file():
            there = ", ".join(sorted(other.stem for other in path.parent.glob("*.parquet"))) or "none"
            raise FileNotFoundError(f"no table {table} is published of {self.model} on {self.dataset}; tables there: {there}")
        return path

    def provenance(self, table: str) -> dict[str, dict]:
        """Return the provenance of a table, by relation."""
        return read_provenance(self.path(table))

    def made_with(self, table: str, relation: str) -> dict:
        """Return the inputs of a table of one relation."""
        return self.provenance(table)[relation]["inputs"]

    def read(self, table: str, relations: Sequence[str]) -> pd.DataFrame:
        """Return a table of several relations, in their order, as `Run.read`; the columns of `COMPUTED` are computed.

        Raises FileNotFoundError if the table is not published for all of them, and ValueError if the file is damaged.
        """
        published = self.provenance(table)
        if missing := [relation for relation in relations if relation not in published]:
            raise FileNotFoundError(f"{self.path(table)} has no {', '.join(missing)}")
        rows = _with_computed(table, read_table(self.path(table)))
        order = {relation: number for number, relation in enumerate(relations)}
        chosen = rows[rows["relation"].isin(relations)]
        return chosen.sort_values("relation", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def _with_computed(table: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Insert the columns of `COMPUTED` before those that they are computed from, in a table without them."""
    columns = {name: source for name, source in COMPUTED.get(table, {}).items() if name not in rows}
    place = min((rows.columns.get_loc(source) for source in columns.values()), default=0)
    for shift, (name, source) in enumerate(columns.items()):
        rows.insert(place + shift, name, probability_of(rows[source]))
    return rows


def published_results(folder: Path = RESULTS) -> list[PublishedResults]:
    """Return all our published results, sorted by name."""
    folders = sorted(path.parent for path in folder.glob("*/*/facts.parquet"))
    return [PublishedResults(found.parent.name, found.name, folder) for found in folders]


def is_same_run(results: PublishedResults, run: Run, relations: Sequence[str]) -> bool:
    """Return whether the published knowledge neurons of these relations have the same inputs as the run's."""
    if (results.model, results.dataset) != (run.model, run.dataset.name) or not set(relations) <= set(results.relations):
        return False
    if not all(run.path("knowledge_neurons", relation).is_file() for relation in relations):
        return False
    made = results.provenance("knowledge_neurons")
    return all(made[relation]["inputs"] == run.made_with("knowledge_neurons", relation) for relation in relations)


def publish(run: Run, folder: Path = RESULTS) -> list[Path]:
    """Write the tables of a run as published results and return their paths; older ones of the same model and data set are replaced.

    Every table has all relations that were run, with the provenance of each. Raises FileNotFoundError if step 1 has not been run for any
    relation, and ValueError if a table is damaged, belongs to another run or was made by other code. Also raises ValueError if a table was
    made outside a commit or with uncommitted changes, or if this repository has uncommitted changes now.
    """
    _check_commit("this repository", commit())
    done = {table: [name for name in run.dataset.relations if run.path(table, name).is_file()] for table in PUBLISHED}
    if not done["facts"]:
        run.made_with("facts", run.dataset.relations[0])  # raises an error that tells what to run first
    made = {table: _provenances(run, table, relations) for table, relations in done.items() if relations}
    tables = {table: _joined(run, table, list(relations)) for table, relations in made.items()}
    place = folder / run.model / run.dataset.name
    place.mkdir(parents=True, exist_ok=True)
    paths = {table: place / f"{table}.parquet" for table in tables}
    for table, content in tables.items():
        partial = place / f".{table}.parquet.part"
        write_small(content, made[table], partial)
        partial.replace(paths[table])
    for leftover in set(place.glob("*.parquet")) - set(paths.values()):
        leftover.unlink()
    return list(paths.values())


def _provenances(run: Run, table: str, relations: Sequence[str]) -> dict[str, dict]:
    made = {relation: read_provenance(run.path(table, relation)) for relation in relations}
    for relation, provenance in made.items():
        _check_commit(f"{STEP_OF[table].notebook} of {relation}", provenance["commit"])
    return made


def _check_commit(what: str, at: str) -> None:
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
    """Write a table with the provenance of each relation. Byte-stream splitting of floats halves the size."""
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [name for name in table.column_names if name not in floats]
    encoding = {"use_dictionary": others, "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT")}
    write_table(path, [table], table.schema, made, compression="zstd", compression_level=19, **encoding)


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
        prog="python -m kn_utils.store.published", description="Put a run's tables into data/published/results."
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
