"""A model in a Python program: the same records as the command, however a program or notebook uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import vidlstm
from tests.cli import conftest as commands
from tests.cli.shell import TrainedRun
from vidlstm.config import ModelConfig
from vidlstm.engine.extraction.processes.worker import Worker
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.engine.prediction.predictor import Predictor
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.models.checkpoint import build_model, serialise
from vidlstm.models.encoders import build_encoder
from vidlstm.records import Failure, Prediction


@pytest.fixture(scope="module")
def predictor(trained_run: TrainedRun) -> Iterator[Predictor]:
    with vidlstm.load(trained_run.run, workers=1) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def files(tiny_data: Path) -> list[Path]:
    return sorted(tiny_data.rglob("*.avi"))


def paths(records: Iterator[Prediction | Failure]) -> list[str]:
    return [record.path for record in records]


def test_the_records_are_those_of_the_command(
    predictor: Predictor, trained_run: TrainedRun, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("no clip")
    names = [str(files[0]), str(tmp_path / "text.mp4"), str(files[1]), str(tmp_path / "gone\udcff.mp4")]
    told = commands.vidlstm("predict", *names, "-c", trained_run.model, "--format", "jsonl", "--top-k", "1")
    records = list(predictor.predict(names, top_k=1))
    assert [type(record) for record in records] == [Prediction, Failure, Prediction, Failure]
    assert [record.to_json() for record in records] == [json.loads(line) for line in told.lines]


def test_files_are_strings_or_paths_single_or_in_an_iterator(predictor: Predictor, files: list[Path]) -> None:
    expected = [str(file) for file in files[:3]]
    assert paths(predictor.predict(str(files[0]))) == expected[:1]
    assert paths(predictor.predict(files[0])) == expected[:1]
    assert paths(predictor.predict(iter(files[:3]))) == expected
    assert paths(predictor.predict([expected[0], *files[1:3]])) == expected
    assert paths(predictor.predict([])) == []


def test_names_are_returned_unchanged(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files[0].parent)
    assert paths(predictor.predict(f"./{files[0].name}")) == [f"./{files[0].name}"]


def test_a_score_below_the_minimum_removes_the_label(predictor: Predictor, files: list[Path]) -> None:
    (record,) = predictor.predict(files[0], min_score=1.0)
    assert isinstance(record, Prediction)
    assert record.label is None
    assert {score.label for score in record.top} == set(predictor.classes) == {"rise", "sink"}


def test_it_can_be_reused_after_stopping_early(predictor: Predictor, files: list[Path]) -> None:
    assert paths(islice(predictor.predict(files), 1)) == [str(files[0])]
    records = predictor.predict(files[:4])
    next(records)
    assert paths(predictor.predict(files[5])) == [str(files[5])]
    assert paths(records) == [str(file) for file in files[1:4]]  # even if an earlier run is unfinished


def test_the_caller_keeps_its_number_of_threads(predictor: Predictor, files: list[Path]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for _ in predictor.predict(files[:2]):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_interrupted_source_raises_in_the_caller(predictor: Predictor, files: list[Path]) -> None:
    def source() -> Iterator[Path]:
        yield files[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(predictor.predict(source()))
    assert paths(predictor.predict(files[1])) == [str(files[1])]


def workers(predictor: Predictor) -> list[Worker]:
    assert isinstance(predictor._extractor.source, LocalSource)
    return predictor._extractor.source.pool._workers


def test_a_closed_predictor_ends_its_processes_and_raises_for_remaining_files(
    trained_run: TrainedRun, files: list[Path]
) -> None:
    with vidlstm.load(trained_run.model, workers=1) as predictor:
        records = predictor.predict(files)
        next(records)
        (worker,) = workers(predictor)
        process = worker._process
        assert process is not None
    assert process.poll() is not None
    with pytest.raises(ValueError, match="closed"):
        list(records)
    with pytest.raises(ValueError, match="closed"):
        list(predictor.predict(files))


def test_a_garbage_collected_predictor_ends_its_processes(trained_run: TrainedRun, files: list[Path]) -> None:
    predictor = vidlstm.load(trained_run.model, workers=1)
    list(predictor.predict(files[0]))
    process = workers(predictor)[0]._process
    assert process is not None
    del predictor
    assert process.poll() is not None


def test_invalid_settings_are_refused_at_once(
    predictor: Predictor, trained_run: TrainedRun, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        vidlstm.load(tmp_path)
    with pytest.raises(vidlstm.VidlstmError, match=r"^`device=tpu`: "):
        vidlstm.load(trained_run.run, device="tpu", workers=1)
    with pytest.raises(UsageError, match="workers=0"):
        vidlstm.load(trained_run.run, workers=0)
    with pytest.raises(UsageError, match="timeout=0"):
        vidlstm.load(trained_run.run, timeout=0)
    with pytest.raises(UsageError, match="top_k=0"):
        predictor.predict([], top_k=0)
    with pytest.raises(UsageError, match=r"min_score=1\.5"):
        predictor.predict([], min_score=1.5)


def test_a_picture_model_labels_pictures(tmp_path: Path) -> None:
    config = ModelConfig.default("picture", ("cat", "dog"), "simple")
    torch.manual_seed(0)
    encoder = build_encoder(config.encoder)
    model = build_model(config, {"rgb": encoder.width}, encoder)
    (tmp_path / "model.safetensors").write_bytes(serialise(model))
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(tmp_path / "a.png")
    with vidlstm.load(tmp_path, workers=1) as predictor:
        good, bad = predictor.predict([tmp_path / "a.png", tmp_path / "model.safetensors"])
    assert isinstance(good, Prediction)
    assert good.seconds is None
    assert isinstance(bad, Failure)
    assert bad.problem.code == "not_a_picture"


SCRIPT = """
import sys, vidlstm
print("begins")
for record in vidlstm.load(sys.argv[1], workers=2).predict(sys.argv[2:]):
    print(record.label)
