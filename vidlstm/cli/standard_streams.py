"""Make standard input, output and error usable, whatever the caller closed."""

from __future__ import annotations

import io
import os
import sys


def prepare_streams() -> None:
    """Make standard input, output and error usable.

    A closed stream (`>&-`) is opened on the null device; otherwise the next file or pipe that is opened would
    get its number and receive what is printed. Characters that the encoding lacks become escapes.
    """
    for handle, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(handle)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != handle:
                os.dup2(null, handle)
                os.close(null)
            os.set_inheritable(handle, True)  # decoder processes need it, too
        if getattr(sys, name) is None:
            setattr(sys, name, open(handle, "w" if handle else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
