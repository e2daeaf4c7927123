"""Settings of glibc's memory allocator."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_memory() -> None:
    """Keep freed memory in the process for reuse, if the C library is glibc.

    By default glibc returns large blocks to the system and gets them back page by page: an LSTM's workspace
    after every training step (measured: a seventh of the time of training), and buffers between torch's
    layers (a twentieth of the time of prediction).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the maximum
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)
