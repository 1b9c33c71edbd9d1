"""Parquet files that carry checksums of all they say: of each page, of their rows, and of their columns and metadata together."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, WHOLE = b"sha256_of_rows", b"sha256"  # names among the metadata


def write_checked(
    path: str | Path, pieces: Iterable[pa.Table], schema: pa.Schema, metadata: dict[bytes, bytes], **options
) -> None:
    """Write tables of one schema as one file, a piece at a time; `options` are those of `pyarrow.parquet.ParquetWriter`."""
    rows = hashlib.sha256()
    with pq.ParquetWriter(path, schema.with_metadata(metadata), write_page_checksum=True, **options) as writer:
        for piece in pieces:
            writer.write_table(piece.replace_schema_metadata(metadata))
            rows.update(_row_hashes(piece))
        found = metadata | {ROWS: rows.hexdigest().encode()}
        writer.add_key_value_metadata({ROWS: found[ROWS], WHOLE: _checksum(schema, found)})


def read_checked(path: str | Path) -> pa.Table:
    """Read a file of `write_checked`. Raises ValueError, or what pyarrow raises, if it is another or damaged."""
    file = pq.ParquetFile(path, page_checksum_verification=True)
    found, table = _metadata(file), file.read()
    if hashlib.sha256(_row_hashes(table)).hexdigest().encode() != found[ROWS]:
        raise ValueError("its rows do not fit their checksum")
    return table


def read_metadata(path: str | Path) -> dict[bytes, bytes]:
    """Read a file's metadata alone. Raises as `read_checked`, but for damage among the rows."""
    return _metadata(pq.ParquetFile(path))


def _metadata(file: pq.ParquetFile) -> dict[bytes, bytes]:
    found = {name: value for name, value in (file.metadata.metadata or {}).items() if name != b"ARROW:schema"}
    if WHOLE not in found:
        raise ValueError("it has no checksum")
    if found[WHOLE] != _checksum(file.schema_arrow, found):
        raise ValueError("its columns and metadata do not fit their checksum")
    return found


def _checksum(schema: pa.Schema, metadata: dict[bytes, bytes]) -> bytes:
    columns = [(field.name, str(field.type)) for field in schema]
    said = sorted((name, value) for name, value in metadata.items() if name != WHOLE)
    return hashlib.sha256(repr((columns, said)).encode()).hexdigest().encode()


def _row_hashes(table: pa.Table) -> bytes:
    return pd.util.hash_pandas_object(table.to_pandas(), index=False).to_numpy().tobytes()
