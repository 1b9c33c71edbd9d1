"""The workflow on a SLURM of this machine: a job per notebook and relation, and per share of its facts; tables as of a local run."""

import subprocess
from importlib.util import find_spec

import pandas as pd
import pytest
import tiny_folders
from slurm.local_slurm import NODES, local_slurm, missing
from workflow import snakemake

from kn_utils.paths import MADE_BY, ROOT
from kn_utils.results import read_table

LACKS = missing() + ["Snakemake's SLURM plugin"] * (find_spec("snakemake_executor_plugin_slurm") is None)
RELATIONS = ("P19", "P36")  # the run list wants a relation that 07 is about
FACTS, SHARDS = 18, 2  # three parts, of which one share has two
STEPS = ("01_attribution", "02_knowledge_neurons")
SQUEUE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"]


@pytest.mark.slow
@pytest.mark.skipif(bool(LACKS), reason=f"a local SLURM needs what this machine lacks: {', '.join(LACKS)}")
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
        snakemake(tmp_path, "tables", "--until", "knowledge_neurons", *arguments, "--config", *settings, environment=environment)
        made = tmp_path / place / "tiny-bert" / "tiny"
        names = [name for step in STEPS for name in MADE_BY[step]]
        return {(name, relation): read_table(made / name / f"{relation}.parquet") for name in names for relation in RELATIONS}

    with local_slurm() as environment:
        profile = ["--profile", ROOT / "profiles/slurm", "--configfile", ROOT / "profiles/slurm/runs.yml", in_shares]
        there = tables("there", *profile, *SQUEUE, environment=environment)
        asked = ["squeue", "--states=all", "--noheader", "--format=%T %N"]
        jobs = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    assert len(jobs) == (len(STEPS) + SHARDS) * len(RELATIONS)
    assert set(jobs) == {f"COMPLETED {node}" for node in NODES}
    here = tables("here", "--cores", 2)  # where all relations are one job
    for key, table in here.items():
        assert len(table)
        pd.testing.assert_frame_equal(there[key], table, check_exact=True)
