"""Reading H.264 without decoding unneeded pictures: the same frames as a full decode, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.media.conftest import HEIGHT, WIDTH, number_of, numbered_frame
from vidlstm.config import Sampling
from vidlstm.media.clips import Clip, ClipSpec, PairSpec, read_clip
from vidlstm.media.opencv import cv2
from vidlstm.media.video.base import DoubtError, Video
from vidlstm.media.video.open import _log_changed_pyav, open_video
from vidlstm.media.video.pyav import h264_reader as selective
from vidlstm.media.video.pyav.h264 import Role, role_of
from vidlstm.media.video.pyav.h264_reader import SelectiveVideo
from vidlstm.media.video.pyav.reader import PyAvVideo

IBBP = "keyint=1000:scenecut=0:b-adapt=0:bframes=2:b-pyramid=none"
GROUPS = "keyint=30:scenecut=0:open-gop=0:bframes=3"
SPEC = ClipSpec(Sampling(num_frames=6), size=WIDTH)


def write_h264(
    path: Path,
    num_frames: int,
    x264: str = GROUPS,
    *,
    pixels: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    turned: int = 0,
) -> Path:
    """Write numbered frames on a coloured background, at 25 per second or at given 60ths of a second."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 60, (4, 6, 3), np.uint8), (WIDTH, HEIGHT))
    rate = 25 if ticks is None else 60
    with av.open(str(path), "w") as file:
        options = {"crf": "12", "preset": "fast", "x264-params": x264}
        stream = file.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        if turned:
            stream.set_display_rotation(turned)
        for number in range(num_frames):
            picture = np.asarray(cv2.add(numbered_frame(number), ground), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts = number if ticks is None else int(ticks[number])
            frame.time_base = Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def opened(path: Path) -> SelectiveVideo:
    video = open_video(path, selective=True)
    assert isinstance(video, SelectiveVideo)
    return video


def is_selective(path: Path) -> bool:
    with open_video(path, selective=True) as video:
        return isinstance(video, SelectiveVideo)


def assert_same_as_full_decode(path: Path, wanted: Sequence[int]) -> None:
    with opened(path) as video, open_video(path, seek=False) as other:
        assert isinstance(other, PyAvVideo)
        video.expect(wanted)
        for ours, theirs in zip(video.read(wanted), other.read(wanted), strict=True):
            assert (ours.index, ours.seconds) == (theirs.index, theirs.seconds)
            np.testing.assert_array_equal(ours.image, theirs.image)
        assert video.read_to_end() == other.read_to_end()
        assert video.end_seconds == other.end_seconds
        assert video.info == other.info


def read_both(path: Path, spec: ClipSpec, patch: pytest.MonkeyPatch) -> tuple[Clip, Clip]:
    """Read a clip with and without skipping pictures."""
    clip = read_clip(path, spec)
    with patch.context() as without:
        without.setattr("vidlstm.media.video.open.can_be_selective", lambda source: False)
        return clip, read_clip(path, spec)


def assert_same_clips(one: Clip, other: Clip) -> None:
    # Damage inside a skipped picture is not noticed.
    assert replace(one.info, notes=()) == replace(other.info, notes=())
    for name in ("frames", "frame_table", "times", "table", "pairs", "pair_seconds"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def needed_packet(path: Path) -> tuple[int, bytes]:
    """Return position and bytes of a reference picture in the middle of the file."""
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
        for packet in packets[len(packets) // 2 :]:
            content = bytes(packet)
            if role_of(memoryview(content), 4) is Role.NEEDED:
                return path.read_bytes().index(content), content
    raise AssertionError("there is none")


# The frames are those of a full decode.


@pytest.mark.usefixtures("_kept_or_not")
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    "x264",
    [
        IBBP,
        GROUPS,
        "keyint=40:bframes=8:b-pyramid=normal:ref=4",
        "bframes=0",
        "keyint=1",
        "slices=3:bframes=2",
    ],
)
def test_frames_have_the_bits_of_a_full_decode(tmp_path: Path, container: str, x264: str) -> None:
    path = write_h264(tmp_path / f"clip.{container}", 90, x264)
    for wanted in ([0, 1, 2, 44, 45, 46, 89], [7, 8, 50], list(range(90))):
        assert_same_as_full_decode(path, wanted)


@pytest.mark.parametrize(
    "colours",
    [
        "colormatrix=bt709:colorprim=bt709:transfer=bt709",
        "colormatrix=smpte170m:colorprim=smpte170m:transfer=smpte170m",
        "colormatrix=bt470bg:colorprim=bt470bg:transfer=bt470bg",
        "colormatrix=bt709:fullrange=on",
        "fullrange=on",
    ],
)
def test_colours_equal_a_full_decode(tmp_path: Path, colours: str) -> None:
    path = write_h264(tmp_path / "clip.mp4", 12, f"{GROUPS}:{colours}")
    assert_same_as_full_decode(path, [0, 5, 11])


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, turned: int) -> None:
    assert_same_as_full_decode(write_h264(tmp_path / "clip.mov", 12, turned=turned), [0, 5, 11])


def test_sample_videos_as_h264(tmp_path: Path) -> None:
    """Re-encoded drawings: pictures refer to each other in many ways."""
    for source in sorted((Path(__file__).parents[2] / "sample_videos").glob("*/person01*.mp4")):
        path = tmp_path / f"{source.parent.name}.mp4"
        with open_video(source) as video, av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", rate=25, options={"preset": "slow"})
            stream.width, stream.height, stream.pix_fmt = video.info.width, video.info.height, "yuv420p"
            for frame in video.read(range(1000)):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, "bgr24")))
            file.mux(stream.encode())
        with opened(path) as written:
            assert_same_as_full_decode(path, range(0, written.expected, 5))


