"""A pseudo-terminal that a command runs on."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
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
    pid, screen = pty.fork()
    if pid == 0:  # the child process: nothing here may return
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.chdir(cwd)
        if rows is not None:
            os.dup2(os.open(rows, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        # Not `execv`: readline sets COLUMNS in the C environment, unknown to `os.environ`.
        os.execve(
            sys.executable,
            [sys.executable, "-m", "vidlstm", *map(str, arguments)],
            {**kept, "TERM": "xterm-256color", **env},
        )
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
    return Seen(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), written.decode())
