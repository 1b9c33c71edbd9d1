"""The package works from a clone of its repository alone, and says so elsewhere."""

import os
import shutil
import subprocess
import sys

from kn_utils.paths import ROOT


def test_a_copy_without_the_data_refuses_to_be_imported(tmp_path):
    """As `pip install .` would leave it."""
    shutil.copytree(ROOT / "kn_utils", tmp_path / "kn_utils")
    done = subprocess.run(
        [sys.executable, "-c", "import kn_utils.paths"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"ImportError: kn_utils needs the data of its repository, and {tmp_path / 'data'} has none" in done.stderr
    assert "pip install --editable ." in done.stderr
