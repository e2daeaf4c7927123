"""`--streams` with pose on the command line, and `--streams auto`; with the real networks if installed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, vidlstm
from vidlstm.engine.extraction.pose_networks import require_networks
from vidlstm.errors import VidlstmError
from vidlstm.models.header import read_header
from vidlstm.settings import ModelSettings

SAMPLES = ROOT / "sample_videos"
SMALL = ("--epochs", "2", "--hidden", "8", "--workers", "1")


def _missing() -> str:
    try:
        require_networks(ModelSettings(), ("pose",))
    except VidlstmError as error:
        return str(error)
    return ""


needs_networks = pytest.mark.skipif(bool(_missing()), reason=f"without pose: {_missing()}")


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Return a table of 8 sample videos: two classes, four people."""
    clips = [c for p in range(1, 5) for c in sorted(SAMPLES.glob(f"w*/person{p:02}_*.mp4"))]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = [(clip, clip.parent.name, clip.name[:8]) for clip in clips]
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return tmp_path / "labels.csv"


@pytest.mark.skipif(not _missing(), reason="the networks are installed")
@pytest.mark.slow
def test_auto_without_the_networks_says_so_and_trains_the_default_streams(few: Path, tmp_path: Path) -> None:
    ended = vidlstm("train", few, "--streams", "auto", *SMALL, "--epochs", "1", "--out", tmp_path / "run")
    assert ended.status == 0
    reason = _missing().replace("`pose_weights=PATH`", "--pose-weights PATH")
    assert f"pose is left out: {reason}" in ended.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["streams"] == ["rgb", "motion"]
    assert config["training"]["auto_streams"] is False


@needs_networks
@pytest.mark.slow
def test_auto_decides_and_is_recorded_and_resumed(few: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = vidlstm("train", few, "--streams", "auto", *SMALL, "--out", run, "--json")
    assert ended.status == 0, ended.err
    choice = json.loads(ended.out)["pose"]
    line = next(line for line in ended.err.splitlines() if line.startswith("pose: "))
    assert line.startswith(f"pose: {choice['right']} of {choice['clips']} validation clips right with it, ")
    assert line.endswith(": used." if choice["kept"] else ": not used, and not needed to predict.")
    config = json.loads((run / "config.json").read_text())
    assert config["model"]["streams"] == ["rgb", "motion", "pose"]
    assert config["training"]["auto_streams"] is True
    header = read_header(run / "model.safetensors")
    assert ("pose" in header.config.streams) == choice["kept"]
    assert header.training["pose"] == choice
    before = (run / "model.safetensors").read_bytes()
    assert vidlstm("train", few, "--resume", run, "--workers", "1").status == 0
    assert (run / "model.safetensors").read_bytes() == before
    scored = vidlstm("crossval", few, "--streams", "auto", *SMALL, "--folds", "2", "--json")
    assert scored.status == 0, scored.err
    kept = json.loads(scored.out)["pose"]
    assert kept["folds"] == 2
    assert f"pose: used in {kept['kept']} of 2 folds.\n" in scored.err


@needs_networks
@pytest.mark.slow
def test_films_are_read_with_pose(tmp_path: Path) -> None:
    options = ("--streams", "motion+pose", "--members", "1", *SMALL)
    ended = vidlstm("train", SAMPLES / "films", *options, "--out", tmp_path / "run")
    assert ended.status == 0, ended.err
    film = SAMPLES / "films" / "day01.mp4"
    found = vidlstm("spans", film, "-c", tmp_path / "run", "--workers", "1")
    assert found.status == 0, found.err
