"""CI runs the commands of the README, as a script in the repository."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "run"


def test_ci_runs_the_command_in_the_readme() -> None:
    wanted = re.search(r"grep -m1 -F '([^']+)' README\.md", SCRIPT.read_text("utf-8"))
    assert wanted is not None
    lines = [line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if wanted[1] in line]
    assert lines
    assert lines[0].endswith("&& .venv/bin/python -m pytest")  # a command line and nothing else
    assert lines[0].startswith("python3 -m venv .venv")


def test_the_script_stops_at_the_first_failure_and_can_be_run() -> None:
    assert "set -euo pipefail" in SCRIPT.read_text("utf-8")
    assert os.name == "nt" or os.access(SCRIPT, os.X_OK)
    for tool in ("ruff check .", "ruff format --check .", "mypy", "lint-imports"):
        assert f"\n.venv/bin/{tool}\n" in SCRIPT.read_text("utf-8")


def test_top_level_has_no_other_files() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a clone of the repository")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    allowed = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "sample_videos", "tests", "vidlstm"}
    assert {name for name in top if not name.startswith(".")} == allowed


def test_lowest_and_highest_declared_versions_are_tested() -> None:
    smoke = ROOT / ".ci" / "smoke"
    assert os.name == "nt" or os.access(smoke, os.X_OK)
    assert [line for line in SCRIPT.read_text("utf-8").splitlines() if line.startswith(".ci/smoke")] == [
        ".ci/smoke lowest",
        ".ci/smoke newest",
    ]


def test_each_dependency_has_a_lower_bound_that_can_be_installed() -> None:
    declared = [line for line in requires("vidlstm") or () if "extra ==" not in line]
    assert declared
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", requirement) for requirement in declared)
