"""The benchmark runs, and what it times is right: its loops give the scores of the fast pass."""

import json
import subprocess
import sys

import pytest

from kn_utils.paths import ROOT


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
