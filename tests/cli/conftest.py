"""Shared by the tests of the commands: run a command in this process; tiny clips; tiny models."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.films import write_films
from tests.media.conftest import write_video
from vidlstm.cli.main import app
from vidlstm.config import ModelConfig

COMMAND = (sys.executable, "-m", "vidlstm")
ROOT = Path(__file__).parents[2]


class Outcome:
    """Output and exit status of a command."""

    def __init__(self, status: int, out: bytes, err: str) -> None:
        self.status = status
        self.out = out.decode("utf-8", "surrogateescape")
        self.err = err
        self.lines = self.out.split("\n")[:-1]


def vidlstm(*arguments: str | Path) -> Outcome:
    """Run a command in this process: much faster than a new process, which would import torch again."""
    result = CliRunner().invoke(app, [os.fspath(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout_bytes, result.stderr)


def write_clip(path: Path, num_frames: int = 12, seed: int = 0) -> Path:
    """Write a lossless clip of a bright square that wanders; each seed gives a different clip."""
    rng = np.random.default_rng(seed)
    places = rng.integers(2, 40, size=2) + np.cumsum(rng.integers(-2, 3, size=(num_frames, 2)), axis=0)
    background = np.kron(rng.integers(0, 120, size=(6, 8)), np.ones((8, 8)))
    frames = []
    for y, x in np.clip(places, 0, 36):
        frame = np.repeat(background[..., None], 3, axis=2).astype(np.uint8)
        frame[y : y + 12, x : x + 12] = 250
        frames.append(frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name("made.avi")  # OpenCV can write only to names that it can read
    write_video(beside, frames)
    beside.rename(path)
    return path


def make_model(path: Path, classes: Sequence[str] = ("sit", "wave")) -> Path:
    """Write an untrained model of the motion stream, always the same one."""
    import torch

    from vidlstm.media.descriptors import motion
    from vidlstm.models.checkpoint import build_model, serialise

    config = ModelConfig.default("video", tuple(classes)).changed(
        streams=("motion",), members=1, head={"hidden": 8, "projection": 8}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(config, {"motion": motion.WIDTH}, None)
    path.write_bytes(serialise(model))
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three clips and a text file. Read-only."""
    folder = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(("a.avi", "b.avi", "sub/c.avi")):
        write_clip(folder / name, seed=seed)
    (folder / "notes.txt").write_text("no clip")
    return folder


def learned(run: Path) -> list[dict[str, Any]]:
    """Return the epochs of a run, without their duration."""
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in epochs]


QUICK = ("--streams", "motion", "--epochs", "30", "--members", "2", "--workers", "1")


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of five films in its folder. Read-only."""
    return write_films(tmp_path_factory.mktemp("films"), 5)


@pytest.fixture(scope="session")
def film_run(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder trained on the films. Read-only."""
    folder = tmp_path_factory.mktemp("film_run") / "1"
    outcome = vidlstm("train", films, "--out", folder, *QUICK)
    assert outcome.status == 0, outcome.err
    return folder
