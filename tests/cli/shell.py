"""Run the command as users do, as a process with exit status, standard output and standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """Exit status and output of a process."""

    status: int
    out: str
    err: str


def shell(*arguments: str | Path, cwd: Path, **env: str) -> Ended:
    """Run `python -m vidlstm` with these arguments and environment variables, and wait for it to end."""
    done = subprocess.run(
        [sys.executable, "-m", "vidlstm", *[os.fspath(argument) for argument in arguments]],
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class TrainedRun:
    """A folder with one training run, started with only the options that a beginner would use."""

    folder: Path
    data: Path
    ended: Ended
    said: dict[str, Any]

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "1"

    @property
    def model(self) -> Path:
        return self.run / "model.safetensors"
