"""A setting of the process that makes many passes of equal size faster on Linux."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Have glibc keep what is freed: the next pass needs as much again, and fresh pages cost a tenth of a pass's time.

    It holds for the whole process and for good, so only the job that makes the passes calls it.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
