"""The pages and plots of `train` and `eval`, end to end."""

from __future__ import annotations

import io
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.cli.shell import TrainedRun, shell
from tests.media.conftest import write_video
from vidlstm.config import Kind, ModelConfig, StreamName
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.thumbnails import contact_sheet, thumbnail_strip, thumbnail_strips
from vidlstm.media.jpeg import encode_jpeg


def test_training_writes_the_page_and_the_plots(trained_run: TrainedRun) -> None:
    page = (trained_run.run / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "Trained on" in page
    for name in ("curves.png", "confusion.png", "reliability.png"):
        assert (trained_run.run / name).read_bytes().startswith(b"\x89PNG")


def test_eval_writes_the_requested_page_with_plots_beside_it(trained_run: TrainedRun, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()  # a folder with the page's name without suffix must stay empty
    ended = shell(
        "eval",
        trained_run.data,
        "-c",
        trained_run.model,
        "--split",
        "all",
        "--report",
        "out.html",
        cwd=tmp_path,
    )
    assert ended.status == 0, ended.err
    left = sorted(file.name for file in tmp_path.iterdir())
    assert left == [
        "out", "out.confusion.png", "out.curves.png", "out.html", "out.predictions.csv", "out.reliability.png"
    ]  # fmt: skip
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "the model was trained on" in page
    assert "Fewer than 5 clips" not in page
    assert "--report out.html" in page


def test_a_report_that_could_not_be_written_is_found_early(trained_run: TrainedRun, tmp_path: Path) -> None:
    for place in (".",):
        ended = shell("eval", trained_run.data, "-c", trained_run.model, "--report", place, cwd=tmp_path)
        assert ended.status == 2
        assert f"--report {place}" in ended.err
        assert "top-1" not in ended.err


def test_thumbnails_keep_the_aspect_ratio(trained_run: TrainedRun) -> None:
    clip = next(trained_run.data.rglob("*.avi"))
    strip = thumbnail_strip(clip, "video")
    assert len(strip) == 6
    with Image.open(io.BytesIO(strip[0])) as image:
        assert (image.format, image.height) == ("JPEG", 96)


def test_thumbnails_show_the_people_that_the_model_sees(
    trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(pictures: NDArray[np.uint8], networks: Path, wanted: int) -> NDArray[np.float32]:
        assert (len(pictures), networks, wanted) == (12, Path("networks"), 2), "the moments that it reads"
        people = np.full((12, 2, 13, 3), np.nan, np.float32)
        people[5:, 0] = np.concatenate(
            [np.random.default_rng(0).uniform(5, 40, (13, 2)), np.ones((13, 1))], 1
        )
        return people

    monkeypatch.setattr("vidlstm.engine.extraction.people.find_people", find)
    clip = next(trained_run.data.rglob("*.avi"))
    streams: tuple[StreamName, ...]
    orange = []
    for streams in ("motion",), ("motion", "pose"):
        config = ModelConfig.default("video", ("rise", "sink")).changed(streams=streams)
        request = ReadRequest.of(config, views=1, pose_networks=Path("networks"))
        strip = thumbnail_strip(clip, "video", request=request)
        frames = np.stack([np.asarray(Image.open(io.BytesIO(jpeg))).astype(int) for jpeg in strip])
        assert frames.shape[:2] == (6, 96)
        orange.append((frames[..., 0] - frames[..., 2] > 120).any((1, 2)).tolist())
    assert orange == [[False] * 6, [False, False, False, True, True, True]]


def test_thumbnails_of_a_span_show_nothing_else(tmp_path: Path) -> None:
    levels = [np.full((48, 64, 3), 200 if 20 <= number < 30 else 20, np.uint8) for number in range(60)]
    film = write_video(tmp_path / "film.avi", levels, fps=10)
    for span, level in (((0.0, 2.0), 20), ((2.0, 3.0), 200), ((3.0, 6.5), 20)):
        strip = thumbnail_strip(film, "video", span)
        assert [np.asarray(Image.open(io.BytesIO(jpeg))).mean() for jpeg in strip] == pytest.approx(
            [level] * 6, abs=5
        )
    assert len(thumbnail_strip(film, "video", (2.0, 2.1))) == 1  # one frame
    sheet, width, height = contact_sheet(film, "video", (2.0, 3.0))
    assert Image.open(io.BytesIO(sheet)).size == (width, height) == (6 * 256, 192)


def test_thumbnails_of_a_span_show_the_people_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(pictures: NDArray[np.uint8], networks: Path, wanted: int) -> NDArray[np.float32]:
        assert pictures.shape == (16, 48, 64, 3)
        assert pictures.mean() == pytest.approx(200, abs=5), "only this part"
        people = np.full((16, wanted, 13, 3), np.nan, np.float32)
        people[8:, 1] = np.concatenate(
            [np.random.default_rng(0).uniform(5, 40, (13, 2)), np.ones((13, 1))], 1
        )
        return people

    monkeypatch.setattr("vidlstm.engine.extraction.people.find_people", find)
    levels = [np.full((48, 64, 3), 200 if 20 <= number < 40 else 20, np.uint8) for number in range(60)]
    film = write_video(tmp_path / "film.avi", levels, fps=10)
    config = ModelConfig.default("video", ("a", "b")).changed(streams=("pose",))
    request = ReadRequest.of(config, views=1, pose_networks=Path("networks"))
    strip = thumbnail_strip(film, "video", (2.0, 4.0), request)
    frames = np.stack([np.asarray(Image.open(io.BytesIO(jpeg))).astype(int) for jpeg in strip])
    blue = (frames[..., 2] - frames[..., 0] > 100).any((1, 2))
    assert blue.tolist() == [False] * 3 + [True] * 3


def test_a_clip_that_cannot_be_read_has_no_thumbnails(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    assert thumbnail_strips([(broken, None), (tmp_path / "gone.mp4", None)], "video") == {}


@pytest.mark.parametrize("harm", ["crash", "hang"])
def test_a_clip_that_crashes_its_decoder_has_no_thumbnails_and_the_page_is_written(
    trained_run: TrainedRun, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    good, bad = sorted(trained_run.data.rglob("*.avi"))[:2]
    monkeypatch.setattr("vidlstm.engine.extraction.thumbnails.thumbnail_strip", partial(_harm, bad, harm))
    assert set(thumbnail_strips([(bad, None), (good, None)], "video", clip_seconds=5)) == {(good, None)}


def _harm(bad: Path, harm: str, path: Path, kind: Kind, times: None, request: None) -> list[bytes]:
    if path == bad and harm == "crash":
        os._exit(9)
    if path == bad:
        time.sleep(600)
    return [b"strip"]


def test_finding_people_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    class Pool(DecodePool):
        def __init__(self, num_workers: int, clip_seconds: float) -> None:
            limits.append(clip_seconds)
            super().__init__(num_workers, clip_seconds)

    monkeypatch.setattr("vidlstm.engine.extraction.thumbnails.DecodePool", Pool)
    config = ModelConfig.default("video", ("a", "b"))
    for changed in (config, config.changed(streams=("pose",))):
        assert thumbnail_strips([(Path("gone.mp4"), None)], "video", ReadRequest.of(changed, views=1)) == {}
    assert limits[0] < limits[1]


def test_a_picture_is_one_thumbnail_and_keeps_its_colours(tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    Image.new("RGB", (200, 100), (220, 30, 20)).save(file)
    (jpeg,) = thumbnail_strip(file, "picture")
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.size == (192, 96)
        assert np.allclose(np.asarray(image).mean((0, 1)), (220, 30, 20), atol=8)


def test_a_jpeg_has_the_size_that_was_asked_for() -> None:
    with Image.open(io.BytesIO(encode_jpeg(np.zeros((40, 30, 3), np.uint8), 20, 10))) as image:
        assert image.size == (20, 10)
