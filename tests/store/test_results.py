"""Result tables: whole or not there, reused, resumed after any death with the same values; one clear error for each obstacle."""

import errno
import mmap
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kn_utils.paths import table_path
from kn_utils.store import results
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.provenance import package_versions
from kn_utils.store.results import FACTS_PER_PART, compute_in_parts

FACTS = list(range(12 * FACTS_PER_PART))
PARTS = 12
ROWS = 50
INPUTS = {"model": "toy", "seed": 42, "n_facts": None, "nodes": (4, 8), "versions": package_versions()}
TABLES = ("attribution", "prompts")


class Work:
    """Rows that depend on the fact alone; `done` lists the parts asked for; `before(k)` is called ahead of the k-th from 0."""

    def __init__(self, before=lambda k: None):
        self.before, self.done = before, []

    def __call__(self, facts):
        self.before(len(self.done))
        self.done.append(list(facts))
        scores = [pd.DataFrame({"fact": fact, "score": np.random.default_rng(fact).random(ROWS, "float32")}) for fact in facts]
        texts = pd.DataFrame(
            {"fact": facts, "text": [f"fact {fact} — Ω" for fact in facts], "odd": [fact % 2 == 1 for fact in facts]}
        )
        return {"attribution": pd.concat(scores, ignore_index=True), "prompts": texts}


def paths(results_dir):
    return [table_path(results_dir, "toy", "mine", name, "P1") for name in TABLES]


def compute(results_dir, work, **changes):
    compute_in_parts(paths(results_dir), INPUTS | changes, FACTS, work)


def files(results_dir):
    return sorted(
        str(path.relative_to(results_dir)) for path in Path(results_dir).rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def parts_in(results_dir):
    return sorted(path.name for path in paths(results_dir)[0].parent.glob(".P1.*/*") if path.suffix != ".part")


FINISHED = ["toy/mine/attribution/P1.parquet", "toy/mine/prompts/P1.parquet"]


def assert_whole(results_dir):
    """Both tables hold, bit for bit, what `Work` gives for all facts at once, and nothing else is left."""
    assert files(results_dir) == FINISHED
    for path, expected in zip(paths(results_dir), Work()(FACTS).values(), strict=True):
        pd.testing.assert_frame_equal(read_table(path), expected, check_exact=True)


def killed_at(part):
    def before(k):
        if k == part:
            raise KeyboardInterrupt

    return Work(before)


def test_tables_come_back_with_their_provenance(tmp_path):
    work = Work()
    compute(tmp_path, work)
    assert_whole(tmp_path)
    assert [len(part) for part in work.done] == [FACTS_PER_PART] * PARTS
    for path in paths(tmp_path):
        provenance = read_provenance(path)
        assert provenance["inputs"] == INPUTS | {"nodes": [4, 8]}
        assert provenance["inputs"]["versions"].keys() == {"torch", "transformers", "tokenizers", "numpy"}
        assert provenance.keys() == {"inputs", "seconds", "finished", "commit", "kn_utils", "threads", "python", "machine"}
        assert set(pq.read_metadata(path).metadata) == {b"provenance", b"ARROW:schema"}
        assert path.read_bytes().count(b'"n_facts"') == 1  # how it was made stands in the file once


def test_finished_tables_with_equal_inputs_are_reused(tmp_path, capsys):
    compute(tmp_path, Work())
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in paths(tmp_path)]
    again = Work()
    assert capsys.readouterr().out.startswith("P1: 96 facts in ")
    compute(tmp_path, again)
    assert again.done == [] and capsys.readouterr().out == f"P1: reusing {paths(tmp_path)[0]}\n"
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in paths(tmp_path)] == before


def test_other_inputs_compute_anew_and_the_message_names_them(tmp_path, capsys):
    compute(tmp_path, Work())
    again = Work()
    capsys.readouterr()
    compute(tmp_path, again, seed=43, tolerance=0.1)
    assert len(again.done) == PARTS
    said = f"P1: {paths(tmp_path)[0]} was made with other seed, tolerance; computing it anew"
    assert capsys.readouterr().out.splitlines()[0] == said
    assert all(read_provenance(path)["inputs"]["seed"] == 43 for path in paths(tmp_path))


