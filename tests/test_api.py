"""`vidlstm.train`, `evaluate` and `crossval`: the sessions of the commands, typed and silent."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import vidlstm
from tests.cli.conftest import vidlstm as command
from vidlstm import api, settings
from vidlstm.engine.events import DataFound, EpochEnded, Saved, SplitMade


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    run = tmp_path_factory.mktemp("api") / "run"
    return vidlstm.train(tiny_data, streams="motion", epochs=2, members=1, workers=1, out=str(run))


class TestTrain:
    def test_gives_the_result_of_the_command(self, trained: Any, tiny_data: Path, tmp_path: Path) -> None:
        options = ("--streams", "motion", "--epochs", "2", "--members", "1", "--workers", "1", "--quiet")
        assert command("train", tiny_data, *options, "--out", tmp_path / "r").status == 0
        assert trained.checkpoint.read_bytes() == (tmp_path / "r" / "model.safetensors").read_bytes()
        assert [epoch.epoch for epoch in trained.epochs] == [1, 2]
        assert trained.classes == ("rise", "sink")
        assert 0 <= trained.report.top1 <= 1
        assert not trained.interrupted

    def test_yields_events_and_prints_nothing(
        self, tiny_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        told: list[object] = []
        vidlstm.train(
            tiny_data, streams="motion", epochs=2, members=1, workers=1, out=tmp_path / "r",
            on_event=told.append,
        )  # fmt: skip
        kinds = [type(event) for event in told]
        assert kinds[:2] == [DataFound, SplitMade]
        assert kinds.count(EpochEnded) == 2
        assert kinds[-1] is Saved
        assert capfd.readouterr() == ("", "")

    def test_an_error_names_the_setting(self, tiny_data: Path, tmp_path: Path) -> None:
        with pytest.raises(vidlstm.VidlstmError, match=r"^`num_frames=0`: must be at least 1"):
            vidlstm.train(tiny_data, num_frames=0, out=tmp_path / "r")
        with pytest.raises(vidlstm.VidlstmError, match=r"^`device=x`: "):
            vidlstm.train(tiny_data, device="x", out=tmp_path / "r")
        assert not (tmp_path / "r").exists()

    def test_an_unknown_keyword_is_refused_as_python_does(self, tiny_data: Path) -> None:
        wrong: dict[str, Any] = {"epoch": 3}
        with pytest.raises(TypeError, match=r"train\(\) got an unexpected keyword argument 'epoch'"):
            vidlstm.train(tiny_data, **wrong)


def test_evaluate_scores_the_held_out_clips_of_the_run(trained: Any, tiny_data: Path, tmp_path: Path) -> None:
    result = vidlstm.evaluate(tiny_data, trained.run, workers=1, page=tmp_path / "out.html")
    assert result.report.top1 == trained.report.top1
    assert result.page == tmp_path / "out.html"
    assert (tmp_path / "out.predictions.csv").is_file()


def test_crossval_scores_every_clip_once(tiny_data: Path, tmp_path: Path) -> None:
    result = vidlstm.crossval(
        tiny_data, folds=2, streams="motion", epochs=1, members=1, workers=1, out=tmp_path / "cv"
    )
    assert result.num_folds == 2
    assert [row.head for row in result.rows] == ["lstm"]
    with (tmp_path / "cv" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["path"] for row in rows) == sorted(map(str, tiny_data.glob("*/*.avi")))
    assert {row["fold"] for row in rows} == {fold.held_out for fold in result.rows[-1].per_fold}
    right = sum(row["predicted"] == row["label"] for row in rows)
    assert right / len(rows) == pytest.approx(result.report.top1)
    assert (tmp_path / "cv" / "report.html").is_file()
    with pytest.raises(vidlstm.VidlstmError, match=r"already holds a report; .*`overwrite=True`"):
        vidlstm.crossval(tiny_data, out=tmp_path / "cv")


@pytest.mark.parametrize(
    ("keywords", "groups"),
    [
        (api.DataKeywords, [settings.DataSettings]),
        (api.ModelKeywords, [settings.ModelSettings]),
        (api.TrainingKeywords, [settings.TrainingSettings]),
        (api.MachineKeywords, [settings.MachineSettings]),
        (
            api.TrainKeywords,
            [
                settings.DataSettings, settings.SplitSettings, settings.ModelSettings,
                settings.TrainingSettings, settings.FineTuneSettings, settings.MachineSettings,
                settings.OutputSettings,
            ],
        ),
    ],
)  # fmt: skip
def test_keywords_are_the_fields_of_the_settings(keywords: Any, groups: list[Any]) -> None:
    own = {field.name for group in groups for field in fields(group)} - {"data"}
    assert set(get_type_hints(keywords)) - {"cache"} == own


def test_the_package_root_offers_them_without_importing_torch() -> None:
    script = "import sys; from vidlstm import crossval, evaluate, train; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
