"""Calls of the workflow in a folder of its own, or in a copy of this project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from kn_utils.paths import ROOT

CODE = ("Snakefile", "profiles", "book", "notebooks", "kn_utils", "data")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "_build", "results", "relations", "starter")


def copy_project(folder: Path) -> Path:
    """Copy this project, without the bundled model and facts and without results, and return where to."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=NOT_COPIED)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def snakemake(project: Path, *arguments, environment: dict[str, str] | None = None) -> str:
    """Call the workflow of a copied project, or of this one in an empty folder; it must succeed; return what it printed."""
    for name in CODE:
        (project / name).symlink_to(ROOT / name) if not (project / name).exists() else None
    command = [sys.executable, "-m", "snakemake", *map(str, arguments)]
    done = subprocess.run(command, cwd=project, env=environment_of(project, environment), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def environment_of(project: Path, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which the package is a project's own, whatever is installed."""
    return dict(environment or os.environ) | {"PYTHONPATH": str(project)}