def test_a_lost_side_table_is_made_again(tmp_path, capsys):
    compute(tmp_path, Work())
    paths(tmp_path)[1].unlink()
    compute(tmp_path, Work())
    assert f"{paths(tmp_path)[1]}, made with {paths(tmp_path)[0]}, is missing" in capsys.readouterr().out
    assert_whole(tmp_path)


def test_a_side_table_of_other_inputs_is_not_taken_for_that_of_the_main_table(tmp_path):
    """A run with other inputs that dies while it joins has renamed its side table but not yet its main one."""
    compute(tmp_path / "other", Work(), seed=43)
    compute(tmp_path / "mine", Work())
    shutil.copy(paths(tmp_path / "other")[1], paths(tmp_path / "mine")[1])
    again = Work()
    compute(tmp_path / "mine", again)
    assert len(again.done) == PARTS
    assert read_provenance(paths(tmp_path / "mine")[1])["inputs"]["seed"] == 42


@pytest.mark.parametrize("k", [0, 1, 7, PARTS - 1])
def test_a_run_stopped_at_part_k_resumes_there(tmp_path, k):
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path, killed_at(k))
    assert parts_in(tmp_path) == [f"{part:05d}" for part in range(k)]
    assert not any(path.exists() for path in paths(tmp_path))
    rest = Work()
    compute(tmp_path, rest)
    assert len(rest.done) == PARTS - k and rest.done[0][0] == k * FACTS_PER_PART
    assert_whole(tmp_path)


def test_parts_of_other_inputs_are_not_used_and_go_when_a_table_is_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path, killed_at(5), seed=43)
    work = Work()
    compute(tmp_path, work)
    assert len(work.done) == PARTS and parts_in(tmp_path) == []


@pytest.mark.parametrize("at", [2, 2 * PARTS + 2, 3 * PARTS + 2], ids=["first part", "side table", "main table"])
def test_leftovers_of_a_killed_writer_are_never_taken_for_results(tmp_path, monkeypatch, at):
    """The run dies at its n-th write: in the first part, or when it has joined two parts to one of the tables."""
    whole, calls = pq.ParquetWriter.write_table, []

    def dies(*args, **kwargs):
        whole(*args, **kwargs)
        calls.append(None)
        if len(calls) == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", dies)
        with pytest.raises(KeyboardInterrupt):
            compute(tmp_path, Work())
    assert any(".part" in name for name in files(tmp_path)) and not paths(tmp_path)[0].exists()
    rest = Work()
    compute(tmp_path, rest)
    assert len(rest.done) == (PARTS if at == 2 else 0)
    assert_whole(tmp_path)


def test_a_run_that_dies_while_it_removes_its_parts_is_finished_and_leaves_no_half_parts(tmp_path, monkeypatch):
    def dies(folder, ignore_errors=False):
        if Path(folder, "00001").is_dir():
            Path(folder, "00001", "prompts.parquet").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            compute(tmp_path, Work())
    paths(tmp_path)[0].rename(tmp_path / "main")
    again = Work()
    compute(tmp_path, again)
    assert len(again.done) == PARTS
    (tmp_path / "main").unlink()
    assert_whole(tmp_path)


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
sys.path[:0] = {folders!r}
from test_results import Work, compute, parts_in
for run, part in enumerate({moments}):
    folder = Path({results!r}, str(run))
    child = os.fork()
    if child == 0:
        compute(folder, Work(lambda k: time.sleep(0.01 if k < part + 2 else 60)))
        os._exit(0)
    while len(parts_in(folder)) < part and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.001)
    time.sleep(random.random() * 0.03)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_runs_killed_at_random_moments_resume_with_the_same_values(tmp_path):
    """Each run is killed soon after some part is whole: at work, while writing the next ones, or while joining them all."""
    moments = [PARTS, *random.sample(range(PARTS), 7)]
    folders = [str(Path(__file__).parents[k]) for k in range(3)]
    script = KILLED.format(folders=folders, moments=moments, results=str(tmp_path))
    subprocess.run([sys.executable, "-c", script], check=True, stderr=subprocess.DEVNULL)
    for run, part in enumerate(moments):
        rest = Work()
        compute(tmp_path / str(run), rest)
        assert PARTS - part - 2 <= len(rest.done) <= PARTS - part
        assert_whole(tmp_path / str(run))


