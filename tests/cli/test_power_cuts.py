"""A power cut while `train` and `predict --move-to` write, on a file system that root can mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.power_cuts import can_mount, cut_power


@pytest.mark.slow
def test_files_are_complete_after_a_power_cut(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("an image can be mounted by root only")
    assert cut_power(tmp_path, cuts=2, seed=0) == []
