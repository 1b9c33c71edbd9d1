"""The benchmarks run, and what they time is right: the loops give the scores of the fast pass, the work is that of the points."""

import json
import subprocess
import sys

import pytest

from kn_utils.paths import ROOT
from kn_utils.summaries.scaling import MEASURED, load_scaling


@pytest.mark.slow
def test_quick_run(tmp_path):
    output = tmp_path / "result.json"
    command = [sys.executable, "benchmarks/attribution.py", "--quick", "--memory", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    result = json.loads(output.read_text())
    assert set(result["shapes"]) == {"bert-base", "smollm2-135m"}
    for shape in result["shapes"].values():
        assert {"exact (20 left nodes, float32)", "plain loop"} <= shape["rows"].keys()
        assert all(row["seconds"] > 0 for row in shape["rows"].values())
        assert shape["loops_differ_by"] < 1e-3
    assert "plain loop padded to 128 tokens" in result["shapes"]["bert-base"]["rows"]


@pytest.mark.slow
def test_quick_run_of_the_scaling(tmp_path):
    output = tmp_path / "scaling.json"
    command = [sys.executable, "benchmarks/scaling.py", "--quick", "--turns", "1", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600)
    assert "ms_per_prompt" in done.stdout
    rows, machine = load_scaling(output)
    assert machine["torch"] and machine["threads"] >= 1
    facts, layers = (rows[rows["axis"] == axis] for axis in ("facts", "layers"))
    assert facts["facts"].tolist() == [4, 12] and layers["layers"].tolist() == [2, 4]
    assert facts["prompts"].tolist() == [12, 36] and facts["gflop"].iloc[1] == pytest.approx(3 * facts["gflop"].iloc[0])
    assert layers["gflop"].iloc[1] > 4 * layers["gflop"].iloc[0]
    assert (rows["seconds"] > 0).all() and (rows["peak_memory_mb"] >= rows["loaded_mb"]).all() and (rows["loaded_mb"] > 50).all()


def test_the_published_scaling_is_of_a_full_run():
    rows, machine = load_scaling(MEASURED)
    points = rows.groupby("axis")[["facts", "layers"]].agg(lambda sizes: sorted(set(sizes)))
    assert points.loc["facts", "facts"] == [10, 100, 1000] and points.loc["layers", "layers"] == [2, 4, 8, 12, 24]
    assert machine["processor"] and machine["torch"]


def test_a_scaling_that_was_not_measured_says_how_to_measure_it(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"there is no .*: `python benchmarks/scaling.py --output .*scaling.json` makes it"
    ):
        load_scaling(tmp_path / "scaling.json")