@pytest.mark.parametrize("pairs", [None, PairSpec(0.08, WIDTH), PairSpec(1.0, WIDTH)])
@pytest.mark.parametrize("size", [WIDTH, None])
def test_clips_with_uneven_times_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: PairSpec | None, size: int | None
) -> None:
    ticks = np.cumsum(np.random.default_rng(0).choice([1, 2, 3, 6], 200)).tolist()
    path = write_h264(tmp_path / "clip.mkv", 200, ticks=ticks)
    for sampling in (Sampling(num_frames=6), Sampling("dense", num_frames=4, stride=3)):
        spec = ClipSpec(sampling, views=2, size=size, pairs=pairs, every_second=True)
        assert_same_clips(*read_both(path, spec, monkeypatch))


# All versions of PyAV.


def test_the_whole_file_is_decoded_if_pyav_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_h264(tmp_path / "clip.mp4", 40)
    expected = read_clip(path, SPEC)

    def changed(*_: object) -> None:
        raise AttributeError("no such name")

    _log_changed_pyav.cache_clear()
    monkeypatch.setattr(SelectiveVideo, "goto", changed)
    for _ in range(2):
        with open_video(path, selective=True) as video:
            assert isinstance(video, PyAvVideo)
        assert_same_clips(read_clip(path, SPEC), expected)
    reason = "has changed (AttributeError: no such name); H.264 files are decoded in full, which is slower"
    assert caplog.messages == [f"PyAV {av.__version__} {reason}"]


@pytest.mark.parametrize("selective", [True, False])
def test_tags_that_are_not_utf8(tmp_path: Path, selective: bool) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        file.metadata["title"], stream.metadata["title"] = "of a file", "of a stream"
        file.mux([*stream.encode(av.VideoFrame.from_ndarray(numbered_frame(1), "bgr24")), *stream.encode()])
    content = path.read_bytes()
    for tag in (b"of a file", b"of a stream"):
        assert tag in content
        content = content.replace(tag, b"\xff" * len(tag))
    path.write_bytes(content)
    with open_video(path, selective=selective) as video:
        assert number_of(video.image()) == 1


