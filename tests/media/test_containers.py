"""A file gives the right frames or is refused: colours, tracks, edit lists, damage; no network access."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import vidlstm
from tests.benchmarks.sweep import INTERLACED, Case, check, write
from tests.media.conftest import HEIGHT, WIDTH, number_of, numbered_frame, write_numbered
from vidlstm.config import Sampling
from vidlstm.errors import FailureCode, InputError
from vidlstm.files import kind_of
from vidlstm.media.clips import Clip, ClipSpec, PairSpec, read_clip
from vidlstm.media.films import CHUNK, FilmSpec, read_film
from vidlstm.media.opencv import cv2
from vidlstm.media.video.open import DoubtError, open_video
from vidlstm.media.video.pyav.completeness import is_cut_short
from vidlstm.media.video.pyav.container import last_seconds
from vidlstm.media.video.pyav.reader import PyAvVideo

SPEC = ClipSpec(Sampling(num_frames=8), size=WIDTH)


def film(path: Path, shown: Sequence[int], *, ticks: Sequence[int] | None = None, **options: str) -> Path:
    """Write numbered frames with x264, at 25 per second or at the given milliseconds."""
    with av.open(str(path), "w") as file:
        add_film(file, shown, ticks, 0, **options)
    return path


def add_film(
    file: av.container.OutputContainer,
    shown: Sequence[int],
    ticks: Sequence[int] | None = None,
    sound: float = 0,
    **options: str,
) -> None:
    stream = file.add_stream("libx264", rate=25, options={"crf": "12", **options})
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.codec_context.time_base = Fraction(1, 1000)
    audio = file.add_stream("aac", rate=8000, layout="mono") if sound else None
    for place, number in enumerate(shown):
        frame = av.VideoFrame.from_ndarray(numbered_frame(number), "bgr24")
        frame.pts, frame.time_base = (40 * place if ticks is None else ticks[place]), Fraction(1, 1000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode())
    if audio is not None:
        add_silence(file, audio, sound)


def add_silence(file: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for place in range(int(seconds * 8000 / 1024)):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, 1024 * place, Fraction(1, 8000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode())


def numbers(path: Path) -> list[int]:
    with open_video(path, num_threads=1) as video:
        return [number_of(frame.image) for frame in video.read(range(1000))]


def code_of(path: Path) -> FailureCode:
    with pytest.raises(InputError) as caught, open_video(path):
        pass
    return caught.value.code


# Pixels: equal to a plain PyAV decode, or refused. `tests/benchmarks/sweep.py` tries 550 more cases.


@pytest.mark.usefixtures("_kept_or_not")
@pytest.mark.parametrize(
    "case",
    [
        Case("", "libx264", "mp4", options={"x264-params": "tff=1"}),
        Case("", "libx264", "mts", options={"x264-params": "bff=1"}),
        Case("", "mpeg2video", "mpg", options=INTERLACED),
        Case("", "mpeg4", "avi", options=INTERLACED),
        Case("", "dvvideo", "dv", "yuv420p"),
        Case("", "libx264", "mp4", options={"color_trc": "log"}),
        Case("", "libx264", "mp4", options={"color_primaries": "film"}),
        Case("", "libx265", "mkv", "yuv420p10le", {"colorspace": "bt2020nc", "color_trc": "smpte2084"}),
        Case("", "libvpx-vp9", "webm", "yuv444p", {"colorspace": "rgb"}),
        Case("", "qtrle", "mov", "gray"),  # the palette is only in the first packet
        Case("", "rawvideo", "avi", "rgb24"),
        Case("", "gif", "gif", "rgb8"),
        Case("", "libsvtav1", "obu"),
        Case("", "libx264", "h264"),
        Case("", "libx265", "hevc"),
        Case("", "libvpx", "ivf"),
        Case("", "mpeg1video", "m1v"),
        Case("", "mpeg4", "nut"),
    ],
    ids=str,
)
def test_frames_equal_a_plain_decode(tmp_path: Path, case: Case) -> None:
    path = write(case, tmp_path)
    if path is None:
        pytest.skip("this PyAV cannot write it")
    assert kind_of(path) == "video", "it is found in folders"
    outcome = check(path)
    is_new_colour = case.options.get("color_trc") == "log" and outcome == "read_error"  # PyAV before 18
    assert outcome == "equal" or is_new_colour


@pytest.mark.parametrize("matrix", ["ycgco", "ictcp", "bt2020c", "smpte2085", "chroma-derived-nc"])
def test_colours_that_cannot_be_converted_are_refused(tmp_path: Path, matrix: str) -> None:
    path = write(Case("", "libx264", "mp4", options={"colorspace": matrix}), tmp_path)
    assert path is not None
    assert code_of(path) is FailureCode.READ_ERROR
    with pytest.raises(InputError, match="cannot be converted to RGB"):
        read_clip(path, SPEC)


# No other file is opened.

_READ = """
import json, sys
from pathlib import Path
opened = []
def watch(event, arguments):
    if event.startswith("socket") or event == "subprocess.Popen":
        opened.append(event)
