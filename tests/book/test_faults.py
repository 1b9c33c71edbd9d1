"""The workflow under kills and clocks that jump: what is finished stays, what is resumed ends with the same values."""

import os
import shutil
import time

import pytest
from faults import Workflow, differences, prepare, runner_of, trial

from kn_utils.store.files import read_provenance

pytestmark = [pytest.mark.endurance, pytest.mark.xdist_group("faults")]
LAST = "knowledge_neurons"  # the second step; `python tests/faults.py` runs all
HOUR = 3600


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The first two steps, run without a disturbance."""
    workflow = Workflow(prepare(tmp_path_factory.mktemp("faults") / "project"), "alone", LAST)
    workflow.complete({})
    return workflow


@pytest.fixture
def finished(alone):
    """A function that gives a workflow of this name with the finished results of `alone`."""

    def finished(results):
        shutil.copytree(alone.folder, alone.project / results)
        return Workflow(alone.project, results, LAST)

    return finished


def tables_of(workflow, step):
    return sorted(workflow.folder.glob(f"*/*/{step}/P*.parquet"))


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, "Snakemake has ended"
        time.sleep(0.02)


def test_a_workflow_that_is_killed_ends_with_the_same_tables(alone):
    """Snakemake is killed once, and has to be unlocked, and what runs a notebook once; the kernel below."""
    killed, wrong = trial(alone, kills=2, seed=4)
    assert wrong == []
    assert sorted(victim for workflow in killed for _, victim in workflow.struck) == ["runner", "workflow"]


def test_a_step_that_fails_keeps_the_tables_it_has_finished(finished):
    """Snakemake by itself removes what a failed job has made, or puts back what was there before."""
    workflow = finished("failed")
    path = tables_of(workflow, "attribution")[-1]
    process = workflow.snakemake("--forcerun", "attribution", seed=43)
    wait_until(lambda: read_provenance(path)["inputs"]["seed"] == 43, process)
    workflow.strike(process, runner_of(process), "kernel")
    assert process.wait() == 1
    assert read_provenance(path)["inputs"]["seed"] == 43


@pytest.mark.long
def test_a_full_disk_stops_the_workflow_with_what_to_do_and_it_goes_on_once_there_is_room(alone, disk):
    needed = sum(path.stat().st_size for path in alone.folder.rglob("*") if path.is_file())
    workflow = Workflow(alone.project, str(disk(f"size={needed // 5}")), LAST)
    assert workflow.snakemake().wait() == 1
    assert "No space left on device" in workflow.printed()
    assert "are kept; free space or choose another results_dir, then run the same command again" in workflow.printed()
    disk(f"size={2 * needed}")
    workflow.complete({})
    assert differences(workflow, alone) == []


@pytest.mark.long
def test_tables_of_a_clock_that_was_ahead_are_kept_until_it_is_right(alone, finished):
    """Snakemake refuses to go on from tables that are newer than the time now; nothing is lost by that."""
    workflow = finished("ahead")
    set_time(tables_of(workflow, "attribution"), time.time() + HOUR)
    assert workflow.snakemake().wait() == 1
    assert "could indicate a clock skew problem" in workflow.printed()
    set_time(tables_of(workflow, "attribution"), time.time())
    workflow.complete({})
    assert_as_left_alone(workflow, alone)


@pytest.mark.long
def test_tables_older_than_what_they_were_made_from_are_looked_at_again_and_reused(alone, finished):
    workflow = finished("behind")
    set_time(tables_of(workflow, LAST), time.time() - HOUR)
    workflow.complete({})
    assert f"(Rule: {LAST})" in workflow.printed()
    assert_as_left_alone(workflow, alone)
    workflow.complete({})
    assert workflow.printed().count(f"localrule {LAST}") == 1


def set_time(paths, seconds):
    for path in paths:
        os.utime(path, (seconds, seconds))


def assert_as_left_alone(workflow, alone):
    """The very files: with the times of their making, which a table that is made anew does not keep."""
    assert differences(workflow, alone) == []
    for path in workflow.folder.rglob("P*.parquet"):
        assert path.read_bytes() == (alone.folder / path.relative_to(workflow.folder)).read_bytes()
