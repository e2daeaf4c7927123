"""Frames of real local sources: their times, their ends, and the messages when they fail."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.media.conftest import number_of
from tests.mjpeg import MjpegServer
from vidlstm.errors import SourceError
from vidlstm.media.live import sources
from vidlstm.media.live.address import parse_address
from vidlstm.media.live.sources import open_source


def pictures(number: int) -> list[bytes]:
    shades = (np.full((48, 64, 3), 8 * n, np.uint8) for n in range(number))
    return [cv2.imencode(".jpg", shade)[1].tobytes() for shade in shades]


def test_mjpeg_over_http_is_timed_by_our_clock_and_lost_with_its_server() -> None:
    with MjpegServer(pictures(6), fps=50) as server, open_source(parse_address(server.url)) as source:
        frames = [next(source.frames) for _ in range(6)]
        shades = np.array([round(f.image.mean() / 8) for f in frames])
        assert (np.diff(shades) % 6 == 1).all()  # FFmpeg may probe with the first ones
        assert all(f.seconds == f.shown for f in frames)
        assert frames[-1].shown <= time.monotonic()
        server.close()
        with pytest.raises(SourceError, match=r"^http://127\.0\.0\.1:\d+/video: "):
            list(source.frames)


def test_an_unreachable_address_gives_the_reason_without_the_password() -> None:
    with socket.socket() as bound:  # bound, but not listening
        bound.bind(("127.0.0.1", 0))
        address = parse_address(f"http://user:secret@127.0.0.1:{bound.getsockname()[1]}/?token=secret")
        with pytest.raises(SourceError, match="cannot be opened: Connection refused") as raised:
            open_source(address).__enter__()
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_a_stream_that_hangs_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "READ_SECONDS", 0.5)
    with (
        MjpegServer(pictures(6), fps=50, once=True) as server,
        open_source(parse_address(server.url)) as source,
        pytest.raises(SourceError, match=r"no answer within 0\.5 s"),
    ):
        list(source.frames)


def test_a_web_page_is_not_a_stream() -> None:
    with (
        MjpegServer([b"<html>" * 100], fps=50) as server,
        pytest.raises(SourceError, match="video: "),
        open_source(parse_address(server.url)) as source,
    ):
        list(source.frames)


def test_a_replayed_file_keeps_its_own_times(numbered: Callable[..., Path]) -> None:
    slept: list[float] = []
    path = numbered(30, fps=25)
    with open_source(parse_address(str(path), realtime=True), slept.append) as source:
        frames = list(source.frames)
    assert source.fps == pytest.approx(25)
    assert [number_of(f.image) for f in frames] == list(range(30))
    assert [f.seconds for f in frames] == pytest.approx([n / 25 for n in range(30)], abs=1e-3)
    assert [f.shown - frames[0].shown for f in frames] == pytest.approx([f.seconds for f in frames])
    assert sum(slept) > 0  # it waits until frames are due


def test_a_damaged_file_is_replayed_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as made:
        video = made.add_stream("libx264", rate=25, options={"g": "25", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 96, 96, "yuv420p"
        for _ in range(75):
            noise = rng.integers(0, 255, (96, 96, 3), np.uint8)
            made.mux(video.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        made.mux(video.encode(None))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = rng.bytes(3000)
    path.write_bytes(content)
    with open_source(parse_address(str(path), realtime=True), lambda _: None) as source:
        assert sum(1 for _ in source.frames) >= 74


def test_a_file_that_is_not_a_film_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 100)
    with pytest.raises(SourceError, match="cannot be read as a video"):
        open_source(parse_address(str(path), realtime=True)).__enter__()


def test_a_missing_camera() -> None:
    with pytest.raises(SourceError, match=r"^camera 63: cannot be opened; is it connected, not in use"):
        open_source(parse_address("63")).__enter__()


def test_a_queue_on_the_way_counts_as_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = sources._by_quickest()
    assert clock(5.0) == (5.0, 100.0)
    now = 102.0  # one second of frames took two to arrive
    seconds, shown = clock(6.0)
    assert seconds == 6.0
    assert now - shown == pytest.approx(1.0, abs=0.01)


def test_a_burst_is_played_by_its_times(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    slept: list[float] = []
    clock = sources._by_times(slept.append)
    assert [clock(10 + n / 25)[1] for n in range(3)] == pytest.approx([50.0, 50.04, 50.08])
    assert slept == pytest.approx([0.04, 0.08])


@pytest.mark.parametrize("jump", [-500.0, -3.0, 500.0])
@pytest.mark.parametrize("played", [True, False])
def test_a_clock_that_is_set_delays_no_frame(
    jump: float, played: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    clock = sources._by_times(sleep) if played else sources._by_quickest()
    times = [500 + n / 25 + (jump if n >= 50 else 0) for n in range(100)]
    shown = []
    for seconds in times:
        found = clock(seconds)
        assert found[0] == seconds
        assert 0 <= now - found[1] < 0.01
        shown.append(found[1])
        now += 0.04
    assert np.diff(shown) == pytest.approx(0.04, abs=0.005)


def test_lag_stays_known_while_only_key_frames_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = sources._by_quickest()
    clock(5.0)
    now = 110.0  # a queue of 10 s, of which every fourth second is decoded
    assert [round(now - clock(seconds)[1], 1) for seconds in (6.0, 10.0, 14.0)] == [9.0, 5.0, 1.0]


def test_frames_without_a_time_do_not_delay_those_that_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)
    slept: list[float] = []
    clock = sources._by_times(slept.append)
    assert [clock(seconds)[1] for seconds in (None, 1400.0)] == [50.0, 50.0]
    assert slept == []
