"""Our published results, in `data/published/results/<model>/<dataset>/`: one file per table, with all relations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kn_utils.model.forward import probability_of
from kn_utils.paths import DATA
from kn_utils.store.files import read_provenance, read_table

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


def published_inputs(results: PublishedResults, table: str, relation: str, wanted: Mapping) -> dict | None:
    """Return the inputs of a published table of one relation if it has the values of `wanted`; None if there is no such table."""
    try:
        found = results.made_with(table, relation)
    except (FileNotFoundError, KeyError):
        return None
    return found if found.items() >= wanted.items() else None


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
