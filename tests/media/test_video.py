"""Opening one video: the requested frames are returned, and unreadable files give the reason."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import vidlstm
from tests.media.conftest import (
    HEIGHT,
    WIDTH,
    lie_about_length,
    number_of,
    numbered_frame,
    write_numbered,
    write_video,
)
from vidlstm.errors import FailureCode, InputError
from vidlstm.files import is_frame_folder
from vidlstm.media.opencv import cv2
from vidlstm.media.video.open import Limits, open_video, probe
from vidlstm.media.video.pyav.packets import Packets, read_packets

Numbered = Callable[..., Path]
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
needs_posix = pytest.mark.skipif(os.name != "posix", reason="pipes and such are POSIX")


def read_numbers(path: Path, indices: list[int], *, seek: bool = True) -> list[int]:
    with open_video(path, seek=seek) as video:
        return [number_of(frame.image) for frame in video.read(indices)]


def count_frames(path: Path) -> int:
    with open_video(path, seek=False) as video:
        return video.read_to_end()


def code_of(path: Path, limits: Limits | None = None) -> FailureCode:
    """Return why `path` cannot be opened; `probe` must give the same reason if it can notice it."""
    with pytest.raises(InputError) as caught, open_video(path, limits or Limits()):
        pass
    assert str(caught.value).startswith(str(path))
    return caught.value.code


# The requested frames are returned.


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv"])
def test_the_requested_frames_are_returned(numbered: Numbered, name: str) -> None:
    wanted = [0, 1, 7, 8, 30, 49]
    assert read_numbers(numbered(50, name), wanted) == wanted


def test_a_frame_has_index_and_time_and_is_bgr(tmp_path: Path) -> None:
    frame = np.zeros((48, 64, 3), dtype=np.uint8)
    frame[:, :32] = (250, 0, 0)  # OpenCV's order: the left half is blue
    path = write_video(tmp_path / "clip.avi", [frame] * 10, fps=20)
    with open_video(path) as video:
        (read,) = video.read([4])
    assert read.index == 4
    assert read.seconds == pytest.approx(0.2)
    assert read.image.shape == (48, 64, 3)
    assert read.image.dtype == np.uint8
    np.testing.assert_allclose(read.image[24, 10], (250, 0, 0), atol=3)


def test_reading_stops_where_the_clip_ends(numbered: Numbered) -> None:
    with open_video(numbered(10)) as video:
        assert [frame.index for frame in video.read([8, 9, 10, 11])] == [8, 9]
        assert video.count == 10


def test_going_back_is_refused(numbered: Numbered) -> None:
    with open_video(numbered(10)) as video:
        video.goto(5)
        with pytest.raises(ValueError, match="in order"):
            video.goto(4)


@pytest.mark.parametrize("claim", [0, 1, 12, 49, 51, 60, 5000, 2**31 - 1, 2**32 - 1])
def test_a_wrong_frame_count_in_the_header_changes_no_frame(numbered: Numbered, claim: int) -> None:
    path = numbered(50)
    lie_about_length(path, claim)
    assert read_numbers(path, [0, 25, 49]) == [0, 25, 49]
    assert count_frames(path) == 50


@pytest.mark.usefixtures("_kept_or_not")
def test_seeks_give_the_frames_of_a_full_decode(long_clip: Path) -> None:
    wanted = [0, 3, 400, 401, 700, 1333, 1999]
    with open_video(long_clip) as video:
        by_seeking = list(video.read(wanted))
        assert video.jumped
    with open_video(long_clip, seek=False) as video:
        in_order = list(video.read(wanted))
        assert not video.jumped
    assert [number_of(frame.image) for frame in by_seeking] == wanted
    for sought, stepped in zip(by_seeking, in_order, strict=True):
        assert sought.seconds == pytest.approx(stepped.seconds, abs=1e-6)
        np.testing.assert_array_equal(sought.image, stepped.image)


def test_a_short_file_is_read_once(numbered: Numbered, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("packets are read again")

    monkeypatch.setattr("vidlstm.media.video.pyav.reader.packets_of", refuse)
    assert read_numbers(numbered(50), [0, 25, 49]) == [0, 25, 49]


@pytest.mark.parametrize(("room", "is_kept"), [(120_000, True), (50_000, False)])
def test_packets_of_long_files_are_not_kept(
    numbered: Numbered, monkeypatch: pytest.MonkeyPatch, room: int, is_kept: bool
) -> None:
    monkeypatch.setattr("vidlstm.media.video.pyav.packets._MAX_KEPT", room)
    with av.open(str(numbered(50))) as file:
        packets = read_packets(file, file.streams.video[0])
    assert packets.num_frames == 50
    assert packets.kept is None or len(packets.kept) == 50
    assert (packets.kept is not None) == is_kept


def test_a_seek_to_a_wrong_place_is_detected(long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeks overshoot here, as in files with a wrong index, so the clip is decoded in order."""
    key_before = Packets.key_before

    def too_late(packets: Packets, index: int) -> tuple[int, int] | None:
        key = key_before(packets, index)
        return None if key is None else (key[0], key[1] + 40 * 512)

    monkeypatch.setattr(Packets, "key_before", too_late)
    with open_video(long_clip) as video:
        assert [number_of(frame.image) for frame in video.read([500, 1500])] == [500, 1500]
        assert not video.jumped


