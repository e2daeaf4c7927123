"""Recorded clips of live events: their frames, and the message if they cannot be written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from vidlstm.media.live.recorder import _MAX_WAITING, Recorder
from vidlstm.media.live.sources import LiveFrame


def give(recorder: Recorder, first: int, last: int, size: tuple[int, int] = (48, 64)) -> None:
    """Add frames at 10 per second, with their number as brightness, no faster than they are written."""
    for number in range(first, last):
        recorder.add(LiveFrame(number / 10, number / 10, np.full((*size, 3), 3 * number + 30, np.uint8)))
        while recorder._queue.qsize() >= _MAX_WAITING // 2:
            time.sleep(0.001)


def shades(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        means = [float(f.to_ndarray(format="rgb24").mean()) for f in container.decode(video=0)]
    return [round((mean - 30) / 3) for mean in means]


def test_a_clip_begins_before_its_event(tmp_path: Path) -> None:
    told: list[str] = []
    recorder = Recorder(3.0, told.append)
    path = tmp_path / "wave" / "2026-11-25T20-14-03.2Z.mp4"
    give(recorder, 0, 50)
    recorder.begin(path, since=3.5)
    give(recorder, 50, 60)
    recorder.end()
    give(recorder, 60, 70)
    recorder.close()
    assert told == []
    assert shades(path) == pytest.approx(list(range(35, 60)), abs=2)
    with av.open(str(path)) as container:
        assert [f.time for f in container.decode(video=0)] == pytest.approx([n / 10 for n in range(25)])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_no_more_than_requested_is_buffered(tmp_path: Path) -> None:
    recorder = Recorder(2.05, print)
    give(recorder, 0, 50)
    recorder.begin(tmp_path / "a.mp4", since=0.0)
    recorder.close()  # also ends the clip
    assert shades(tmp_path / "a.mp4") == pytest.approx(list(range(29, 50)), abs=2)


def test_a_clock_that_was_set_back_does_not_fill_the_memory(tmp_path: Path) -> None:
    recorder = Recorder(0.95, print)
    give(recorder, 50, 70)
    give(recorder, 0, 40)
    recorder.begin(tmp_path / "a.mp4", since=0.0)
    recorder.close()
    assert shades(tmp_path / "a.mp4") == pytest.approx(list(range(30, 40)), abs=2)


def test_a_clip_may_follow_another_and_a_camera_may_change_its_size(tmp_path: Path) -> None:
    recorder = Recorder(1.0, print)
    recorder.begin(tmp_path / "a.mp4", since=0.0)
    give(recorder, 10, 15)
    give(recorder, 15, 20, size=(97, 131))
    recorder.begin(tmp_path / "b.mp4", since=1.5)
    give(recorder, 20, 25, size=(97, 131))
    recorder.close()
    assert shades(tmp_path / "a.mp4") == pytest.approx(list(range(10, 20)), abs=2)
    assert shades(tmp_path / "b.mp4") == pytest.approx(list(range(15, 25)), abs=2)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (130, 96)


def test_a_failed_write_is_reported_once_and_the_next_clip_is_tried(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "wave").write_text("a file where a folder is needed")
    recorder = Recorder(1.0, told.append)
    recorder.begin(tmp_path / "wave" / "a.mp4", since=0.0)
    give(recorder, 0, 5)
    recorder.begin(tmp_path / "sit" / "b.mp4", since=0.2)
    recorder.close()
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path / 'wave' / 'a.mp4'}: ")
    assert len(shades(tmp_path / "sit" / "b.mp4")) == 3


def test_adding_frames_never_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> tuple[bool, Any]:
        time.sleep(0.05)
        return True, np.zeros(4, np.uint8)

    monkeypatch.setattr(cv2, "imencode", slow)
    recorder = Recorder(1.0, print)
    for number in range(1000):
        recorder.add(LiveFrame(number / 10, number / 10, np.zeros((48, 64, 3), np.uint8)))
    assert recorder._queue.qsize() <= _MAX_WAITING
    recorder.close()
