"""Result tables: one Parquet file per step, model, data set and relation, with provenance; reused when finished, resumed when killed.

A step works through its facts in parts. Each part is written beside the results and renamed, so a file that is there is whole; when all
parts are there they are joined, again beside and renamed, and removed. The step's own table is always the last to appear.
"""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import filelock
import pandas as pd
import pyarrow as pa
import torch
from tqdm.auto import tqdm

import kn_utils
from kn_utils.checked_files import read_checked, read_metadata, write_checked
from kn_utils.paths import readable_path

PROVENANCE = b"knowledge_neurons"
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
FACTS_PER_PART = 8
_DAMAGE = (pa.ArrowException, OSError, KeyError, TypeError, ValueError)  # what a damaged file makes pyarrow and json raise


class Shard(NamedTuple):
    """One of `of` equal shares of a relation's facts, counted from 1, for a run of its own."""

    number: int
    of: int


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a result table. Raises FileNotFoundError if there is none and ValueError if the file is damaged."""
    with _readable(Path(path)):
        return read_checked(path).to_pandas()


def read_provenance(path: str | Path) -> dict:
    """Read how a table was made: its `inputs` (all that its values depend on), versions, machine, time. Raises as `read_table`."""
    with _readable(Path(path)):
        return json.loads(read_metadata(path)[PROVENANCE])


@contextmanager
def _readable(path: Path):
    if not path.is_file():
        raise FileNotFoundError(f"no results at {path}: run the notebook of that step first")
    try:
        yield
    except _DAMAGE as reason:
        raise ValueError(f"{path} is damaged or not a result table ({reason}): delete it and run its step again") from None


def fingerprint() -> dict[str, str]:
    """Return the versions that values may depend on: this project's and those of the numeric packages."""
    return {"kn_utils": kn_utils.__version__} | {package: version(package) for package in PACKAGES}


def compute_in_parts(
    main: Path,
    side_tables: Sequence[str],
    inputs: dict,
    facts: Sequence,
    work: Callable[[Sequence], dict[str, pd.DataFrame]],
    per_part: int = FACTS_PER_PART,
    shard: Shard | None = None,
) -> None:
    """Make the tables of one step for one relation, unless they are there already; say so in either case.

    `main` is the path of the step's own table; `side_tables` names others made with it, kept in folders beside its folder. `work` turns
    `per_part` facts into the rows of all tables, by name. `inputs` is all that the values depend on: finished tables with equal inputs are
    kept, with others they are made anew, and a killed run with equal inputs goes on after its last whole part. A `shard` makes its share
    of the parts and no table, so that several runs, on several machines, can prepare what a run without it then joins.
    Raises RuntimeError if another run is making the same tables, ValueError if a table or part that is there is damaged, and OSError,
    with what to do, if they cannot be written.
    """
    relation = main.stem
    tables = {name: main.parent.parent / name / main.name for name in [*side_tables, main.parent.name]}
    parts = main.parent / f".{relation}.{_digest(inputs)}"
    if _is_finished(main, tables, inputs, say=print):
        _discard(parts)
        return
    share = f".{shard.number}-of-{shard.of}" if shard else ""
    with _alone(main.parent / f".{relation}{share}.lock"):
        if _is_finished(main, tables, inputs, say=_nothing):  # another run has made them just before
            return
        folders = _work_through(parts, facts, work, relation, per_part, shard or Shard(1, 1))
        if shard:
            return
        provenance = {"inputs": inputs} | _circumstances(sum(map(_seconds, folders)))
        with _writable(main.parent):
            for name, target in tables.items():
                _join([folder / f"{name}.parquet" for folder in folders], target, provenance)
        for left in main.parent.glob(f".{relation}.????????????"):  # of this run, and of killed ones with other inputs
            _discard(left)


def _is_finished(main: Path, tables: dict[str, Path], inputs: dict, say: Callable[[str], None]) -> bool:
    if not main.is_file():
        return False
    wanted = json.loads(json.dumps(inputs))
    for path in reversed(tables.values()):
        if not path.is_file():
            say(f"{main.stem}: {readable_path(path)}, made with {readable_path(main)}, is missing; computing both anew")
            return False
        found = read_provenance(path).get("inputs", {})
        if changed := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
            say(f"{main.stem}: {readable_path(path)} was made with other {', '.join(changed)}; computing it anew")
            return False
    say(f"{main.stem}: reusing {readable_path(main)}")
    return True


def _nothing(_: str) -> None:
    """Say nothing."""


def _work_through(parts: Path, facts: Sequence, work: Callable, relation: str, per_part: int, shard: Shard) -> list[Path]:
    starts = range(0, len(facts), per_part)[shard.number - 1 :: shard.of]
    chunks = [facts[start : start + per_part] for start in starts]
    folders = [parts / f"{start // per_part:05d}" for start in starts]
    missing = [(folder, chunk) for folder, chunk in zip(folders, chunks, strict=True) if not folder.is_dir()]
    still = sum(len(chunk) for _, chunk in missing)
    total = sum(map(len, chunks))
    with tqdm(total=total, initial=total - still, desc=relation, unit="fact") as progress:
        for folder, chunk in missing:
            began = time.monotonic()
            tables = work(chunk)
            with _writable(parts.parent):
                _write_part(folder, tables, time.monotonic() - began)
            progress.update(len(chunk))
    return folders


def _write_part(folder: Path, tables: dict[str, pd.DataFrame], seconds: float) -> None:
    partial = folder.with_name(f"{folder.name}.{platform.node()}.{os.getpid()}.part")  # a shard may be at the same part
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, table in tables.items():
        rows = pa.Table.from_pandas(table, preserve_index=False)
        write_checked(partial / f"{name}.parquet", [rows], rows.schema, {})
    (partial / "seconds").write_text(str(seconds), encoding="utf-8")
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(partial)  # another run has made the same part meanwhile, with the same values


def _seconds(part: Path) -> float:
    """The time a part took, so that a resumed run's provenance counts all of its sessions."""
    try:
        return float((part / "seconds").read_text(encoding="utf-8"))
    except _DAMAGE as reason:
        raise ValueError(f"{part} is damaged ({reason}): delete that folder and run the same command again") from None


def _join(parts: list[Path], target: Path, provenance: dict) -> None:
    """Write the rows of all parts as one table, a part at a time, so that memory does not grow with their number."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    schema = _read_part(parts[0]).schema
    write_checked(partial, map(_read_part, parts), schema, {PROVENANCE: json.dumps(provenance).encode()})
    partial.replace(target)


def _read_part(path: Path) -> pa.Table:
    try:
        return read_checked(path)
    except _DAMAGE as reason:
        raise ValueError(
            f"{path} is damaged ({reason}): delete the folder {path.parent} and run the same command again"
        ) from None


def _discard(parts: Path) -> None:
    """Remove parts that have been joined; renamed first, so that a kill half-way leaves none that looks whole."""
    removed = parts.with_name(f"{parts.name}.part")
    with suppress(OSError):
        shutil.rmtree(removed, ignore_errors=True)
        if parts.is_dir():
            parts.rename(removed)
            shutil.rmtree(removed)


def _circumstances(seconds: float) -> dict:
    return {
        "seconds": round(seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _digest(inputs: dict) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def _alone(path: Path):
    lock = filelock.FileLock(path)
    with _writable(path.parent):
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
def _writable(folder: Path):
    try:
        yield
    except OSError as reason:
        raise OSError(
            f"cannot write results under {folder} ({reason}). All finished parts are kept; "
            "free space or choose another results_dir, then run the same command again."
        ) from reason
