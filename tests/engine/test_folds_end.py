"""The processes that train folds end with the command, however it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from vidlstm.engine.evaluation.folds import _receive

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(2, context, initializer=_receive, initargs=((), 1))
    list(pool.map(time.sleep, [0.1] * 4))
    print(*pool._processes, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_idle_processes_end_when_the_command_is_killed(tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    with subprocess.Popen(
        [sys.executable, tmp_path / "pool.py"], stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        children = command.stdout.readline().split()
        assert len(children) == 2
        command.kill()
    end = time.monotonic() + 60
    while any(is_running(child) for child in children):
        assert time.monotonic() < end, "they live on"
        time.sleep(0.05)


def is_running(process: str) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
