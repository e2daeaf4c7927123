"""`train --tensorboard`: events that TensorBoard's own reader understands, also after a resume."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import vidlstm
from tests.report.made import make_epochs
from vidlstm.engine.training.tensorboard import EventLog

QUICK = ("--streams", "motion", "--epochs", "2", "--members", "1", "--workers", "1")


def read(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of every visible event, by name."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    reader = pytest.importorskip(module, reason="tensorboard is not installed").EventAccumulator(
        str(run / "tensorboard")
    )
    reader.Reload()
    return {
        name: [(event.step, event.value) for event in reader.Scalars(name)]
        for name in reader.Tags()["scalars"]
    }


def steps(run: Path) -> list[int]:
    return [step for step, _ in read(run)["loss/training"]]


def test_the_events_are_the_metrics(tiny_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    ended = vidlstm("train", tiny_data, *QUICK, "--tensorboard", "--out", tmp_path / "run")
    assert ended.status == 0, ended.err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    told = read(tmp_path / "run")
    assert told.keys() == {"loss/training", "loss/validation", "top1/validation", "learning_rate"}
    for name, key in (("loss/training", "train_loss"), ("top1/validation", "val_top1")):
        assert [step for step, _ in told[name]] == [1, 2]
        assert [value for _, value in told[name]] == pytest.approx([line[key] for line in lines])


class TestResume:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")

    def write(self, run: Path, before: int, to: int, rate: float = 0.1) -> None:
        """Write the events of a training that resumes after epoch `before` and ends or is killed at `to`."""
        epochs = [replace(epoch, learning_rate=rate) for epoch in make_epochs(5)]
        log = EventLog(run, epochs[:before])
        for epoch in epochs[before:to]:
            log.write(epoch)
        log.close()

    def test_events_of_lost_epochs_are_removed(self, tmp_path: Path) -> None:
        self.write(tmp_path, 0, 3)
        self.write(tmp_path, 2, 5, rate=0.7)
        assert steps(tmp_path) == [1, 2, 3, 4, 5]
        rates = [value for _, value in read(tmp_path)["learning_rate"]]
        assert rates == pytest.approx([0.1, 0.1, 0.7, 0.7, 0.7])

    def test_with_tensorboard_also_writes_earlier_epochs(self, tmp_path: Path) -> None:
        self.write(tmp_path, 3, 5)
        assert steps(tmp_path) == [1, 2, 3, 4, 5]

    def test_a_run_that_replaces_another_starts_with_no_events(self, tmp_path: Path) -> None:
        self.write(tmp_path, 0, 5)
        self.write(tmp_path, 0, 2)
        assert steps(tmp_path) == [1, 2]

    def test_without_validation_there_is_only_the_training(self, tmp_path: Path) -> None:
        log = EventLog(tmp_path, [])
        log.write(replace(make_epochs(1)[0], val_loss=None, val_top1=None))
        log.close()
        assert read(tmp_path).keys() == {"loss/training", "learning_rate"}


def test_a_package_that_is_not_there_is_found_before_any_work(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidlstm.engine.training.tensorboard.find_spec", lambda name: None)
    ended = vidlstm("train", tiny_data, *QUICK, "--tensorboard", "--out", tmp_path / "run")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        "vidlstm: --tensorboard: the package is not installed; pip install 'vidlstm[tensorboard]'\n"
    )
    assert not (tmp_path / "run").exists()


def test_it_is_not_imported_without_the_option(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # makes its import fail
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    assert vidlstm("train", tiny_data, *QUICK, "-q", "--out", tmp_path / "run").status == 0
    assert not (tmp_path / "run" / "tensorboard").exists()
