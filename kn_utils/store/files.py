"""Result tables as Parquet files with page checksums; the provenance of a table is in the metadata of its file."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

PROVENANCE = b"provenance"  # the key in the file's metadata
DAMAGE = (pa.ArrowException, OSError, KeyError, TypeError, ValueError)  # errors of pyarrow and json for a damaged file


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a result table. Raises FileNotFoundError if there is none, and ValueError if the file is damaged."""
    with _explained_damage(Path(path)):
        return read_rows(path).to_pandas()


def read_provenance(path: str | Path) -> dict:
    """Read the provenance of a table: its `inputs` (everything its values depend on), commit, machine, time. Raises as `read_table`."""
    with _explained_damage(Path(path)):
        return json.loads(pq.read_metadata(path).metadata[PROVENANCE])


def read_rows(path: str | Path) -> pa.Table:
    """Read the rows of a file. Raises one of `DAMAGE` if a page has a wrong checksum, or if it is not a Parquet file."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read()


def write_table(
    path: str | Path, pieces: Iterable[pa.Table], schema: pa.Schema, provenance: dict | None = None, **options
) -> None:
    """Write tables of one schema into one file, one after another; `options` are passed to `pyarrow.parquet.ParquetWriter`."""
    plain = schema.remove_metadata()
    with pq.ParquetWriter(path, plain, write_page_checksum=True, **options) as writer:
        for piece in pieces:
            writer.write_table(piece.replace_schema_metadata(None))
        if provenance is not None:
            writer.add_key_value_metadata({PROVENANCE: json.dumps(provenance, separators=(",", ":")).encode()})


@contextmanager
def _explained_damage(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise FileNotFoundError(f"no results at {path}: run the notebook of that step first")
    try:
        yield
    except DAMAGE as reason:
        raise ValueError(f"{path} is damaged or not a result table ({reason}): delete it and run its step again") from None
