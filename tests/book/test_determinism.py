"""The same command gives the same tables, bit for bit, whatever the number of workers; other batches change scores by rounding alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_folders

from kn_utils.paths import ROOT
from kn_utils.steps import STEP_OF, STEPS
from kn_utils.store.files import read_table

pytestmark = [pytest.mark.endurance, pytest.mark.xdist_group("determinism")]
PLACE = ["relation", "fact", "prompt", "method"]
ROUNDING, OTHER_INSTRUCTIONS = 1e-4, 1e-3  # of a prompt's largest score; as the book's page on promises says
OLDER_PROCESSOR = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


FIRST = ("attribution", "knowledge_neurons")
EVERY = tuple(step.name for step in STEPS if step.name != "which_score")  # which turns every neuron off: a minute a prompt


def tables(folder: Path, steps: tuple = FIRST, workers: int = 1, max_memory_gb: float = 2.0, **environment: str) -> dict:
    """The tables that the steps make in a fresh process on the bundled model and some of its facts, by name."""
    data = tiny_folders.write_starter(folder / "facts", templates=3)
    given = {"data": str(data), "results_dir": str(folder / "results"), "steps": steps}
    command = [sys.executable, "tests/run_steps.py", json.dumps(given | {"workers": workers, "max_memory_gb": max_memory_gb})]
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.PIPE, env=os.environ | environment)
    return {table: read_table(path) for table in STEP_OF for path in folder.glob(f"results/*/*/{table}/P36.parquet")}


def differences(one: dict[str, pd.DataFrame], two: dict[str, pd.DataFrame]) -> tuple[float, int]:
    """The largest difference of a score, as a share of its prompt's largest, and the number of knowledge neurons that only one has."""
    score = [table["attribution"].set_index([*PLACE, "layer", "neuron"])["score"] for table in (one, two)]
    largest = score[0].groupby(level=PLACE).transform("max")
    neurons = [
        set(table["knowledge_neurons"][["fact", "method", "layer", "neuron"]].itertuples(index=False)) for table in (one, two)
    ]
    return float(((score[0] - score[1]).abs() / largest).max()), len(neurons[0] ^ neurons[1])


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The tables of all steps but one."""
    return tables(tmp_path_factory.mktemp("first"), EVERY)


def test_the_same_command_gives_the_same_tables_bit_for_bit_whatever_the_number_of_workers(first, tmp_path):
    again = tables(tmp_path, EVERY, workers=2)
    assert first.keys() == again.keys() == {table for table in STEP_OF if STEP_OF[table].name in EVERY}
    assert [name for name in EVERY if first[name].empty] == ["fact_or_word"]  # no two of three capitals have a common name
    for name, table in first.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)


def test_other_batches_change_scores_by_rounding_alone(first, tmp_path):
    largest, changed = differences(first, tables(tmp_path, max_memory_gb=0.05))
    assert 0 < largest < ROUNDING and changed == 0


def test_other_instructions_change_scores_by_rounding_alone(first, tmp_path):
    largest, changed = differences(first, tables(tmp_path, **OLDER_PROCESSOR))
    assert largest < OTHER_INSTRUCTIONS and changed == 0


def test_another_order_of_sums_would_show_as_a_difference(first):
    moved = {name: table.copy() for name, table in first.items()}
    moved["attribution"]["score"] = np.nextafter(moved["attribution"]["score"], np.float32(np.inf))
    moved["knowledge_neurons"] = moved["knowledge_neurons"].iloc[1:]
    largest, changed = differences(first, moved)
    assert largest > 0 and changed == 1
