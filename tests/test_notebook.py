"""The notebook runs from top to bottom, and contains no output of an earlier run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CELLS = json.loads((ROOT / ".github" / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]


def test_the_notebook_has_no_output() -> None:
    assert [cell for cell in CELLS if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_the_cells_of_the_notebook_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_videos", tmp_path / "sample_videos")
    shutil.copy(ROOT / "README.md", tmp_path)
    cells = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    (tmp_path / "cells.py").write_text("\n\n".join(cells), encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "cells.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("held-out clips right, probably 86% to 100%")
    assert [line.split()[1] for line in lines[2:5]] == ["wave"] * 3
    assert "README.md" in lines[5]
    assert len(lines) > 8