from vidlstm.config import Sampling
from vidlstm.errors import InputError
from vidlstm.media.clips import ClipSpec, read_clip
sys.addaudithook(watch)
codes = []
for name in sys.argv[1:]:
    try:
        read_clip(Path(name), ClipSpec(Sampling()))
        codes.append("read")
    except InputError as error:
        codes.append(error.code.value)
fds = Path("/proc/self/fd")
links = [str(p.readlink()) for p in fds.iterdir() if p.is_symlink()] if fds.exists() else []
print(json.dumps([codes, opened, [link for link in links if link.startswith("socket")]]))
"""


def test_text_files_that_name_addresses_or_files_open_neither(tmp_path: Path) -> None:
    other = write_numbered(tmp_path / "other.avi", 5)
    texts = {
        "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 224.2.1.1/2\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "led.mp4": "\nv=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 26\n",
        "hls.ts": " \n#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.avi\n#EXT-X-ENDLIST\n",
        "concat.mkv": f"ffconcat version 1.0\nfile {other}\n",
        "dash.mp4": "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'></MPD>",
        "svg.mp4": "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>",
        "rtsp.mov": "rtsptextRTSP://127.0.0.1:9/film\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    names = [str(tmp_path / name) for name in texts]
    done = subprocess.run([sys.executable, "-c", _READ, *names], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [["not_a_video"] * len(names), [], []]


# Choice of the track.


def test_a_still_track_before_the_film_is_not_the_film(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as file:
        still = file.add_stream("mjpeg", rate=25)
        still.width, still.height, still.pix_fmt = 2 * WIDTH, 2 * HEIGHT, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.full((2 * HEIGHT, 2 * WIDTH, 3), 90, np.uint8), "bgr24")
        film_stream = file.add_stream("mpeg4", rate=25)
        film_stream.width, film_stream.height, film_stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        file.mux(still.encode(picture.reformat(format="yuvj420p")))
        file.mux(still.encode())
        for number in range(20):
            file.mux(film_stream.encode(av.VideoFrame.from_ndarray(numbered_frame(number), "bgr24")))
        file.mux(film_stream.encode())
    clip = read_clip(path, SPEC)
    assert clip.info.num_frames == 20
    assert clip.info.notes == (f"video track 2 of 2 was read (mpeg4, {WIDTH}x{HEIGHT})",)


def test_sound_with_cover_art_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mkv"
    _, jpeg = cv2.imencode(".jpg", numbered_frame(1))
    with av.open(str(path), "w") as file:
        file.add_attachment("cover.jpg", "image/jpeg", jpeg.tobytes())
        add_silence(file, file.add_stream("aac", rate=8000, layout="mono"), 1)
    with pytest.raises(InputError, match="sound with a cover picture") as caught, open_video(path):
        pass
    assert caught.value.code is FailureCode.NOT_A_VIDEO


# Missing frames.


def test_frames_hidden_by_an_edit_list_are_not_missing(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", range(60), g="30")
    path = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        shift = round(0.4 / float(stream.time_base or 1))
        for packet in source.demux(stream):
            if packet.size and packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                target.mux(packet)
    with av.open(str(path)) as file:
        assert any(packet.is_discard for packet in file.demux(video=0)), "the file has an edit list"
    assert numbers(path) == list(range(10, 60))
    info = read_clip(path, SPEC).info
    assert (info.num_frames, info.problem, info.notes) == (50, None, ())


@pytest.mark.parametrize("container", ["mkv", "mp4", "flv"])
def test_longer_sound_does_not_mean_missing_frames(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"film.{container}"
    with av.open(str(path), "w") as file:
        add_film(file, range(30), sound=12)
    info = read_clip(path, SPEC).info
    assert (info.num_frames, info.problem, info.notes) == (30, None, ())


@pytest.mark.parametrize("container", ["mkv", "mp4", "ts"])
def test_a_track_that_starts_late_is_complete(tmp_path: Path, container: str) -> None:
    path = film(tmp_path / f"film.{container}", range(30), ticks=[100_000 + 40 * i for i in range(30)])
    clip = read_clip(path, SPEC)
    assert (clip.info.num_frames, clip.info.problem, clip.info.notes) == (30, None, ())
    assert clip.info.seconds == pytest.approx(1.2, abs=0.05)


def break_packets(path: Path, places: Sequence[int], with_bytes: Callable[[int], bytes] = bytes) -> None:
    """Overwrite packets, numbered in decoding order, after the length of their first NAL unit."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
        for place in places:
            start, length = packets[place].pos, packets[place].size
            assert start is not None
            content[start + 4 : start + length] = with_bytes(length - 4)
    path.write_bytes(content)


