"""A memory setting that makes many forward passes of equal size faster on Linux."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next pass: new pages from the system cost a tenth of the time of a pass.

    The setting holds for the whole process and cannot be undone, so only the jobs that compute call this function.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
