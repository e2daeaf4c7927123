"""Training compares a model with itself in int8, and labelling in int8 uses what was compared."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import vidlstm
from tests.cli.conftest import vidlstm as command
from tests.cli.shell import TrainedRun, shell
from vidlstm.cli.console import Console
from vidlstm.cli.events import follow
from vidlstm.config import Backend, LabelPrecision
from vidlstm.engine.events import Int8Compared
from vidlstm.engine.precision.agreement import Agreement
from vidlstm.engine.precision.int8 import compare_int8
from vidlstm.engine.prediction.labeller import load_labeller
from vidlstm.errors import BackendError, UsageError
from vidlstm.models.backends.int8 import is_default
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.checkpoint import load_model, serialise
from vidlstm.records import Prediction

SMALL = ("--encoder", "simple", "--size", "32", "--streams", "rgb", "--hidden", "8")
needs_openvino = pytest.mark.skipif(not is_installed(), reason="needs OpenVINO: pip install vidlstm[cpu]")


PASSED = {"clips": 20, "same_labels": 20, "mean_difference": 0.01, "inputs": [(0, 1, (0.5,))]}


class TestDefault:
    @pytest.mark.parametrize(
        ("facts", "machine", "expected"),
        [
            (PASSED, "x86_64", True),
            (PASSED, "AMD64", True),
            (PASSED, "aarch64", False),
            (PASSED | {"clips": 19}, "x86_64", False),
            (PASSED | {"clips": "many"}, "x86_64", False),
            (PASSED | {"films": 2}, "x86_64", True),
            (PASSED | {"films": 1}, "x86_64", False),
            ({k: v for k, v in PASSED.items() if k != "inputs"}, "x86_64", False),
            ({}, "x86_64", False),
        ],
        ids=[
            "passed",
            "Windows",
            "not x86",
            "too few clips",
            "damaged",
            "two films",
            "one film",
            "refused",
            "not compared",
        ],
    )
    def test_is_int8_only_if_enough_held_out_clips_kept_their_labels(
        self, facts: dict[str, Any], machine: str, expected: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("platform.machine", lambda: machine)
        assert is_default(facts) is expected


@pytest.mark.parametrize(
    ("same", "kept", "default", "use"),
    [
        (24, True, True, "`predict` uses it"),
        (24, True, False, "`predict` is faster with --precision int8"),
        (23, False, False, "not used"),
    ],
)
def test_training_says_whether_it_is_used(
    same: int, kept: bool, default: bool, use: str, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(Console(), (event for event in [Int8Compared(24, same, 0.011, kept, default)]))
    said = " ".join(capsys.readouterr().err.split())
    assert said == f"int8: {same} of 24 labels agree, scores differ by 0.0110 on average: {use}."


class TestAgreement:
    @pytest.mark.parametrize(
        ("clips", "same", "mean", "passed"),
        [
            (24, 24, 0.02, True),
            (24, 23, 0.001, False),
            (200, 199, 0.001, True),
            (200, 198, 0.001, False),
            (24, 24, 0.021, False),
            (0, 0, 0.0, False),
        ],
    )
    def test_thresholds(self, clips: int, same: int, mean: float, passed: bool) -> None:
        assert Agreement(clips, 0, same, mean, 0.5).passed is passed


@pytest.fixture(scope="module")
def run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A model of the rgb stream with a small encoder. Read-only."""
    folder = tmp_path_factory.mktemp("int8")
    ended = shell("train", tiny_data, *SMALL, "--epochs", "2", "--json", cwd=folder)
    assert ended.status == 0, ended.err
    return TrainedRun(folder, tiny_data, ended, json.loads(ended.out))


