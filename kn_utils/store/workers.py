"""Worker processes of one thread each: the one way in which a step uses several cores.

Small matrix products gain little from threads, and beside a busy neighbour every product waits for the slowest thread. So each part of a
step is computed on one thread, in this process or in a worker, and tables do not depend on the number of workers.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import joblib
import torch
from joblib import Parallel, delayed
from joblib.externals.loky import process_executor

from kn_utils.model.memory import keep_freed_memory

SECONDS_BETWEEN_LOOKS = 0.5  # of a worker after its parent


def default_workers(device: torch.device | None) -> int:
    """Return the number of cores that this process may use; 1 on an accelerator, and for a step without a model.

    joblib counts them, by the process's affinity, its container, and `LOKY_MAX_CPU_COUNT`, by which the workflow gives a job its cores.
    """
    return joblib.cpu_count() if device is not None and device.type == "cpu" else 1


def run_all(task: Callable, arguments: Sequence[tuple], workers: int) -> Iterator[int]:
    """Call `task` with each of the arguments, in at most `workers` processes, and yield the number of each call as it ends.

    An error of a call is raised here, with the worker's traceback. No worker outlives this process.
    """
    if min(workers, len(arguments)) < 2:
        yield from (_call(number, task, given) for number, given in enumerate(arguments))
        return
    calls = (delayed(_call_in_worker)(os.getpid(), number, task, given) for number, given in enumerate(arguments))
    with Parallel(
        n_jobs=min(workers, len(arguments)), backend="loky", return_as="generator_unordered", pre_dispatch="n_jobs"
    ) as pool:
        yield from pool(calls)


def _call(number: int, task: Callable, given: tuple) -> int:
    keep_freed_memory()
    with one_thread():
        task(*given)
    return number


def _call_in_worker(parent: int, number: int, task: Callable, given: tuple) -> int:
    # A worker keeps the memory of a pass for the next one. loky takes that for a leak and would start a new worker for almost every
    # part; it has no public setting for this, so pyproject.toml bounds joblib.
    process_executor._USE_PSUTIL = False
    _end_with(parent)
    return _call(number, task, given)


_watched: set[int] = set()  # parents that a thread of this worker looks after


def _end_with(parent: int) -> None:
    """End this process as soon as its parent is gone, even if it was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    if parent not in _watched:
        _watched.add(parent)
        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch use one thread inside, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
