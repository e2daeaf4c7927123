"""A power cut while `train` and `predict --move-to` write, on a file system that root can mount."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CUT_POWER = ["unshare", "--mount", sys.executable, "-m", "tests.benchmarks.power_cuts", "--cuts", "2"]
CANNOT_MOUNT = 2  # its exit status

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"),
        reason="an image can be mounted by root only",
    ),
]


def test_files_are_complete_after_a_power_cut(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(CUT_POWER, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == CANNOT_MOUNT:
        pytest.skip(done.stdout)
    assert done.stdout == "2 cuts of train, 2 of predict --move-to: 0 faults\n", done.stderr
    assert done.returncode == 0


def test_nothing_stays_mounted_if_the_test_is_killed(tmp_path: Path) -> None:
    """Otherwise pytest cannot remove the folder, and every later run on the machine fails."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        CUT_POWER, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and "/live " not in Path(f"/proc/{process.pid}/mounts").read_text():
            time.sleep(0.05)
        if process.poll() == CANNOT_MOUNT:
            pytest.skip("an image cannot be mounted here")
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    shutil.rmtree(tmp_path)