@pytest.mark.parametrize("keep", [0, 3, 4, 100, 0.5, -9, -8, -1])
def test_a_truncated_table_is_refused(tmp_path, keep):
    compute(tmp_path, Work())
    path = paths(tmp_path)[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    for use in (read_table, read_provenance, lambda _: compute(tmp_path, Work())):
        assert_refused(use, path)


def assert_refused(use, path):
    with pytest.raises(ValueError, match="is damaged or not a result table") as error:
        use(path)
    assert str(path) in str(error.value) and str(error.value).endswith("delete it and run its step again")


def test_a_flipped_bit_among_the_rows_is_refused_or_changes_nothing(tmp_path):
    compute(tmp_path, Work())
    path = paths(tmp_path)[1]
    whole, expected = path.read_bytes(), read_table(path)
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    refused = 0
    for place in range(4, footer, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            assert read_table(path).equals(expected), f"byte {place}"
        except ValueError as error:
            assert "is damaged or not a result table" in str(error)
            refused += 1
    assert refused > footer / 3 / 2  # flips in what the file repeats, or leaves empty, change nothing


@pytest.mark.parametrize("content", ["no provenance", "text", "other provenance"])
def test_a_file_that_is_no_result_is_refused(tmp_path, content):
    path = paths(tmp_path)[0]
    path.parent.mkdir(parents=True)
    table = Work()([1])["prompts"]
    if content == "text":
        path.write_text("fact,score\n1,0.5\n" * 100)
    else:
        table.to_parquet(path)
    if content == "other provenance":
        schema = pq.read_schema(path).with_metadata({"provenance": "not JSON"})
        pq.write_table(pq.read_table(path).cast(schema).replace_schema_metadata(schema.metadata), path)
    assert_refused(read_provenance, path)
    assert_refused(lambda _: compute(tmp_path, Work()), path)


def test_results_that_are_not_there(tmp_path):
    for read in (read_table, read_provenance):
        with pytest.raises(FileNotFoundError, match=r"no results at .*P1.parquet: run the notebook of that step first"):
            read(paths(tmp_path)[0])


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-20]), Path.unlink])
def test_a_damaged_part_is_named(tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path, killed_at(3))
    part = next(paths(tmp_path)[0].parent.glob(".P1.*/00001"))
    damage(part / "prompts.parquet")
    with pytest.raises(ValueError, match=r"00001 is damaged .*: delete that folder and run the same command again"):
        compute(tmp_path, Work())
    shutil.rmtree(part)
    rest = Work()
    compute(tmp_path, rest)
    assert len(rest.done) == 1
    assert_whole(tmp_path)


def test_an_error_of_the_work_itself_is_passed_on(tmp_path):
    def missing(facts):
        raise FileNotFoundError("data set has no distant/P1.json")

    with pytest.raises(FileNotFoundError, match="^data set has no distant/P1.json$"):
        compute(tmp_path, missing)


def test_two_runs_at_once(tmp_path):
    def while_running(k):
        if k == 2:
            with pytest.raises(
                RuntimeError, match=r"another run is making the same table \(it holds .*P1.lock\); wait for it or use"
            ):
                compute(tmp_path, Work())
            with pytest.raises(RuntimeError, match="another run is making the same table"):
                compute(tmp_path, Work(), seed=43)

    compute(tmp_path, Work(while_running))
    assert_whole(tmp_path)