@pytest.mark.parametrize("jumps", [True, False])
def test_a_time_is_reached_by_seeks_or_in_order(long_clip: Path, jumps: bool) -> None:
    with open_video(long_clip, seek=jumps) as video:
        found = []
        for seconds in (0.0, 0.13, 0.13, 40.01, 79.96):
            assert video.reach(seconds)
            found.append(number_of(video.image()))
        assert video.jumped == jumps
        assert not video.reach(80.0)
    assert found == [0, 4, 4, 1001, 1999]


def test_times_count_from_the_first_frame_that_can_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=25, options={"crf": "1", "g": "50", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        packets = []
        for number in range(500):
            packets += stream.encode(av.VideoFrame.from_ndarray(numbered_frame(number), format="bgr24"))
        packets += stream.encode(None)
        for packet in packets[10:]:  # the keyframe is lost
            made.mux(packet)
    found = []
    for seek in (True, False):
        with open_video(path, seek=seek, num_threads=1) as video:
            found.append(number_of(video.image()))
            assert video.reach(12.0)
            found.append(number_of(video.image()))
    assert found == [found[0], found[0] + 300] * 2


def test_a_stream_of_close_moments_is_read_in_order(long_clip: Path) -> None:
    with open_video(long_clip) as video:
        assert [number_of(f.image) for f in video.read(range(0, 300, 20))] == [*range(0, 300, 20)]
        assert not video.jumped


@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("seek", [True, False])
def test_variable_frame_rate_and_reordered_frames(tmp_path: Path, container: str, seek: bool) -> None:
    rng = np.random.default_rng(0)
    ticks = np.cumsum(rng.choice([1, 2, 3, 6], 900))
    path = tmp_path / f"clip.{container}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=30, options={"g": "100", "bf": "2", "b": "2000000"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 60)
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), "bgr24")
            frame.pts, frame.time_base = int(tick), Fraction(1, 60)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    wanted = [2, 250, 251, 500, 899]
    with open_video(path, seek=seek) as video:
        frames = list(video.read(wanted))
        assert video.jumped == seek
    assert [number_of(frame.image) for frame in frames] == wanted
    seconds = (ticks[wanted] - ticks[0]) / 60
    np.testing.assert_allclose([frame.seconds for frame in frames], seconds, atol=2e-3)


# Headers.


def test_probe_reads_the_header(numbered: Numbered) -> None:
    info = probe(numbered(50, fps=10))
    assert (info.width, info.height, info.fps, info.num_frames) == (WIDTH, HEIGHT, 10, 50)
    assert info.seconds == pytest.approx(5)
    assert info.codec == "ffv1"


def test_probe_drops_an_absurd_length(numbered: Numbered) -> None:
    path = numbered(50)
    lie_about_length(path, 2**32 - 1)
    assert probe(path).num_frames in (0, 50)


# Unusable files give the reason.


def test_a_missing_file(tmp_path: Path) -> None:
    assert code_of(tmp_path / "missing.mp4") is FailureCode.NOT_FOUND
    assert code_of(tmp_path / ("long" * 100)) is FailureCode.NOT_FOUND
    assert code_of(tmp_path / "a\0b.mp4") is FailureCode.NOT_FOUND


@needs_posix
def test_broken_links(tmp_path: Path) -> None:
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "broken.mp4").symlink_to("missing.mp4")
    assert code_of(tmp_path / "loop.mp4") is FailureCode.NOT_FOUND
    assert code_of(tmp_path / "broken.mp4") is FailureCode.NOT_FOUND


@needs_posix
def test_a_pipe_a_socket_and_a_device_are_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        # The path of a socket is limited to 108 bytes.
        here = Path.cwd()
        os.chdir(tmp_path)
        try:
            server.bind("socket.mp4")
        finally:
            os.chdir(here)
        assert code_of(tmp_path / "pipe.mp4") is FailureCode.NOT_A_FILE
        assert code_of(tmp_path / "socket.mp4") is FailureCode.NOT_A_FILE
        assert code_of(Path("/dev/zero")) is FailureCode.NOT_A_FILE


