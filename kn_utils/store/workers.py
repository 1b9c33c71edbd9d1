"""Worker processes with one thread each, by which a step uses several cores.

Small matrix products gain little from threads, and on a busy machine each product waits for the slowest thread. So each part of a step is
computed on one thread, in this process or in a worker, and tables do not depend on the number of workers.
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


def default_workers(device: torch.device | None) -> int:
    """Return the number of cores that this process may use; 1 on an accelerator, and for a step without a model.

    joblib respects the process's affinity, the limits of a container, and `LOKY_MAX_CPU_COUNT`, which the workflow sets for each job.
    """
    return joblib.cpu_count() if device is not None and device.type == "cpu" else 1


def run_all(task: Callable, arguments: Sequence[tuple], workers: int) -> Iterator[int]:
    """Call `task(*arguments[i])` for every i, in at most `workers` processes, and yield i when the call ends.

    If a call raises an error, it is raised here, with the worker's traceback. No worker outlives this process.
    """
    if min(workers, len(arguments)) < 2:
        yield from (_call(i, task, given) for i, given in enumerate(arguments))
        return
    calls = (delayed(_call)(i, task, given, os.getpid()) for i, given in enumerate(arguments))
    with Parallel(
        n_jobs=min(workers, len(arguments)), backend="loky", return_as="generator_unordered", pre_dispatch="n_jobs"
    ) as pool:
        yield from pool(calls)


def _call(i: int, task: Callable, given: tuple, parent: int | None = None) -> int:
    if parent is not None:  # in a worker
        # A worker keeps the memory of a pass for the next one. loky takes this for a leak, and would start a new worker for almost every
        # part. There is no public setting for it, so pyproject.toml limits joblib.
        process_executor._USE_PSUTIL = False
        _end_with(parent)
    keep_freed_memory()
    with one_thread():
        task(*given)
    return i


_watched: set[int] = set()  # parent processes that a thread of this worker watches


def _end_with(parent: int) -> None:
    """End this process soon after its parent has ended or was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if parent not in _watched:
        _watched.add(parent)
        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block torch uses one thread; on exit the old number is restored."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
