"""Shared by all tests: an isolated environment, and tiny clips that a subprocess can train on in seconds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import TrainedRun, shell
from tests.tiny import write_action

# Set before torch is first imported, and inherited by subprocesses: one thread suits many small products.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True, scope="session")
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Isolate the tests from the user's feature store, model and terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDLSTM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        for name in ("VIDLSTM_CHECKPOINT", "VIDLSTM_DEBUG", "FORCE_COLOR", "PY_COLORS", "COLUMNS"):
            patch.delenv(name, raising=False)
        patch.setenv("NO_COLOR", "1")
        yield


@pytest.fixture(autouse=True, scope="session")
def _usual_priority() -> Iterator[None]:
    """Encoders run in the tests' process: a real-time priority that one leaves would starve all else."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) != os.SCHED_FIFO


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of two actions, `rise` and `sink`, by six performers: twelve clips of a second.

    The performer is in the file name, so that groups are found. Read-only.
    """
    root = tmp_path_factory.mktemp("tiny") / "data"
    for action in ("rise", "sink"):
        for performer in range(1, 7):
            write_action(root / action / f"person{performer:02}_{action}_d1.avi", action, performer)
    return root


@pytest.fixture(scope="session")
def trained_run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """One real `vidlstm train` for all tests: only motion and few epochs, to save time. Read-only."""
    folder = tmp_path_factory.mktemp("work")
    ended = shell(
        "train", tiny_data, "--streams", "motion", "--epochs", "8", "--members", "2", "--json", cwd=folder
    )
    assert ended.status == 0, ended.err
    return TrainedRun(folder, tiny_data, ended, json.loads(ended.out))


@pytest.fixture
def interrupted_run(trained_run: TrainedRun, tmp_path: Path) -> Path:
    """A copy of the run of 8 epochs, as if it had been interrupted after the 8th of 12."""
    run = tmp_path / "my runs" / "1"
    shutil.copytree(trained_run.run, run)
    config = json.loads((run / "config.json").read_text())
    config["training"]["epochs"] = 12
    (run / "config.json").write_text(json.dumps(config))
    return run