@needs_posix
def test_a_file_that_may_not_be_read(numbered: Numbered) -> None:
    path = numbered(5)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert code_of(path) is FailureCode.PERMISSION


def test_contents_that_are_not_a_video(tmp_path: Path) -> None:
    contents = {
        "text.mp4": b"not a video\n" * 100,
        "random.avi": np.random.default_rng(0).bytes(5000),
        "playlist.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n",
        "playlist.mp4": b"ffconcat version 1.0\nfile clip.avi\n",
        "headless.mp4": b"\0\0\0\x20ftypisom" + bytes(2000),
        "song.mp3": b"ID3\x04" + bytes(500),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert code_of(tmp_path / name) is FailureCode.NOT_A_VIDEO, name
    (tmp_path / "empty.mp4").touch()
    assert code_of(tmp_path / "empty.mp4") is FailureCode.EMPTY_FILE


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tiff", "webp"])
def test_a_picture_is_not_a_video_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    picture, disguised = tmp_path / f"picture.{suffix}", tmp_path / "picture.mp4"
    cv2.imwrite(str(picture), numbered_frame(3))
    shutil.copy(picture, disguised)
    for path in (picture, disguised):
        with pytest.raises(InputError, match="is a picture") as caught, open_video(path):
            pass
        assert caught.value.code is FailureCode.NOT_A_VIDEO


def test_a_header_without_frames(numbered: Numbered) -> None:
    path = numbered(5)
    content = path.read_bytes()
    start = content.index(b"movi")
    path.write_bytes(content[: start + 4])
    assert code_of(path) in (FailureCode.NO_FRAMES, FailureCode.NOT_A_VIDEO)


def test_files_over_the_limits(numbered: Numbered) -> None:
    path = numbered(5)
    assert code_of(path, Limits(max_bytes=100)) is FailureCode.TOO_LARGE
    assert code_of(path, Limits(max_pixels=WIDTH * HEIGHT - 1)) is FailureCode.TOO_LARGE
    with open_video(path, Limits(max_pixels=WIDTH * HEIGHT)):
        pass


# Names.

ODD_NAMES = ["0", "1.avi", "clip_%03d.avi", "clip_%03d.jpg", "-clip.avi", "http:clip.avi", "concat:a|b.avi"]
ODD_NAMES += ["two words.avi", "quote'\".avi", "new\nline.avi", "tab\t.avi", "jörg 動画.avi", "x=1;y&z.avi"]


@needs_posix
@pytest.mark.parametrize("name", ODD_NAMES)
def test_unusual_names_are_file_names(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A number is not a camera, `%03d` not a series of pictures, `http:` not an address, in any path."""
    numbered(5).rename(tmp_path / name)
    assert read_numbers(tmp_path / name, [0, 4]) == [0, 4]
    monkeypatch.chdir(tmp_path)
    assert read_numbers(Path(name), [0, 4]) == [0, 4]


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd here")
def test_a_name_that_is_not_utf8(numbered: Numbered, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.avi"))
    try:
        numbered(5).rename(path)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert read_numbers(path, [0, 4]) == [0, 4]
    assert probe(path).num_frames == 5


@pytest.mark.parametrize(
    "name", ["0", "7", "http://localhost:9/a.mp4", "rtsp://localhost:9/a", "/dev/video0"]
)
def test_only_local_files_are_opened(name: str) -> None:
    assert code_of(Path(name)) in (FailureCode.NOT_FOUND, FailureCode.NOT_A_FILE)


# Everything is released, and nothing is printed.


@needs_proc
def test_files_are_released_at_once(numbered: Numbered, tmp_path: Path) -> None:
    good = numbered(20)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.avi"))
    shutil.copy(good, odd)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"\0\0\0\x20ftypisom" + bytes(2000))

    def num_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = num_open()
    for _ in range(3):
        probe(good)
        count_frames(odd)
        code_of(bad)
        code_of(good, Limits(max_pixels=1))
        with open_video(good) as video:
            next(video.read([3, 5]))  # abandoned halfway
        assert num_open() == before


def test_decoders_write_nothing_to_standard_error(tmp_path: Path) -> None:
    damaged = write_numbered(tmp_path / "damaged.mp4", 40, "mp4v")
    content = bytearray(damaged.read_bytes())
    content[3000:9000:7] = bytes(len(content[3000:9000:7]))
    damaged.write_bytes(content)
    (tmp_path / "text.mp4").write_text("text " * 500)
    (tmp_path / "headless.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(2000))
    folder = make_folder(tmp_path / "folder", [1, 2, 3, 4], "img_{}.jpg")
    for place, picture in enumerate(sorted(folder.iterdir())[:3]):
        picture.write_bytes(picture.read_bytes()[: 600 - 200 * place])
    program = """
import sys
from pathlib import Path
from vidlstm.errors import InputError
from vidlstm.files import is_frame_folder
from vidlstm.media.video.open import open_video
for name in sys.argv[1:]:
    try:
        with open_video(Path(name)) as video:
            print(video.read_to_end())
    except InputError as error:
        print(error.code.value)
"""
    files = [str(tmp_path / name) for name in ("damaged.mp4", "text.mp4", "headless.mp4", "folder")]
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["not_a_video", "not_a_video", "1"]


def test_a_missing_opencv_library_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from vidlstm.errors import VidlstmError
try:
    import vidlstm.media.video.open
except VidlstmError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "libGL.so.1" in done.stdout
    assert "opencv-python-headless" in done.stdout


def test_opencv_is_imported_in_one_place() -> None:
    """Elsewhere it would be imported without its settings and without the message for a missing library."""
    root = Path(vidlstm.__path__[0]) / "media"
    modules = {file.name: file.read_text(encoding="utf-8") for file in root.rglob("*.py")}
    assert [name for name, text in modules.items() if re.search(r"(?m)^ *import cv2", text)] == ["opencv.py"]


# A folder of numbered pictures is a clip, too.


def make_folder(path: Path, numbers: list[int], pattern: str = "img_{}.png") -> Path:
    path.mkdir()
    for place, number in enumerate(numbers):
        cv2.imwrite(str(path / pattern.format(number)), numbered_frame(place))
    return path


def test_pictures_are_ordered_by_number(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "clip", [1, 2, 9, 10, 11, 100])
    assert is_frame_folder(folder)
    assert read_numbers(folder, [0, 1, 2, 3, 4, 5]) == [0, 1, 2, 3, 4, 5]
    info = probe(folder)
    assert (info.width, info.height, info.fps, info.num_frames) == (WIDTH, HEIGHT, 25, 6)


def test_folders_that_are_not_clips(tmp_path: Path, numbered: Numbered) -> None:
    (tmp_path / "empty").mkdir()
    names = tmp_path / "names"
    names.mkdir()
    for name in ("cat.png", "dog.png"):
        cv2.imwrite(str(names / name), numbered_frame(0))
    assert not is_frame_folder(tmp_path / "empty")
    assert not is_frame_folder(names)
    assert not is_frame_folder(numbered(3))
    assert not is_frame_folder(tmp_path / "missing")
    assert code_of(tmp_path / "empty") is FailureCode.NOT_A_FILE
    assert code_of(names) is FailureCode.NOT_A_FILE


def test_unreadable_pictures_are_left_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "clip", [1, 2, 3, 4])
    (folder / "img_2.png").write_bytes(b"")
    (folder / "img_3.png").write_text("no picture")
    assert read_numbers(folder, [0, 1, 2]) == [0, 3]
    for number in (1, 4):
        (folder / f"img_{number}.png").write_bytes(b"\x89PNG damaged")
    assert code_of(folder) is FailureCode.NO_FRAMES


# Real files.


@pytest.mark.real_data
def test_rotation_is_applied(real_data: Path) -> None:
    for name, shape in (("video_0.mov", (320, 568, 3)), ("video_90.mov", (568, 320, 3))):
        path = real_data / "odd_inputs" / name
        info = probe(path)
        with open_video(path) as video:
            assert [frame.image.shape for frame in video.read([0, 2])] == [shape, shape]
        assert (info.height, info.width, 3) == shape


@pytest.mark.real_data
def test_av1_is_read(real_data: Path) -> None:
    with open_video(real_data / "odd_inputs" / "av1_video.mkv") as video:
        frames = list(video.read([0, 60, 124]))
        assert video.read_to_end() == 125
    assert [frame.image.shape for frame in frames] == [(360, 640, 3)] * 3
    assert [frame.seconds for frame in frames] == pytest.approx([0, 2.4, 4.96], abs=0.002)


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_an_animated_picture_is_refused_with_a_hint(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"wave.{suffix}"
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    with (
        pytest.raises(InputError, match=r"animated picture .* convert it to MP4") as caught,
        open_video(path),
    ):
        pass
    assert caught.value.code is FailureCode.NOT_A_VIDEO
    frames[0].save(path)
    with pytest.raises(InputError, match="is a picture"), open_video(path):
        pass


def test_a_frame_with_too_many_pixels_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "clip.avi", 3)
    with pytest.raises(InputError, match=r"more than 100 pixels; scale it down$"):
        open_video(path, Limits(max_pixels=100))
