"""Calls of the workflow in a folder of its own."""

import subprocess
import sys
from pathlib import Path

from kn_utils.paths import ROOT


def snakemake(folder: Path, *arguments, environment: dict[str, str] | None = None) -> str:
    """Call the workflow in `folder`, which must succeed; return what it printed."""
    for name in ("book", "kn_utils", "notebooks"):
        (folder / name).symlink_to(ROOT / name) if not (folder / name).exists() else None
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    done = subprocess.run([*command, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
