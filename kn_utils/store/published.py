"""Our own published results, in `data/published/results/`: all relations of a model and data set in one file per table.

`python -m kn_utils.store.published MODEL DATASET` puts the tables of finished runs there; `snakemake published` runs first what they need.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from kn_utils.data.facts import load_dataset
from kn_utils.paths import DATA, result_name
from kn_utils.steps import PUBLISHED, STEP_OF
from kn_utils.store.files import read_provenance, read_table, write_table
from kn_utils.store.provenance import CHANGED, commit
from kn_utils.store.runs import Run, scope

RESULTS = DATA / "published" / "results"


@dataclass(frozen=True)
class PublishedResults:
    """Our own published tables of one model and data set."""

    model: str
    dataset: str
    folder: Path = RESULTS

    @property
    def relations(self) -> list[str]:
        """The relations whose facts are published."""
        return list(self.provenance("facts"))

    def scope(self, relations: Sequence[str]) -> str:
        """Return the model, the data set and the relations, or their number, for readers."""
        return scope(self.model, self.dataset, relations)

    def path(self, table: str) -> Path:
        """Return where a table lies. Raises FileNotFoundError if it is not published."""
        place = self.folder / self.model / self.dataset
        if not (place / f"{table}.parquet").is_file():
            there = ", ".join(sorted(path.stem for path in place.glob("*.parquet"))) or "none"
            raise FileNotFoundError(f"no table {table} is published of {self.model} on {self.dataset}; tables there: {there}")
        return place / f"{table}.parquet"

    def provenance(self, table: str) -> dict[str, dict]:
        """Return how a table was made, by relation, as `read_provenance` does for a single one."""
        return read_provenance(self.path(table))

    def made_with(self, table: str, relation: str) -> dict:
        """Return the inputs that a table of a relation was made with."""
        return self.provenance(table)[relation]["inputs"]

    def read(self, table: str, relations: Sequence[str]) -> pd.DataFrame:
        """Return a table of several relations joined, as `Run.read` does.

        Raises FileNotFoundError if it is not published, or not of all these relations, and ValueError if the file is damaged.
        """
        there = self.provenance(table)
        if missing := [relation for relation in relations if relation not in there]:
            raise FileNotFoundError(f"{self.path(table)} has no {', '.join(missing)}")
        rows = read_table(self.path(table))
        place = {relation: number for number, relation in enumerate(relations)}
        wanted = rows[rows["relation"].isin(relations)]
        return wanted.sort_values("relation", key=lambda names: names.map(place), kind="stable", ignore_index=True)


def published_results(folder: Path = RESULTS) -> list[PublishedResults]:
    """Return all our published results, in the order of their names."""
    places = sorted(path.parent for path in folder.glob("*/*/facts.parquet"))
    return [PublishedResults(place.parent.name, place.name, folder) for place in places]


def is_same_run(results: PublishedResults, run: Run, relations: Sequence[str]) -> bool:
    """Return whether published knowledge neurons of a run's relations are the run's own: made with the same inputs."""
    if (results.model, results.dataset) != (run.model, run.dataset.name) or not set(relations) <= set(results.relations):
        return False
    if not all(run.path("knowledge_neurons", relation).is_file() for relation in relations):
        return False
    made = results.provenance("knowledge_neurons")
    return all(made[relation]["inputs"] == run.made_with("knowledge_neurons", relation) for relation in relations)


def publish(run: Run, folder: Path = RESULTS) -> list[Path]:
    """Write a run's tables as published results, in place of earlier ones of its model and data set, and return their paths.

    Every table has the relations that were run, in the data set's order, and the provenance of each. Raises FileNotFoundError if step 1
    has not been run for any relation, and ValueError if a table is damaged, belongs to another run, was made by other code than this, or
    was made at no commit or beside changes that were not committed; the same for the repository as it is now.
    """
    _check_commit("this repository", commit())
    done = {table: [name for name in run.dataset.relations if run.path(table, name).is_file()] for table in PUBLISHED}
    if not done["facts"]:
        run.made_with("facts", run.dataset.relations[0])  # its error says what to run first
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
    if table == "completeness":  # a row per prompt and layer would be large
        rows = quadrature_by_layer(rows)
    return pa.Table.from_pandas(rows, preserve_index=False)


def write_small(table: pa.Table, made: dict[str, dict], path: Path) -> None:
    """Write a table with the provenance of each relation; numbers byte by byte, the high bytes together, which halves their size."""
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [name for name in table.column_names if name not in floats]
    encoding = {"use_dictionary": others, "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT")}
    write_table(path, [table], table.schema, made, compression="zstd", compression_level=19, **encoding)


def quadrature_by_layer(completeness: pd.DataFrame) -> pd.DataFrame:
    """Count the prompts of each relation and layer by the nodes they took.

    Columns relation, layer (from 0), nodes, prompts, `error` (the largest of the estimated ones) and `gap` (the largest, without sign).
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
