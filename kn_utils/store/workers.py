"""Worker processes of one thread each: the one way in which a step uses several cores.

Many small products gain little from threads, and lose much beside a busy neighbour, since every product waits for the slowest thread. So
a part of a step is always computed on one thread, here or in a worker, and tables do not depend on the number of workers.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from joblib import Parallel, delayed

from kn_utils.parameters import check


def number_of_workers(wanted: int | None, device: torch.device | None) -> int:
    """Return how many worker processes to use: `wanted`, by default the cores that this process may use, and 1 on an accelerator."""
    check(workers=wanted)
    if wanted is not None:
        return wanted
    on_cpu = device is None or device.type == "cpu"
    return len(os.sched_getaffinity(0)) if on_cpu and hasattr(os, "sched_getaffinity") else os.cpu_count() or 1 if on_cpu else 1


def run_all(task: Callable, arguments: Sequence[tuple], workers: int) -> Iterator[int]:
    """Call `task` with each of the arguments, in as many processes, and yield the number of each call as it ends.

    An error of a call is raised here, with the worker's traceback as its cause. Workers end with this process, however it ends.
    """
    if min(workers, len(arguments)) <= 1:
        with one_thread():
            for number, given in enumerate(arguments):
                task(*given)
                yield number
        return
    calls = (delayed(_numbered)(number, task, given) for number, given in enumerate(arguments))
    yield from Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered", pre_dispatch="n_jobs")(calls)


def _numbered(number: int, task: Callable, given: Iterable) -> int:
    with one_thread():
        task(*given)
    return number


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch use one thread inside, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
