"""Runs one notebook by papermill: `python book/run_notebook.py TEMPLATE OUTPUT '{"relation": "P101"}'`.

Papermill only warns about a parameter the notebook does not have; here that is an error. The output appears when the run has succeeded;
a run that failed leaves what it did beside it, under a name that ends in .failed.ipynb. A run has succeeded, too, when its tables are made
but hold nothing to show, as those of a relation whose facts have no knowledge neurons; `pages.py` publishes no such notebook.
"""

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TextIO

import papermill

NOTHING_TO_SHOW = "NothingToShowError"  # of kn_utils.store.runs, which would load torch here, beside the kernel that computes
TERMINAL = "KN_TERMINAL"  # in the Snakefile: the number of the file that is the terminal; standard output is the log
MADE = re.compile(r"\S+: (?:(\d+) facts in [\d.]+ s|reusing )")  # what kn_utils.store.results prints of a relation
PAUSE = 10  # seconds between two messages


class Progress:
    """Receives what a notebook prints, and writes to the terminal how many relations are done."""

    def __init__(self, notebook: str, relations: int, terminal: TextIO):
        self.notebook, self.relations, self.terminal = notebook, relations, terminal
        self.began = self.said = time.monotonic()
        self.done = self.facts = 0
        self.say(f"started, {relations} relation{'s' if relations > 1 else ''}")

    def say(self, text: str) -> None:
        """Write a message, with the name of the notebook."""
        print(f"{self.notebook}: {text}", file=self.terminal, flush=True)

    def write(self, text: str) -> None:
        """Count the relations that are made, and say how many there are and how long the rest takes at this speed."""
        for made in MADE.finditer(text):
            self.done, self.facts = self.done + 1, self.facts + int(made[1] or 0)
        now = time.monotonic()
        if 0 < self.done < self.relations and now - self.said > PAUSE:
            self.said, seconds = now, now - self.began
            left = seconds / self.done * (self.relations - self.done)
            speed = f"{self.facts / seconds:.1f} facts per second"
            self.say(f"{self.done} of {self.relations} relations, {self.facts} facts, {speed}, {minutes(left)} left")

    def flush(self) -> None:
        """Do nothing: every message is flushed; papermill expects this method."""

    def end(self) -> None:
        """Say how long the notebook took."""
        self.say(f"done in {minutes(time.monotonic() - self.began)}")


def minutes(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def terminal() -> TextIO:
    """Return the terminal that the workflow was started in, or standard error outside the workflow."""
    return os.fdopen(os.dup(int(os.environ[TERMINAL])), "w") if TERMINAL in os.environ else sys.stderr


def declared_parameters(template: Path, parameters: dict) -> dict:
    """Return the parameters that a notebook declares, as papermill describes them. Raises ValueError if it has not all `parameters`."""
    declared = papermill.inspect_notebook(str(template))
    if unknown := sorted(parameters.keys() - declared.keys()):
        raise ValueError(f"{template} has no parameter {', '.join(unknown)}; it has: {', '.join(declared)}")
    return declared


def run_notebook(template: Path, output: Path, parameters: dict) -> None:
    """Execute `template` with `parameters` and write it to `output`.

    Raises ValueError for a parameter the notebook does not declare, papermill.PapermillExecutionError if a cell fails, but not with
    NothingToShowError, and OSError, with what to do, if the notebook cannot be written.
    """
    declared_parameters(template, parameters)
    progress = Progress(template.stem, len(str(parameters.get("relation", "")).split(",")), terminal())
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_suffix(".failed.ipynb")
    try:
        papermill.execute_notebook(
            template, unfinished, parameters, kernel_name="python3", progress_bar=False, stdout_file=progress
        )
    except papermill.PapermillExecutionError as error:
        if error.ename != NOTHING_TO_SHOW:
            raise
        print(f"the notebook ends early: {error.evalue}")
    except OSError as reason:  # said in a few lines, for the log may lie on a disk that is full
        raise OSError(
            f"cannot run and write {output} ({reason}). All finished parts and tables are kept; "
            "free space or choose another results_dir, then run the same command again."
        ) from None
    unfinished.replace(output)
    progress.end()


if __name__ == "__main__":
    run_notebook(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
