"""Make the tables of a step; reuse finished tables with equal inputs, and resume killed runs.

A step computes its facts in parts. Each part is written under a temporary name and then renamed, so every part that exists is complete.
When all parts exist, they are joined into the tables in the same way, and then deleted. The first table of the step is written last.
"""

import hashlib
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import filelock
import pandas as pd
import pyarrow as pa
from tqdm.auto import tqdm

from kn_utils.paths import readable_path
from kn_utils.store.files import DAMAGE, read_provenance, read_rows, write_table
from kn_utils.store.provenance import circumstances
from kn_utils.store.workers import run_all

FACTS_PER_PART = 8
Work = Callable[[Sequence], dict[str, pd.DataFrame]]  # the rows of all tables, by name, for some facts


def compute_in_parts(
    tables: Sequence[Path], inputs: dict, facts: Sequence, work: Work, per_part: int = FACTS_PER_PART, workers: int = 1
) -> None:
    """Make the tables of one step for one relation, or reuse them, and print which.

    `tables` are the paths of the step's tables. `work` returns the rows of all tables for at most `per_part` facts. `inputs` is everything
    on which the values depend: tables with equal inputs are reused, tables with other inputs are computed again, and a killed run with
    equal inputs continues after its last complete part. `workers` processes compute the parts.
    Raises RuntimeError if another run is making the same tables, ValueError if an existing table or part is damaged, and OSError, with
    advice, if a table cannot be written.
    """
    main, *sides = tables
    relation = main.stem
    parts = main.parent / f".{relation}.{digest(inputs)[:12]}"
    if _is_finished(tables, inputs, say=print):
        _discard(parts)
        return
    with _exclusive_lock(main.parent / f".{relation}.lock"):
        if _is_finished(tables, inputs, say=lambda _: None):  # another run finished in the meantime
            return
        began = time.monotonic()
        folders = _work_through(parts, facts, work, relation, per_part, workers)
        print(f"{relation}: {len(facts)} facts in {time.monotonic() - began:.1f} s")
        provenance = {"inputs": inputs} | circumstances(sum(map(_seconds, folders)))
        with explained_write_errors(main.parent):
            for table in (*sides, main):
                _join([folder / f"{table.parent.name}.parquet" for folder in folders], table, provenance)
        for left in main.parent.glob(f".{relation}.????????????"):  # also of killed runs with other inputs
            _discard(left)


def digest(inputs: dict) -> str:
    """Return the SHA-256 of a table's inputs."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _is_finished(tables: Sequence[Path], inputs: dict, say: Callable[[str], None]) -> bool:
    main = tables[0]
    if not main.is_file():
        return False
    wanted = json.loads(json.dumps(inputs))
    for path in tables:
        if not path.is_file():
            say(f"{main.stem}: {readable_path(path)}, made with {readable_path(main)}, is missing; computing both anew")
            return False
        found = read_provenance(path).get("inputs", {})
        if changed := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
            say(f"{main.stem}: {readable_path(path)} was made with other {', '.join(changed)}; computing it anew")
            return False
    say(f"{main.stem}: reusing {readable_path(main)}")
    return True


def _work_through(parts: Path, facts: Sequence, work: Work, relation: str, per_part: int, workers: int) -> list[Path]:
    count = math.ceil(len(facts) / per_part)
    starts = [number * len(facts) // count for number in range(count + 1)]  # parts of equal size keep all workers busy
    chunks = [facts[start:end] for start, end in pairwise(starts)]
    folders = [parts / f"{number:05d}" for number in range(count)]
    missing = [(folder, chunk) for folder, chunk in zip(folders, chunks, strict=True) if not folder.is_dir()]
    finished = len(facts) - sum(len(chunk) for _, chunk in missing)
    with tqdm(total=len(facts), initial=finished, desc=relation, unit="fact") as progress:
        for number in run_all(_make_part, [(folder, chunk, work) for folder, chunk in missing], workers):
            progress.update(len(missing[number][1]))
    return folders


def _make_part(folder: Path, facts: Sequence, work: Work) -> None:
    began = time.monotonic()
    tables = work(facts)
    seconds = time.monotonic() - began
    with explained_write_errors(folder.parent.parent):
        partial = folder.with_name(f"{folder.name}.{platform.node()}.{os.getpid()}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, table in tables.items():
            rows = pa.Table.from_pandas(table, preserve_index=False)
            write_table(partial / f"{name}.parquet", [rows], rows.schema)
        (partial / "seconds").write_text(str(seconds), encoding="utf-8")
        partial.rename(folder)


def _seconds(part: Path) -> float:
    """Return the computing time of a part; so the provenance of a resumed run counts all of its sessions."""
    with _explained_damage(part):
        return float((part / "seconds").read_text(encoding="utf-8"))


def _join(parts: list[Path], target: Path, provenance: dict) -> None:
    """Write the rows of all parts as one table, one part at a time: memory does not grow with the number of parts."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    write_table(partial, map(_read_part, parts), _read_part(parts[0]).schema, provenance)
    partial.replace(target)


def _read_part(path: Path) -> pa.Table:
    with _explained_damage(path.parent):
        return read_rows(path)


def _discard(parts: Path) -> None:
    """Delete parts. They are renamed first, so that a kill during the deletion leaves no part that looks complete."""
    removed = parts.with_name(f"{parts.name}.part")
    with suppress(OSError):
        shutil.rmtree(removed, ignore_errors=True)
        if parts.is_dir():
            parts.rename(removed)
            shutil.rmtree(removed)


@contextmanager
def _exclusive_lock(path: Path) -> Iterator[None]:
    lock = filelock.FileLock(path)
    with explained_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RuntimeError(
                f"another run is making the same table (it holds {path}); wait for it or use another results_dir"
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def explained_write_errors(folder: Path) -> Iterator[None]:
    """Replace an error of the file system by one that tells what is kept and what to do."""
    try:
        yield
    except OSError as reason:
        raise OSError(
            f"cannot write results under {folder} ({reason}). All finished parts are kept; "
            "free space or choose another results_dir, then run the same command again."
        ) from reason


@contextmanager
def _explained_damage(part: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as reason:
        raise ValueError(f"{part} is damaged ({reason}): delete that folder and run the same command again") from None