@pytest.mark.usefixtures("_kept_or_not")
def test_reading_continues_after_damage_and_reports_the_loss(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", range(120), g="20", bf="0")
    break_packets(path, [45])
    found = numbers(path)
    assert found[:45] == list(range(45))
    assert found[-60:] == list(range(60, 120)), "from the next keyframe on all is well"
    assert len(found) == 119
    clip = read_clip(path, SPEC)
    assert (clip.info.num_frames, clip.info.problem) == (119, None)
    assert clip.info.notes == ("1 of 120 frames are missing or damaged",)


def test_much_damage_counts_as_truncated(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", range(120), g="20", bf="0")
    break_packets(path, range(30, 80))
    problem = read_clip(path, SPEC).info.problem
    assert problem is not None
    assert problem.code is FailureCode.TRUNCATED
    assert "of 120 frames are missing or damaged" in problem.message


def test_a_damaged_clip_gives_the_same_frames_with_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "film.mkv", range(60), g="20")
    break_packets(path, [12, 31], lambda length: np.random.default_rng(0).bytes(length))
    clips = []
    for num_threads in (1, 2, 4, 4):
        decode_with(monkeypatch, num_threads)
        clips.append(read_clip(path, ClipSpec(Sampling(num_frames=30), size=48)))
    for clip in clips[1:]:
        np.testing.assert_array_equal(clip.frames, clips[0].frames)
        assert clip.info == clips[0].info


@pytest.mark.parametrize("place", [12, 470, 699])
def test_a_damaged_film_gives_the_same_moments_with_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    path = film(tmp_path / "film.mkv", [number % 300 for number in range(700)], g="20", preset="ultrafast")
    break_packets(path, [place], lambda length: np.random.default_rng(0).bytes(length))
    whole = []
    for num_threads in (1, 2, 4, 4):
        decode_with(monkeypatch, num_threads)
        parts = list(read_film(path, FilmSpec(8, 48, every=1)))
        assert [len(part.times) for part in parts] == [CHUNK, CHUNK, CHUNK, 32]
        whole.append(np.concatenate([part.frames for part in parts]))
        assert parts[-1].info.num_frames in (699, 700)
    for frames in whole[1:]:
        np.testing.assert_array_equal(frames, whole[0])


def test_ffmpeg_does_not_log_through_python(tmp_path: Path) -> None:
    """With PyAV 17.1, a logging decoder thread made the thread that closed its file hang."""
    path = film(tmp_path / "film.mkv", list(range(100)), g="20", preset="ultrafast")
    break_packets(path, [12], lambda length: np.random.default_rng(0).bytes(length))
    before = av.logging.get_level()
    av.logging.set_level(av.logging.DEBUG)  # enables it again, like importing torchvision 0.21
    try:
        with av.logging.Capture(local=False) as logged:
            assert list(read_film(path, FilmSpec(8, 48, every=1)))
    finally:
        av.logging.set_level(before)
    assert logged == []


def test_several_threads_give_up_if_frames_are_fewer_than_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_with(monkeypatch, 2)
    with open_video(film(tmp_path / "film.mkv", range(20))) as video:
        assert isinstance(video, PyAvVideo)
        video._packets = replace(video._packets, num_frames=21)
        with pytest.raises(DoubtError):
            video.read_to_end()


def decode_with(patch: pytest.MonkeyPatch, num_threads: int) -> None:
    for module in ("h264_reader", "reader"):
        patch.setattr(f"vidlstm.media.video.pyav.{module}.decoding_threads", lambda: num_threads)


def test_a_file_that_cannot_be_sought_has_no_last_packet() -> None:
    class Unseekable:
        start_time = 0

        def seek(self, offset: int) -> None:
            raise av.error.PermissionError(1, "Operation not permitted")

    assert last_seconds(Unseekable()) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv", "clip.mp4"])
def test_sizes_in_the_container_show_whether_a_file_is_truncated(tmp_path: Path, name: str) -> None:
    path = write_numbered(tmp_path / name, 30, "mp4v" if name.endswith("mp4") else "FFV1")
    whole = path.read_bytes()
    assert not is_cut_short(path)
    path.write_bytes(whole[:-200])
    assert is_cut_short(path)
    path.write_bytes(whole[:6])
    assert is_cut_short(path) in (True, False, None)
    (tmp_path / "text").write_text("neither")
    assert is_cut_short(tmp_path / "text") is None


# A variable frame rate.


def read_both(path: Path, spec: ClipSpec, patch: pytest.MonkeyPatch) -> list[Clip]:
    clip = read_clip(path, spec)
    patch.setattr("vidlstm.media.video.open.can_be_selective", lambda source: False)
    return [clip, read_clip(path, spec)]


def test_moments_and_pairs_are_chosen_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty frames in the first second, then one per second, like a screen recording."""
    ticks = [*range(0, 1000, 33)][:30] + [1000 * (1 + second) for second in range(30)]
    path = film(tmp_path / "screen.mkv", range(60), ticks=ticks)
    spec = ClipSpec(Sampling(num_frames=4), size=WIDTH, pairs=PairSpec(0.08, WIDTH))
    for clip in read_both(path, spec, monkeypatch):
        assert [number_of(frame) for frame in clip.frames] == [32, 40, 47, 55]
        assert clip.times == pytest.approx([3, 11, 18, 26], abs=0.01)
        assert clip.pair_seconds == pytest.approx([1.0] * 4, abs=0.01)


# No way around the restrictions on opening files.


def test_files_are_opened_in_one_place() -> None:
    package = Path(vidlstm.__file__).parent
    found = {
        (file.relative_to(package).as_posix(), "write" if '"w"' in line else "read")
        for file in package.rglob("*.py")
        for line in file.read_text().splitlines()
        if re.search(r"\bav\.open\b|av_open\(|VideoCapture\(", line)
    }
    assert {(name, how) for name, how in found if how == "read" and "/live/" not in name} == {
        ("media/video/pyav/container.py", "read"),
        ("engine/exporting/sample.py", "read"),  # a separate program, see below
    }


def test_an_exported_program_restricts_opencv_to_files() -> None:
    pytest.importorskip("onnxruntime")
    program = "import os, vidlstm.engine.exporting.sample; print(os.environ['OPENCV_FFMPEG_CAPTURE_OPTIONS'])"
    env = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout == "protocol_whitelist;file\n", done.stderr


# Real files.


@pytest.mark.real_data
def test_real_unusual_files_give_the_right_frames_or_error(real_data: Path) -> None:
    folder = real_data / "outside_cases"
    right: dict[str, int | str] = {
        "audio_with_cover.mp4": "not_a_video",
        "editlist_lossless_cut.mp4": 34,
        "encrypted_cenc.mp4": "no_frames",
        "h264_2.mp4": "not_a_video",
        "interlaced_h264_sit_down.mp4": 46,
        "interlaced_mpeg4.avi": 60,
        "one_bad_packet_at_20_of_300.mp4": 299,
        "progressive_same_sit_down.mp4": 46,
        "sample_with_invalid_nalu.mp4": 29,
        "sdp_c.mp4": "not_a_video",
        "sdp_multicast.mp4": "not_a_video",
        "sound_longer_than_video.mkv": 60,
        "starts_at_100s.mkv": 60,
        "still_track_first.mp4": 60,
        "svg.mp4": "not_a_video",
        "vfr_screen.mp4": 57,
        "wmv2_2.wmv": "not_a_video",
        "ycgco.mp4": "read_error",
    }
    found: dict[str, int | str] = {}
    clips = {}
    for name in right:
        try:
            clips[name] = read_clip(folder / name, ClipSpec(Sampling(), size=64))
            assert clips[name].info.problem is None
            found[name] = clips[name].info.num_frames
        except InputError as error:
            found[name] = error.code.value
    assert found == right
    one, other = (clips[f"{name}_sit_down.mp4"].frames for name in ("interlaced_h264", "progressive_same"))
    assert np.abs(one.astype(int) - other).mean() < 4
    assert np.diff(np.append(clips["vfr_screen.mp4"].times, 31)).max() < 5
