"""A SLURM of two nodes on this machine, for as long as a block or a command runs; needs root and Debian's slurm-wlm and munge.

Try the workflow on it: `python tests/slurm/local_slurm.py snakemake tables --profile profiles/slurm --slurm-status-command squeue`
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

NODES = ("kn1", "kn2")
PORTS = ("controller_port", "first_port", "second_port")
DAEMONS = ("munged", "slurmctld", "slurmd")
SECONDS_TO_WAIT = 60


def missing() -> list[str]:
    """Return what this machine lacks to run a SLURM."""
    return [name for name in DAEMONS if shutil.which(name, path=_path()) is None] + ["root"] * (os.geteuid() != 0)


@contextmanager
def local_slurm() -> Iterator[dict[str, str]]:
    """Start a SLURM in a temporary folder, yield the environment that leads its commands there, and stop it. Raises RuntimeError."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as made, ExitStack() as running:
        folder = Path(made)
        folder.chmod(0o755)  # munge serves anybody who can reach its socket
        configuration = _write_configuration(folder)
        environment = os.environ | {"SLURM_CONF": str(configuration), "PATH": f"{_write_srun(folder, configuration)}:{_path()}"}
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files]
        running.enter_context(_daemon(munged, environment))
        _wait_until((folder / "munge.socket").exists, folder)
        for command in (["slurmctld", "-D"], *(["slurmd", "-D", "-N", node] for node in NODES)):
            running.enter_context(_daemon(command, environment))
        asked = ["sinfo", "--Node", "--noheader", "--format=%T"]
        _wait_until(lambda: _answer(asked, environment) == ["idle"] * len(NODES), folder)
        running.callback(_end_jobs, environment, folder)
        yield environment


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin"  # where Debian keeps the daemons; not on everybody's path


def _write_configuration(folder: Path) -> Path:
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    text = Path(__file__).with_name("slurm.conf").read_text(encoding="utf-8")
    host, ports = socket.gethostname().split(".")[0], dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    target = folder / "slurm.conf"
    target.write_text(text.format(folder=folder, host=host, **ports), encoding="utf-8")
    return target


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        servers = [held.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _write_srun(folder: Path, configuration: Path) -> Path:
    """Write an srun that knows the configuration: Snakemake's plugin takes SLURM_CONF from the environment of the one it calls."""
    srun = folder / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n', encoding="utf-8")
    srun.chmod(0o755)
    return srun.parent


@contextmanager
def _daemon(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _end_jobs(environment: dict[str, str], folder: Path) -> None:
    subprocess.run(["scancel", "--user=root"], env=environment, check=True)
    _wait_until(lambda: not _answer(["squeue", "--noheader"], environment), folder)


def _answer(command: list[str], environment: dict[str, str]) -> list[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split()


def _wait_until(ready, folder: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{path.name}: {path.read_text()[-1000:]}" for path in sorted(folder.glob("*.log")))
            raise RuntimeError(f"SLURM did not start, or stop, within {SECONDS_TO_WAIT} seconds:\n{logs}")
        time.sleep(0.1)


if __name__ == "__main__":
    with local_slurm() as environment:
        sys.exit(subprocess.run(sys.argv[1:], env=environment).returncode)
