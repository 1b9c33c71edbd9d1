"""Work for the tests of parts and workers, in a module that worker processes can import."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

KEPT = []  # what a process holds on to


class NumberedRows:
    """Rows that depend on the fact alone; the file `seen` gets a line with the process for every part, and `pause` seconds pass.

    `megabytes` more of memory are kept for good after the first part.
    """

    def __init__(self, seen: Path, pause: float = 0.0, fails_at: int | None = None, megabytes: int = 0):
        self.seen, self.pause, self.fails_at, self.megabytes = seen, pause, fails_at, megabytes

    def __call__(self, facts):
        with self.seen.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(self.pause)
        if self.megabytes and len(KEPT) < 2:
            KEPT.append(np.ones(self.megabytes * 125_000 * len(KEPT)))
        if self.fails_at in facts:
            raise ArithmeticError(f"fact {self.fails_at} cannot be computed")
        scores = [pd.DataFrame({"fact": fact, "score": np.random.default_rng(fact).random(50, "float32")}) for fact in facts]
        return {"attribution": pd.concat(scores, ignore_index=True)}