"""


@pytest.mark.parametrize("way", ["a file", "-"])
def test_a_script_needs_no_main_guard(
    way: str, trained_run: TrainedRun, files: list[Path], tmp_path: Path
) -> None:
    program = tmp_path / "script.py"
    program.write_text(SCRIPT)
    first = str(program) if way == "a file" else "-"
    done = subprocess.run(
        [sys.executable, first, trained_run.model, *files[:2]],
        input=SCRIPT if way == "-" else None,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(vidlstm.__file__).parents[1])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    begins, *labels = done.stdout.splitlines()
    assert begins == "begins"
    assert set(labels) <= {"rise", "sink"}
    assert len(labels) == 2


class TestFrames:
    @staticmethod
    def frames_of(clip: Path) -> NDArray[np.uint8]:
        capture = cv2.VideoCapture(str(clip))
        found = []
        while (read := capture.read())[0]:
            found.append(read[1][..., ::-1].astype(np.uint8))
        capture.release()
        return np.stack(found)

    def test_give_the_same_record_as_their_file(self, trained_run: TrainedRun, predictor: Predictor) -> None:
        clip = next(trained_run.data.glob("rise/*.avi"))
        frames = self.frames_of(clip)
        (file,) = predictor.predict(clip)
        (array,) = predictor.predict(frames, fps=12)
        (timed,) = predictor.predict(frames, times=np.arange(len(frames)) / 12 + 5.0)
        assert isinstance(file, Prediction)
        assert isinstance(array, Prediction)
        assert isinstance(timed, Prediction)
        assert array.path == timed.path == "frames"
        assert array.label == timed.label == file.label
        assert array.seconds == pytest.approx(1.0)
        for own in (array, timed):
            assert [s.score for s in own.top] == pytest.approx([s.score for s in file.top], abs=1e-4)

    def test_one_frame_is_a_clip(self, predictor: Predictor) -> None:
        (record,) = predictor.predict(np.zeros((1, 48, 64, 3), np.uint8), times=[0.0])
        assert isinstance(record, Prediction)

    @pytest.mark.parametrize(
        ("shape", "clock", "says"),
        [
            ((4, 48, 64), {"fps": 25}, "must be uint8 RGB"),
            ((0, 48, 64, 3), {"fps": 25}, "must not be empty"),
            ((4, 48, 64, 3), {}, "give either fps or times"),
            ((4, 48, 64, 3), {"fps": 0}, "must be above 0"),
            ((4, 48, 64, 3), {"times": [0, 1, 2]}, "3 times for 4 frames"),
            ((4, 48, 64, 3), {"times": [0, 2, 1, 3]}, "must be finite and increase"),
        ],
    )
    def test_are_refused_if_invalid(
        self, predictor: Predictor, shape: tuple[int, ...], clock: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(UsageError, match=says):
            list(predictor.predict(np.zeros(shape, np.uint8), **clock))
