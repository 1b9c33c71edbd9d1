"""The workflow on a SLURM of this machine: a job per notebook and relation, and per share of its facts; tables as of a local run."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pandas as pd
import pytest
import tiny_folders
from slurm.local_slurm import NODES, local_slurm, missing
from workflow import snakemake

from kn_utils.paths import MADE_BY, ROOT
from kn_utils.store.results import FACTS_PER_PART, read_table

LACKS = missing() + ["Snakemake's SLURM plugin"] * (find_spec("snakemake_executor_plugin_slurm") is None)
needs_slurm = pytest.mark.skipif(bool(LACKS), reason=f"a local SLURM needs what this machine lacks: {', '.join(LACKS)}")
RELATIONS = ("P19", "P36")  # the run list wants a relation that 07 is about
FACTS, SHARDS = 18, 2  # three parts, of which one share has two
STEPS = ("01_attribution", "02_knowledge_neurons")
PROFILE = ["--profile", ROOT / "profiles/slurm", "--configfile", ROOT / "profiles/slurm/runs.yml"]
SQUEUE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"]


def squeue(columns, environment, states="all"):
    """What SLURM says of its jobs, one line each."""
    command = ["squeue", f"--states={states}", "--noheader", f"--format={columns}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.slow
@needs_slurm
def test_tables_made_on_the_nodes_of_a_cluster_are_those_of_a_local_run(folder_of, tmp_path):
    data = tiny_folders.write_data(
        tmp_path / "tiny",
        {relation: tiny_folders.many_facts(FACTS) for relation in RELATIONS},
        {relation: tiny_folders.TEMPLATES["P36"] for relation in RELATIONS},
    )

    in_shares = tmp_path / "shards.yml"
    in_shares.write_text(f"notebooks: {{01_attribution: {{shards: {SHARDS}}}}}", encoding="utf-8")

    def tables(place, *arguments, environment=None):
        config = {"model": folder_of("bert"), "dataset": data, "results_dir": tmp_path / place, "n_facts": "all"}
        settings = [f"{name}={value}" for name, value in config.items()]
        one_thread = (environment or os.environ) | {"OMP_NUM_THREADS": "1"}
        snakemake(tmp_path, "tables", "--until", "knowledge_neurons", *arguments, "--config", *settings, environment=one_thread)
        made = tmp_path / place / "tiny-bert" / "tiny"
        names = [name for step in STEPS for name in MADE_BY[step]]
        return {(name, relation): read_table(made / name / f"{relation}.parquet") for name in names for relation in RELATIONS}

    with local_slurm() as environment:
        there = tables("there", *PROFILE, in_shares, *SQUEUE, environment=environment)
        jobs = squeue("%T %N", environment)
    assert len(jobs) == (len(STEPS) + SHARDS) * len(RELATIONS)
    assert set(jobs) == {f"COMPLETED {node}" for node in NODES}
    here = tables("here", "--cores", 2)  # where all relations are one job
    for key, table in here.items():
        assert len(table)
        pd.testing.assert_frame_equal(there[key], table, check_exact=True)


@pytest.mark.slow
@needs_slurm
def test_a_job_that_is_killed_is_submitted_again_and_ends_with_the_same_tables(tmp_path):
    """It is killed as SLURM ends a job that runs out of time, after the first of the three parts of its facts."""
    config = ["--until", "attribution", "--config", "relations=P19", f"n_facts={3 * FACTS_PER_PART}"]

    def tables(place, *arguments, environment=os.environ):
        one_thread = environment | {"OMP_NUM_THREADS": "1"}
        snakemake(tmp_path, "tables", *arguments, *config, f"results_dir={tmp_path / place}", environment=one_thread)
        return [read_table(tmp_path / place / f"starter/starter/{name}/P19.parquet") for name in MADE_BY[STEPS[0]]]

    with local_slurm() as environment, ThreadPoolExecutor() as pool:
        running = pool.submit(tables, "there", *PROFILE, *SQUEUE, environment=environment)
        while not list((tmp_path / "there").glob("*/*/attribution/.P19.*/00000")):
            assert not running.done(), running.result()
            time.sleep(0.2)
        [job] = squeue("%i", environment, "RUNNING")
        subprocess.run(["scancel", job], env=environment, check=True)
        there = running.result()
        assert sorted(squeue("%T", environment)) == ["CANCELLED", "COMPLETED"]
    for found, expected in zip(there, tables("here", "--cores", 1), strict=True):
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
