"""The workflow on a SLURM of this machine: a job for each notebook and relation, killed and submitted again; tables as of a local run."""

import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pandas as pd
import pytest
import tiny_folders
from slurm.local_slurm import NODES, local_slurm, missing
from workflow import snakemake

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import load_model
from kn_utils.paths import result_name
from kn_utils.steps import STEPS
from kn_utils.store.files import read_table
from kn_utils.store.runs import Run

LACKS = missing() + ["Snakemake's SLURM plugin"] * (find_spec("snakemake_executor_plugin_slurm") is None)
needs_slurm = pytest.mark.skipif(bool(LACKS), reason=f"a local SLURM needs what this machine lacks: {', '.join(LACKS)}")
needs_a_plain_path = pytest.mark.skipif(
    shlex.quote(sys.executable) != sys.executable,
    reason="the executor does not quote Python's path, which has a blank or parenthesis here",
)
RELATIONS = ("first", "second")
FACTS, LAYERS = 16, 12  # two parts, each of some seconds
PROFILE = ["--profile", "profiles/slurm", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]


def squeue(columns, environment, states="all"):
    """What SLURM says of its jobs, one line each."""
    command = ["squeue", f"--states={states}", "--noheader", f"--format={columns}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.endurance
@needs_slurm
@needs_a_plain_path
def test_tables_made_on_the_nodes_of_a_cluster_are_those_of_a_local_run_even_if_a_job_is_killed(tmp_path):
    """It is killed as SLURM ends a job that runs out of time, when the first part of its facts is there."""
    model = tiny_folders.write_model(tmp_path / "deep", "bert", num_hidden_layers=LAYERS)
    facts = {relation: tiny_folders.many_facts(FACTS) for relation in RELATIONS}
    data = tiny_folders.write_data(tmp_path / "own", facts, dict.fromkeys(RELATIONS, tiny_folders.TEMPLATES["P36"]))

    there, here = (tmp_path / place / result_name(model) / result_name(data) for place in ("there", "here"))

    def on_cluster(environment):
        config = {"model": model, "dataset": data, "results_dir": tmp_path / "there", "n_facts": "all"}
        settings = [f"{name}={value}" for name, value in config.items()]
        snakemake(tmp_path, "tables", "--until", "attribution", *PROFILE, "--config", *settings, environment=environment)

    with local_slurm() as environment, ThreadPoolExecutor() as pool:
        running = pool.submit(on_cluster, environment)
        while not list(there.glob("attribution/.first.*/00000")):
            assert not running.done(), running.result()
            time.sleep(0.1)
        [job] = [line.split()[0] for line in squeue("%i %k", environment, "RUNNING") if line.endswith("first")]
        subprocess.run(["scancel", job], env=environment, check=True)
        running.result()
        jobs = squeue("%T", environment)
        nodes = set(squeue("%N", environment))
    assert sorted(jobs) == ["CANCELLED", *["COMPLETED"] * len(RELATIONS)] and nodes == set(NODES)
    lm, run = load_model(model, "cpu"), Run(result_name(model), load_dataset(data), results_dir=tmp_path / "here")
    for relation in RELATIONS:
        attribute_relation(lm, run, relation, Quadrature("gauss-legendre"))
        for table in STEPS[0].tables:
            expected = read_table(here / table / f"{relation}.parquet")
            assert len(expected)
            pd.testing.assert_frame_equal(read_table(there / table / f"{relation}.parquet"), expected, check_exact=True)