# Skipped pictures.


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The times of the packets that are sent to the decoder."""
    given: list[int] = []
    receive = SelectiveVideo._receive

    def watched(video: SelectiveVideo, packet: Any) -> None:
        if packet is not None:
            given.append(round(float(packet.pts * packet.time_base) * 25))
        receive(video, packet)

    monkeypatch.setattr(SelectiveVideo, "_receive", watched)
    monkeypatch.setattr(selective, "decoding_threads", lambda: 1)
    return given


def test_unreferenced_pictures_are_skipped_unless_wanted(tmp_path: Path, decoded: list[int]) -> None:
    path = write_h264(tmp_path / "clip.mkv", 100, IBBP)
    with opened(path) as video:
        before = set(decoded)
        assert before <= set(range(7)), "the first frame takes no more"
        video.expect([20, 50])
        assert [number_of(frame.image) for frame in video.read([20, 50])] == [20, 50]
        in_time = [number for number in decoded if number <= 48]
        assert set(in_time) - before == {*range(3, 49, 3), 20} - before
        assert max(decoded) <= 57, "reading stops at the last one"
        assert video.read_to_end() == 100
        assert not video.jumped
    assert set(decoded) - before == {*range(3, 100, 3), 20, 50} - before


@pytest.mark.usefixtures("_kept_or_not")
def test_whole_groups_of_pictures_are_skipped(tmp_path: Path, decoded: list[int]) -> None:
    path = write_h264(tmp_path / "clip.mp4", 300)
    with opened(path) as video:
        before = len(decoded)
        video.expect([125, 275])
        assert [number_of(frame.image) for frame in video.read([125, 275])] == [125, 275]
        assert video.jumped
        assert video.read_to_end() == 300
        assert video.end_seconds == pytest.approx(12)
    assert {number // 30 for number in decoded[before:]} == {4, 9}
    assert_same_as_full_decode(path, [0, 125, 126, 275, 299])


def test_goto_needs_an_announced_frame(tmp_path: Path) -> None:
    with opened(write_h264(tmp_path / "clip.mp4", 60, IBBP)) as video:
        video.expect([30, 40])
        video.goto(30)
        with pytest.raises(ValueError, match="in order"):
            video.goto(29)
        with pytest.raises(ValueError, match="announced"):
            video.goto(32)
        assert not video.goto(60)
        assert video.count == 60


def test_without_a_plan_every_frame_is_returned(tmp_path: Path) -> None:
    with opened(write_h264(tmp_path / "clip.mp4", 40)) as video:
        numbers = [number_of(video.image())]
        while video.step():
            numbers.append(number_of(video.image()))
    assert numbers == list(range(40))
    assert video.count == 40


# In any doubt, everything is decoded.


@pytest.mark.parametrize(
    ("name", "x264"),
    [
        ("clip.avi", GROUPS),  # times are guessed
        ("clip.mp4", "keyint=20:scenecut=0:open-gop=1:bframes=4"),  # references across keyframes
        ("clip.mp4", "keyint=20:intra-refresh=1"),  # no picture to start from
    ],
)
def test_unusual_files_are_decoded_in_full(tmp_path: Path, name: str, x264: str) -> None:
    assert not is_selective(write_h264(tmp_path / name, 60, x264))


@pytest.mark.parametrize(
    ("x264", "pixels"),
    [
        (f"{GROUPS}:tff=1", "yuv420p"),
        (GROUPS, "yuv444p"),
        (f"{GROUPS}:colorprim=bt2020:transfer=arib-std-b67", "yuv420p"),
    ],
)
def test_unusual_pixel_formats_do_not_matter(tmp_path: Path, x264: str, pixels: str) -> None:
    assert_same_as_full_decode(write_h264(tmp_path / "clip.mp4", 60, x264, pixels=pixels), [0, 7, 31, 59])


def test_other_codecs_are_decoded_in_full(long_clip: Path) -> None:
    assert not is_selective(long_clip)


def test_a_missing_frame_ends_selective_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference picture is replaced by something that is not a picture."""
    path = write_h264(tmp_path / "clip.mp4", 90, IBBP)
    place, _ = needed_packet(path)
    content = bytearray(path.read_bytes())
    content[place + 4] |= 31
    path.write_bytes(content)
    with opened(path) as video:
        video.expect([80])
        with pytest.raises(DoubtError):
            video.goto(80)
    kinds: list[Video] = []

    def watched(*args: Any, **options: Any) -> Video:
        kinds.append(open_video(*args, **options))
        return kinds[-1]

    with monkeypatch.context() as patch:
        patch.setattr("vidlstm.media.clips.open_video", watched)
        read_clip(path, SPEC)
    assert isinstance(kinds[0], SelectiveVideo)
    assert all(isinstance(video, PyAvVideo) for video in kinds[1:])
    assert_same_clips(*read_both(path, SPEC, monkeypatch))


@pytest.mark.usefixtures("_kept_or_not")
def test_damaged_files_give_the_frames_of_a_full_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_h264(tmp_path / "whole.mkv", 90).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "clip.mkv"
    for _ in range(12):
        content = bytearray(whole)
        start, length = int(rng.integers(3000, len(whole))), int(rng.integers(1, 400))
        content[start : start + length] = rng.bytes(len(content[start : start + length]))
        path.write_bytes(content)
        assert_same_clips(*read_both(path, SPEC, monkeypatch))


def test_nothing_is_written_to_standard_error(tmp_path: Path) -> None:
    path = write_h264(tmp_path / "clip.mp4", 90)
    place, packet = needed_packet(path)
    content = bytearray(path.read_bytes())
    content[place + 8 : place + len(packet)] = bytes(len(packet) - 8)
    path.write_bytes(content)
    program = """
import sys
from pathlib import Path
from vidlstm.config import Sampling
from vidlstm.media.clips import ClipSpec, read_clip
print(read_clip(Path(sys.argv[1]), ClipSpec(Sampling())).table.shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("(1, 16)\n", "")


@pytest.mark.parametrize("num_threads", [1, 2])
def test_ffmpeg_gets_the_allowed_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_threads: int
) -> None:
    monkeypatch.setattr(selective, "decoding_threads", lambda: num_threads)
    with opened(write_h264(tmp_path / "clip.mp4", 12)) as video:
        assert isinstance(video, SelectiveVideo)
        assert video._decoder.thread_count == num_threads


@pytest.mark.real_data
def test_real_files_have_the_same_bits(real_data: Path) -> None:
    read = 0
    for path in sorted((real_data / "odd_inputs").glob("*.m*")):
        if is_selective(path):
            with opened(path) as video:
                expected = video.expected
            assert_same_as_full_decode(path, range(0, expected, 7))
            read += 1
    assert read >= 8
