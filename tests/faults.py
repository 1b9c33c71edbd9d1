"""Kills the workflow at random moments, resumes it until it is done, and compares its tables with those of a run left alone.

    python tests/faults.py --kills 50 --seed 1

It runs a copy of this project with a tiny model and tiny facts, so that a workflow going on in this folder is not disturbed. Kills strike
the whole workflow, the process that runs a notebook, or its kernel, and are spread over all steps: half of them over all that a step
did when left alone, half over what it did once it had begun to make tables. What was killed is resumed at once. How far a step has come
is told by its processor time, which does not depend on what else the machine does.
"""

import argparse
import compileall
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import known_facts
import psutil
import pyarrow.parquet as pq
import tiny_folders
from workflow import copy_project, environment_of

from kn_utils.steps import STEP_OF, STEPS
from kn_utils.store.files import read_provenance

VICTIMS = ("workflow", "runner", "kernel")
TIMES = {"seconds", "finished"}  # what provenance says of one run alone
IN_TIME = 0.8  # share of a step's processor time after which no kill is planned: another run may take less
KILLS_AT_ONCE = 21  # in one workflow, until it is done
LOOK_EVERY = 0.05  # seconds


class Kill(NamedTuple):
    """Strikes `victim` when a step has used `after` seconds of processor time."""

    victim: str
    after: float


def prepare(folder: Path, facts: int = 12) -> Path:
    """Write a copy of this project into a folder, with the settings to make all tables of `facts` facts of P36 and three of P101."""
    compileall.compile_dir(copy_project(folder) / "kn_utils", quiet=1)  # so that the first run takes no longer than the others
    lm = known_facts.trained("bert")
    for part in (lm.model, lm.tokenizer):
        part.save_pretrained(folder / "tiny-bert")
    chosen = known_facts.FACTS | {"P36": known_facts.FACTS["P36"][:facts]}
    tiny_folders.write_sentences(tiny_folders.write_data(folder / "tiny", chosen, known_facts.TEMPLATES), chosen)
    own = {
        "02_knowledge_neurons": {"parameters": {"score_share": 0.1, "baseline_share": 0.1, "prompt_share": 0.5}},
        "06_edit_facts": {"parameters": {"common_share": 0.9}},  # so that some of few facts can be edited
    }
    settings = {"model": str(folder / "tiny-bert"), "dataset": str(folder / "tiny"), "n_facts": "all", "notebooks": own}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


class Workflow:
    """The workflow of a copied project, with results of its own; `last` is the rule after which it stops, all steps by default."""

    def __init__(self, project: Path, results: str, last: str = "tables"):
        self.project, self.results, self.last = project, results, last
        self.folder, self.log = project / results, project / f"{results}.log"
        self.first_table: dict[str, float] = {}  # processor time in seconds when a step began to make tables
        self.done: dict[str, float] = {}  # and in the end
        self.struck: list[tuple[str, str]] = []  # step and victim of each kill
        self.orphans: list[tuple[float, psutil.Process]] = []  # kernels, and when what had started them was killed
        self.outlived: list[float] = []  # for how many seconds they went on
        self.seen: dict[Path, dict[str, None]] = defaultdict(dict)  # the digests of all that a table or part ever was
        self._stats: dict[Path, tuple] = {}

    def snakemake(self, *options: str, **config) -> subprocess.Popen:
        """Start Snakemake in a process group of its own."""
        command = [sys.executable, "-m", "snakemake", "tables", "--cores", "1", "--until", self.last, *options]
        settings = {"results_dir": self.results} | config
        command += ["--configfile", "settings.json", "--config", *(f"{name}={value}" for name, value in settings.items())]
        place = {"cwd": self.project, "env": environment_of(self.project) | {"OMP_NUM_THREADS": "1"}, "start_new_session": True}
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **place)

    def printed(self) -> str:
        """Return all that Snakemake has said, without line breaks."""
        return " ".join(self.log.read_text(encoding="utf-8").split())

    def complete(self, plan: dict[str, list[Kill]]) -> None:
        """Run until all is done; `plan` has the kills of each step. Raises RuntimeError if a run fails that was not killed."""
        while True:
            process = self.snakemake()
            victim = self._follow(process, plan)
            if process.wait() == 0:
                break
            if not victim or (victim == "workflow" and self.snakemake("--unlock").wait()):
                raise RuntimeError(self.log.read_text(encoding="utf-8")[-5000:])
        self._look()

    def _follow(self, process: subprocess.Popen, plan: dict[str, list[Kill]]) -> str:
        """Watch Snakemake until it ends, and kill when that is due, once in a step; return what has been killed last, or "".

        Snakemake goes on to another step only if the kill came too late for the one it struck.
        """
        victim = struck = ""
        while process.poll() is None:
            time.sleep(LOOK_EVERY)
            self._look()
            with suppress(psutil.NoSuchProcess):
                if runner := runner_of(process):
                    step, used = Path(runner.cmdline()[2]).stem, _processor_seconds(runner)
                    self._clock(step, used)
                    if step != struck and (kills := plan.get(step)) and used > kills[0].after:
                        self.strike(process, runner, kills[0].victim)
                        struck, victim = step, kills.pop(0).victim
                        self.struck.append((step, victim))
        return victim

    def strike(self, process: subprocess.Popen, runner: psutil.Process, victim: str) -> None:
        """Kill Snakemake and all it runs ("workflow"), the runner of a notebook, or its kernel; before that is there, the runner."""
        kernels = runner.children()
        if victim == "workflow":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            (kernels[0] if kernels and victim == "kernel" else runner).kill()
        self.orphans += [(time.monotonic(), kernel) for kernel in kernels]

    def _look(self) -> None:
        """Note what tables and parts are there, and which orphans have gone. Raises an error of pyarrow for a table that is not whole."""
        for folder, _, names in os.walk(self.folder):
            for path in (Path(folder, name) for name in names if Path(folder).suffix != ".part"):
                if path.name == "seconds" or (path.suffix == ".parquet" and path.parent.name in STEP_OF):
                    with suppress(FileNotFoundError):
                        self._note(path)
        for when, kernel in [*self.orphans]:
            if not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE:
                self.orphans.remove((when, kernel))
                self.outlived.append(time.monotonic() - when)

    def _note(self, path: Path) -> None:
        stat = path.stat()
        if (stamp := (stat.st_ino, stat.st_mtime_ns)) != self._stats.get(path):
            content = path.read_bytes()
            values = _values(io.BytesIO(content)) if path.suffix == ".parquet" else content
            known_by = values if path.parent.name in _SIDE_TABLES else content
            self.seen[path][hashlib.sha256(known_by).hexdigest()] = None
            self._stats[path] = stamp

    def _clock(self, step: str, used: float) -> None:
        self.done[step] = max(used, self.done.get(step, 0))  # without its kernel, which ends first, a runner has used less
        if step not in self.first_table and any(self.folder.glob(f"*/*/{_NAMES[step]}/.*.lock")):
            self.first_table[step] = used


