"""What a process does with memory that it has freed."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_memory() -> None:
    """Keep what is freed for what comes next, where the C library is glibc.

    Left to itself it gives large blocks back to the system, to get them again page by page: an LSTM's
    workspace after every step of training, which was measured at a seventh of the time; what a layer of
    torch leaves for the next one, at a twentieth of labelling's.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that it takes
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)
