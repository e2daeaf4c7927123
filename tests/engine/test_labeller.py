"""Labelling with and without torch: the same records, and torch is imported only if needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vidlstm
from tests.cli.shell import TrainedRun
from vidlstm.config import Backend
from vidlstm.engine.prediction import labeller
from vidlstm.engine.prediction.labeller import load_labeller
from vidlstm.errors import BackendError
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.header import read_header
from vidlstm.records import Prediction

needs_openvino = pytest.mark.skipif(not is_installed(), reason="needs OpenVINO: pip install vidlstm[cpu]")


def records(run: TrainedRun, backend: Backend) -> list[Prediction]:
    with vidlstm.load(run.run, workers=1, device="cpu", backend=backend) as predictor:
        found = list(predictor.predict(sorted(run.data.rglob("*.avi"))))
    return [record for record in found if isinstance(record, Prediction)]


@needs_openvino
def test_scores_equal_those_of_torch(trained_run: TrainedRun) -> None:
    ours, theirs = records(trained_run, "openvino"), records(trained_run, "torch")
    assert [r.label for r in ours] == [r.label for r in theirs]
    assert [r.score for r in ours] == pytest.approx([r.score for r in theirs], abs=1e-5)
    assert len(ours) == 12


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_scores_do_not_depend_on_other_clips_bit_for_bit(trained_run: TrainedRun, backend: Backend) -> None:
    loaded = load_labeller(trained_run.model, device="cpu", backend=backend)
    rng = np.random.default_rng(0)
    width = read_header(trained_run.model).widths["motion"]
    clips = [
        ClipFeatures({"motion": rng.normal(size=(2, 2, 16, width)).astype(np.float16)}, {}) for _ in range(9)
    ]
    alone = [loaded.score([clip]) for clip in clips]
    for number in (2, 5, 9):
        scores, novelty = loaded.score(clips[:number])
        for clip in range(number):
            assert scores[clip].tobytes() == alone[clip][0][0].tobytes()
            assert novelty[clip].tobytes() == alone[clip][1][0].tobytes()


@needs_openvino
def test_torch_is_imported_only_in_the_first_run(trained_run: TrainedRun, tmp_path: Path) -> None:
    clip = next(trained_run.data.rglob("*.avi"))
    script = f"""
import json, sys, vidlstm
if __name__ == "__main__":
    with vidlstm.load({str(trained_run.run)!r}, workers=1, device="cpu", backend="openvino") as model:
        (record,) = model.predict({str(clip)!r})
    print(json.dumps([record.label, "torch" in sys.modules]))
"""
    env = {**os.environ, "VIDLSTM_CACHE_DIR": str(tmp_path)}
    said = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, check=True)
        said.append(json.loads(done.stdout))
    assert [imported for _, imported in said] == [True, False]
    assert said[0][0] == said[1][0]


@needs_openvino
def test_a_replaced_checkpoint_is_a_new_model(trained_run: TrainedRun, tmp_path: Path) -> None:
    first = labeller._digest(trained_run.model)
    copy = Path(shutil.copy(trained_run.model, tmp_path))
    assert labeller._digest(copy) == first
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    assert labeller._digest(copy) != first


def test_torch_is_asked_if_there_may_be_a_gpu(
    trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def by_openvino(*_: object) -> None:
        asked.append("openvino")

    def choose_device(name: str) -> str:
        asked.append(f"torch for {name}")
        return "a GPU"

    monkeypatch.setattr(labeller, "is_installed", lambda: True)
    monkeypatch.setattr(labeller, "_by_openvino", by_openvino)
    monkeypatch.setattr(labeller, "_by_torch", lambda *_: None)
    monkeypatch.setattr(labeller, "replace", lambda loaded, **_: loaded)  # nothing is loaded here
    monkeypatch.setattr("vidlstm.engine.devices.choose_device", choose_device)
    monkeypatch.setattr("vidlstm.engine.devices.choose_backend", lambda *_: "torch")
    for there in (False, True):
        monkeypatch.setattr(labeller, "_may_have_gpu", lambda there=there: there)
        load_labeller(trained_run.model)
    load_labeller(trained_run.model, backend="openvino")
    load_labeller(trained_run.model, device="cuda")
    load_labeller(trained_run.model, device="cpu")
    load_labeller(trained_run.model, device="cpu", backend="torch")
    assert asked == ["openvino", "torch for auto", "openvino", "torch for cuda", "openvino", "torch for cpu"]


def test_torch_takes_over_if_openvino_fails(
    trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def by_openvino(*_: object) -> None:
        raise BackendError("OpenVINO fails on this model")

    monkeypatch.setattr(labeller, "is_installed", lambda: True)
    monkeypatch.setattr(labeller, "_by_openvino", by_openvino)
    with pytest.raises(BackendError):
        load_labeller(trained_run.model, device="cpu", backend="openvino")
    assert load_labeller(trained_run.model, device="cpu").config.streams == ("motion",)
    assert caplog.messages == ["OpenVINO fails on this model"]


@needs_openvino
def test_unreadable_cached_networks_are_converted_again(
    trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDLSTM_CACHE_DIR", str(tmp_path))
    load_labeller(trained_run.model, device="cpu", backend="openvino")
    (network,) = (tmp_path / "networks").glob("*/head-*.blob")
    content = network.read_bytes()
    network.write_bytes(content[:-1])
    load_labeller(trained_run.model, device="cpu", backend="openvino")
    assert len(network.read_bytes()) == len(content)