_NAMES = {step.notebook: step.name for step in STEPS}
_SIDE_TABLES = STEP_OF.keys() - _NAMES.values()
# A kill while parts are joined leaves side tables without the step's own; they are joined again from the same parts, with another time.


def runner_of(process: subprocess.Popen) -> psutil.Process | None:
    """The process that runs a notebook now."""
    return next(
        (child for child in psutil.Process(process.pid).children(True) if "book/run_notebook.py" in child.cmdline()[1:2]), None
    )


def _processor_seconds(process: psutil.Process) -> float:
    """The processor time of a process and those it has started, in seconds."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def plan_kills(count: int, alone: Workflow, draw: random.Random) -> dict[str, list[Kill]]:
    """Spread `count` kills evenly over the steps that `alone` has run, each at a random moment of its step."""
    plan: dict[str, list[Kill]] = {step: [] for step in draw.sample(sorted(alone.done), len(alone.done))}
    for number, step in zip(range(count), [*plan] * count, strict=False):
        latest = IN_TIME * alone.done[step]
        earliest = min(alone.first_table[step], latest) if number // len(plan) % 2 == 0 else 0
        plan[step].append(Kill(draw.choice(VICTIMS), draw.uniform(earliest, latest)))
    return {step: sorted(kills, key=lambda kill: kill.after) for step, kills in plan.items()}  # a later one may not be reached


def differences(found: Workflow, expected: Workflow) -> list[str]:
    """Return what is not as it is in a run left alone: files, values to the last bit, provenance; and what was made more than once."""
    ours, theirs = (_files(workflow.folder) for workflow in (found, expected))
    wrong = [f"{path} is only in one of both" for path in sorted(ours ^ theirs)]
    for path in sorted(ours & theirs):
        if path.suffix == ".parquet":
            pair = [workflow.folder / path for workflow in (found, expected)]
            wrong += [f"{path} has other values"] * (_values(pair[0]) != _values(pair[1]))
            wrong += [f"{path} has other provenance"] * (_origin(pair[0]) != _origin(pair[1]))
    return wrong + [f"{path} was made {len(digests)} times" for path, digests in found.seen.items() if len(digests) > 1]


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix not in (".lock", ".log")}


def _values(file: Path | io.BytesIO) -> bytes:
    """A table's schema and values as the bytes of a file, without provenance."""
    written = io.BytesIO()
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), written)
    return written.getvalue()


def _origin(path: Path) -> dict:
    return {name: value for name, value in read_provenance(path).items() if name not in TIMES}


def trial(alone: Workflow, kills: int, seed: int) -> tuple[list[Workflow], list[str]]:
    """Kill workflows like `alone` `kills` times in all, complete each, and return them with all that is wrong."""
    draw, killed, wrong = random.Random(seed), [], []
    while left := kills - sum(len(workflow.struck) for workflow in killed):
        killed.append(Workflow(alone.project, f"killed{len(killed)}", alone.last))
        killed[-1].complete(plan_kills(min(left, KILLS_AT_ONCE), alone, draw))
        wrong += differences(killed[-1], alone)
        print(f"{killed[-1].results}: {len(killed[-1].struck)} kills, {len(wrong)} differences", flush=True)
    _, alive = psutil.wait_procs([kernel for workflow in killed for _, kernel in workflow.orphans], timeout=10)
    return killed, wrong + [f"kernel {process.pid} goes on" for process in alive]


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill the workflow at random moments and compare what it makes in the end.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        alone = Workflow(prepare(Path(folder) / "project"), "alone")
        alone.complete({})
        killed, wrong = trial(alone, chosen.kills, chosen.seed)
    struck, outlived = Counter(), [seconds for workflow in killed for seconds in workflow.outlived]
    for workflow in killed:
        struck.update(workflow.struck)
    for (step, victim), count in sorted(struck.items()):
        print(f"{step:25} {victim:9} {count}")
    print(f"{struck.total()} kills; kernels went on for at most {max(outlived, default=0):.1f} s; differences: {len(wrong)}")
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
