"""A pseudo-terminal that a command runs on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Seen:
    """How a command ended, and what it wrote to the terminal."""

    status: int
    raw: str

    @property
    def segments(self) -> list[str]:
        """All text that was ever shown on a line, progress bars included."""
        return [part for part in re.split(r"[\r\n]+", _ESCAPE.sub("", self.raw)) if part.strip()]


def terminal(*arguments: str | Path, cwd: Path, columns: int, rows: Path | None = None, **env: str) -> Seen:
    """Run a command on a terminal of this width; standard output goes to a file if `rows` names one."""
    screen, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    with contextlib.ExitStack() as stack:
        # Not `pty.fork`: this process has threads of Ray and torch, and its forked copy has crashed.
        process = subprocess.Popen(
            [sys.executable, "-m", "vidlstm", *map(str, arguments)],
            stdin=side,
            stdout=side if rows is None else stack.enter_context(rows.open("wb")),
            stderr=side,
            cwd=cwd,
            env={**kept, "TERM": "xterm-256color", **env},
            start_new_session=True,
        )
    os.close(side)
    written = b""
    while True:
        try:
            part = os.read(screen, 65536)
        except OSError:  # end of file on Linux
            break
        if not part:
            break
        written += part
    os.close(screen)
    return Seen(process.wait(), written.decode())