def test_a_run_that_waited_for_another_computes_nothing(tmp_path, monkeypatch):
    """The other one begins and ends after this one has seen that there is no table, and before it holds the lock."""
    alone, first = results._exclusive_lock, Work()

    def after_another(path):
        monkeypatch.setattr(results, "_exclusive_lock", alone)
        compute(tmp_path, first)
        return alone(path)

    monkeypatch.setattr(results, "_exclusive_lock", after_another)
    compute(tmp_path, Work(lambda k: pytest.fail("computed")))
    assert len(first.done) == PARTS
    assert_whole(tmp_path)


CANNOT_WRITE = (
    r"cannot write results under .*attribution \(.*{}.*\). All finished parts are kept; free space or choose another results_dir"
)


def test_a_results_dir_that_is_a_file(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(OSError, match=CANNOT_WRITE.format("Not a directory")):
        compute(tmp_path / "results", Work())


@pytest.mark.parametrize("part", [0, 5])
def test_an_error_while_writing_keeps_what_is_done(tmp_path, monkeypatch, part):
    whole, work = results.write_table, Work()

    def no_space_from_that_part_on(path, *args):
        if len(work.done) <= part:
            return whole(path, *args)
        Path(path).write_bytes(b"PAR1 and then no more")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(results, "write_table", no_space_from_that_part_on)
        with pytest.raises(OSError, match=CANNOT_WRITE.format("No space left on device")):
            compute(tmp_path, work)
    assert len(parts_in(tmp_path)) == part
    rest = Work()
    compute(tmp_path, rest)
    assert len(rest.done) == PARTS - part
    assert_whole(tmp_path)


def test_a_full_disk_keeps_what_is_done_and_the_run_completes_once_there_is_room(disk):
    """The disk grows by one page after each failure, so that it is full at every part and while the parts are joined."""
    kept = [0]
    for pages in range(1, 200):
        folder = disk(f"size={pages * mmap.PAGESIZE}")
        work = Work()
        try:
            compute(folder, work)
        except OSError as error:
            assert re.match(CANNOT_WRITE.format("No space left on device"), str(error))
            assert not paths(folder)[0].exists()
            kept.append(len(parts_in(folder)))
            assert len(work.done) == min(kept[-1] + 1, PARTS) - kept[-2]
        else:
            break
    assert sorted(set(kept)) == list(range(PARTS + 1)) and kept == sorted(kept) and work.done == []
    assert_whole(folder)


def test_a_read_only_disk_gives_what_is_finished_and_refuses_the_rest(disk, capsys):
    folder = disk("size=4m")
    compute(folder, Work())
    disk("ro")
    compute(folder, Work(lambda k: pytest.fail("computed")))
    assert "reusing" in capsys.readouterr().out
    with pytest.raises(OSError, match=CANNOT_WRITE.format("Read-only file system")):
        compute(folder, Work(), seed=43)


def test_a_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write to any folder")
    with pytest.raises(OSError, match=CANNOT_WRITE.format("Permission denied")):
        compute(tmp_path, Work())


def test_a_resumed_run_counts_the_time_of_all_its_sessions(tmp_path):
    def slow_then_stop(k):
        time.sleep(0.05)
        if k == 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        compute(tmp_path, Work(slow_then_stop))
    compute(tmp_path, Work(lambda k: time.sleep(0.05)))
    assert read_provenance(paths(tmp_path)[0])["seconds"] >= 0.05 * PARTS - 0.05


@pytest.mark.parametrize("count, sizes", [(1, [1]), (8, [8]), (10, [5, 5]), (17, [5, 6, 6]), (25, [6, 6, 6, 7])])
def test_parts_are_of_equal_size(tmp_path, count, sizes):
    work = Work()
    compute_in_parts(paths(tmp_path), INPUTS, list(range(count)), work)
    assert [len(part) for part in work.done] == sizes