@needs_openvino
class TestTraining:
    def test_reports_and_stores_the_agreement(self, run: TrainedRun) -> None:
        stored = load_model(run.model).training["int8"]
        agrees = f"int8: {stored['same_labels']} of {stored['clips']} labels agree"
        assert agrees in run.ended.err
        assert stored["clips"] == 2
        shown = json.loads(shell("info", run.run, "--json", cwd=run.folder).out)["training"]["int8"]
        facts = {name: value for name, value in stored.items() if name != "inputs"}
        assert shown == facts | {"default": False}

    def test_is_the_same_each_time(self, run: TrainedRun) -> None:
        model = load_model(run.model)
        assert compare_int8(model, run.run) == compare_int8(model, run.run)

    @pytest.mark.parametrize(
        ("error", "status", "reason"),
        [
            (BackendError("no such operation"), 0, "no such operation"),
            (KeyboardInterrupt(), 130, "interrupted"),
        ],
    )
    def test_if_it_fails_the_model_is_saved_without_it(
        self,
        error: BaseException,
        status: int,
        reason: str,
        tiny_data: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr("vidlstm.engine.training.int8.compare_int8", fail)
        ended = command("train", tiny_data, *SMALL, "--epochs", "1", "-o", tmp_path / "run")
        assert ended.status == status
        assert f"The model was not compared in int8: {reason}." in ended.err
        assert "int8" not in load_model(tmp_path / "run" / "model.safetensors").training

    def test_says_if_no_held_out_clip_can_be_read(
        self, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "vidlstm.engine.precision.agreement.read_clips", lambda *_: iter([(Path("a"), None)])
        )
        ended = command("train", tiny_data, *SMALL, "--epochs", "1", "-o", tmp_path / "run")
        assert ended.status == 0
        assert "The model was not compared in int8: none of the held-out clips can be read." in ended.err
        assert "int8" not in load_model(tmp_path / "run" / "model.safetensors").training

    def test_is_skipped_with_torch(self, tiny_data: Path, tmp_path: Path) -> None:
        given = ("--epochs", "1", "--backend", "torch", "-o", tmp_path / "run")
        assert "int8" not in command("train", tiny_data, *SMALL, *given).err


@pytest.fixture(scope="module")
def passed(run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, as if it had passed the comparison."""
    model = load_model(run.model)
    agreement, inputs = compare_int8(model, run.run)
    model.training["int8"] = agreement.to_json() | {"inputs": [dataclasses.astuple(i) for i in inputs]}
    path = tmp_path_factory.mktemp("passed") / "model.safetensors"
    path.write_bytes(serialise(model))
    return path


@needs_openvino
class TestLabelling:
    def test_scores_differ_a_little(self, passed: Path, run: TrainedRun) -> None:
        exact, coarse = scores(passed, run.data, "float32"), scores(passed, run.data, "int8")
        assert coarse == pytest.approx(exact, abs=0.05)
        assert coarse != exact

    def test_float32_does_not_change(self, passed: Path, run: TrainedRun) -> None:
        assert scores(passed, run.data, "float32") == scores(run.model, run.data, "float32")

    @pytest.mark.parametrize("name", ["spans", "watch"])
    def test_other_commands_support_int8(self, name: str) -> None:
        assert "int8" in command(name, "--help-all").out

    @pytest.mark.parametrize(("clips", "precision"), [(20, "int8"), (19, "float32")])
    def test_is_the_default_only_after_enough_clips(
        self, passed: Path, run: TrainedRun, clips: int, precision: LabelPrecision, tmp_path: Path
    ) -> None:
        path = compared_on(clips, passed, tmp_path)
        assert scores(path, run.data, None) == scores(passed, run.data, precision)

    def test_clearing_the_cache_removes_the_network(
        self, passed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VIDLSTM_CACHE_DIR", str(tmp_path / "cache"))
        load_labeller(passed, device="cpu", precision="int8")
        assert [*tmp_path.rglob("encoder-*.blob")]
        assert command("cache", "--clear").status == 0
        assert not [*tmp_path.rglob("*.blob")]

    def test_torch_labels_in_float32(self, passed: Path, run: TrainedRun, tmp_path: Path) -> None:
        path = compared_on(20, passed, tmp_path)
        found = [scores(path, run.data, precision, "torch") for precision in (None, "float32")]
        assert found[0] == found[1]

    def test_needs_openvino(self, passed: Path) -> None:
        with pytest.raises(UsageError, match=r"precision=int8.*vidlstm\[cpu\]"):
            vidlstm.load(passed, device="cpu", backend="torch", precision="int8")

    def test_is_refused_without_the_comparison(self, trained_run: TrainedRun) -> None:
        ended = command("predict", "-c", trained_run.run, "--precision", "int8", trained_run.data)
        assert (ended.status, ended.out) == (2, "")
        assert "--precision int8: is for the rgb stream" in ended.err

    def test_training_does_not_support_it(self, tiny_data: Path) -> None:
        ended = command("train", tiny_data, "--precision", "int8")
        assert ended.status == 2
        assert "float32" in ended.err


def compared_on(clips: int, path: Path, folder: Path) -> Path:
    """Return a copy of a model with a record of a comparison on this number of clips."""
    model = load_model(path)
    model.training["int8"]["clips"] = clips
    copy = folder / "model.safetensors"
    copy.write_bytes(serialise(model))
    return copy


def scores(
    model: Path, data: Path, precision: LabelPrecision | None, backend: Backend = "auto"
) -> list[float]:
    with vidlstm.load(model, workers=1, device="cpu", backend=backend, precision=precision) as predictor:
        found = predictor.predict(sorted(data.rglob("*.avi")))
        return [record.score for record in found if isinstance(record, Prediction)]
