"""Re-encoded parts of films: exact to the frame, with sound, in a format that browsers play."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.media.conftest import number_of, numbered_frame, write_joined
from tests.report.browser import Browser, start_browser
from vidlstm.errors import FailureCode, InputError
from vidlstm.media import encode
from vidlstm.media.encode import write_part, write_parts
from vidlstm.media.video.open import open_video


def numbers(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.fixture
def sounding(tmp_path: Path) -> Path:
    return write_sounding(tmp_path / "film.mkv")


def write_sounding(
    path: Path,
    codecs: tuple[str, str] = ("libx264", "aac"),
    *,
    rate: int = 16_000,
    layout: str = "mono",
    begin: float = 0.48,
    silent: tuple[float, float] | None = None,
) -> Path:
    """Write a film of 4 s with numbered frames and a tone.

    Args:
        path: The file.
        codecs: Of frames and sound.
        rate: Samples per second.
        layout: Of the sound.
        begin: Time of the first frame in the container.
        silent: Start and end of a time without packets of sound, in seconds since the first frame.
    """
    with av.open(str(path), "w") as made:
        options = {"crf": "1"} if codecs[0] == "libx264" else {"qmax": "2"}
        video = made.add_stream(codecs[0], rate=25, options={"g": "50", **options})
        video.width, video.height, video.pix_fmt = 96, 48, "yuv420p"
        sound = made.add_stream(codecs[1], rate=rate)
        sound.layout = layout
        for number in range(100):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = number + round(begin * 25), Fraction(1, 25)
            made.mux(video.encode(frame))
        tone = np.sin(np.arange(4 * rate) * 1000 / rate).astype(np.float32)
        tone = np.stack([tone] * (2 if layout == "stereo" else 1))
        packets = []
        for start in range(0, 4 * rate, rate // 50):
            part = np.ascontiguousarray(tone[:, start : start + rate // 50])
            heard = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            heard.pts, heard.time_base = round(begin * rate) + start, Fraction(1, rate)
            heard.sample_rate = rate
            packets += sound.encode(heard)
        for packet in [*packets, *sound.encode(None)]:
            seconds = float((packet.pts or 0) * (packet.time_base or 0)) - begin
            if silent is None or not silent[0] <= seconds < silent[1]:
                made.mux(packet)
        made.mux(video.encode(None))
    return path


def loudness(path: Path) -> list[float]:
    """Return the loudness of each tenth of a second; a tone has about 0.7."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        samples = np.concatenate([piece.to_ndarray()[0] for piece in container.decode(stream)])
        step = stream.rate // 10
        begin = float((stream.start_time or 0) * (stream.time_base or 0))
    samples = np.concatenate([np.zeros(round(begin * step * 10)), samples])
    whole = samples[: len(samples) // step * step].reshape(-1, step)
    return [float(part.std()) for part in whole]


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [(0.0, 1.0, 0, 24), (1.0, 2.0, 25, 49), (3.0, 9.0, 75, 99), (0.04, 0.08, 1, 1), (2.46, 3.0, 62, 74)],
)
def test_a_part_is_exact_to_the_frame(
    sounding: Path, tmp_path: Path, start: float, end: float, first: int, last: int
) -> None:
    target = tmp_path / "part.mp4"
    count = write_part(sounding, target, start, end)
    assert numbers(target) == list(range(first, last + 1))
    assert count == last + 1 - first
    assert [p.name for p in tmp_path.glob("*part*")] == ["part.mp4"]


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("film.mkv", ("libx264", "aac")),
        ("film.ts", ("libx264", "aac")),
        ("film.mpg", ("mpeg2video", "mp2")),  # seeks in it go too far
    ],
)
def test_several_parts_are_written_in_one_pass(tmp_path: Path, name: str, codecs: tuple[str, str]) -> None:
    path = write_sounding(tmp_path / name, codecs)
    parts = [(0.2, 0.6), (0.6, 1.2), (3.0, 3.4), (50.0, 60.0), (70.0, 80.0)]
    targets = [tmp_path / f"{place}.mp4" for place in range(len(parts))]
    errors = write_parts(path, [(target, *part) for target, part in zip(targets, parts, strict=True)])
    assert [error.code for error in errors] == [FailureCode.NO_FRAMES] * 2
    for target, (start, end) in zip(targets[:3], parts, strict=False):
        assert numbers(target) == list(range(round(start * 25), round(end * 25)))
        with av.open(str(target)) as container:
            heard = sum(piece.samples for piece in container.decode(audio=0)) / 16_000
        assert heard == pytest.approx(end - start, abs=0.15)


def test_browsers_play_it_and_its_sound(sounding: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.mp4"
    write_part(sounding, target, 1.0, 3.0)
    with av.open(str(target)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert audio.codec_context.name == "aac"
        assert container.duration == pytest.approx(2_000_000, abs=100_000)
        times = [float(frame.time or 0) for frame in container.decode(video)]
    assert times == pytest.approx(np.arange(50) / 25, abs=1e-3)
    content = target.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # the index is at the front


def test_a_drawing_is_in_every_frame(sounding: Path, tmp_path: Path) -> None:
    seen: list[float] = []

    def draw(image: NDArray[np.uint8], seconds: float) -> NDArray[np.uint8]:
        seen.append(seconds)
        return np.zeros_like(image)

    target = tmp_path / "all.mp4"
    assert write_part(sounding, target, draw=draw) == 100
    assert seen == pytest.approx(np.arange(100) / 25, abs=2e-3)
    assert set(numbers(target)) == {0}


def test_sound_of_an_unknown_codec_is_left_out(sounding: Path, tmp_path: Path) -> None:
    path = tmp_path / "unknown.mkv"
    path.write_bytes(sounding.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    assert write_part(path, tmp_path / "part.mp4", 1.0, 2.0) == 25
    with av.open(str(tmp_path / "part.mp4")) as container:
        assert not container.streams.audio


@pytest.mark.parametrize(
    ("name", "codecs", "rate", "layout"),
    [
        ("film.avi", ("mpeg4", "pcm_s16le"), 44_100, "stereo"),
        ("film.avi", ("mpeg4", "pcm_u8"), 8_000, "mono"),
        ("film.avi", ("mpeg4", "adpcm_ima_wav"), 22_050, "mono"),
        ("film.mkv", ("libx264", "pcm_s16le"), 16_000, "mono"),
        ("film.mkv", ("libx264", "flac"), 192_000, "stereo"),
    ],
)
def test_sound_without_a_layout_or_of_a_rate_that_aac_lacks_is_kept(
    tmp_path: Path, name: str, codecs: tuple[str, str], rate: int, layout: str
) -> None:
    path = write_sounding(tmp_path / name, codecs, rate=rate, layout=layout, begin=0.0)
    assert write_part(path, tmp_path / "part.mp4", 1.0, 3.0) == 50
    heard = loudness(tmp_path / "part.mp4")
    assert len(heard) == pytest.approx(20, abs=2)
    assert heard[1:18] == pytest.approx([0.7] * 17, abs=0.1)


def test_declared_sound_without_packets_is_left_out(tmp_path: Path) -> None:
    path = write_sounding(tmp_path / "film.ts", silent=(-1.0, 9.0))
    assert write_part(path, tmp_path / "part.mp4", 1.0, 2.0) == 25


@pytest.mark.parametrize("layouts", [("stereo", "mono"), ("mono", "stereo")])
def test_the_form_of_the_sound_may_change_in_a_film(tmp_path: Path, layouts: tuple[str, str]) -> None:
    path = tmp_path / "film.ts"
    halves = [
        write_sounding(tmp_path / f"{place}.ts", layout=layout, begin=0.48 + 4 * place).read_bytes()
        for place, layout in enumerate(layouts)
    ]
    path.write_bytes(b"".join(halves))
    targets = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    assert write_parts(path, [(targets[0], 3.0, 5.0), (targets[1], 6.0, 7.0)]) == []
    for target, tenths in zip(targets, (20, 10), strict=True):
        heard = loudness(target)
        assert len(heard) == pytest.approx(tenths, abs=2)
        assert np.median(heard) > 0.4
        assert sorted(heard)[5] > 0.4  # the transport stream has a gap between its halves


def test_an_error_of_one_part_does_not_cost_the_next(
    sounding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = encode.add_h264
    calls: list[object] = []

    def fail_once(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            raise ValueError("Frame does not match")
        return add(*given)

    monkeypatch.setattr(encode, "add_h264", fail_once)
    (error,) = write_parts(sounding, [(tmp_path / "a.mp4", 0.0, 1.0), (tmp_path / "b.mp4", 2.0, 3.0)])
    assert error.code is FailureCode.READ_ERROR
    assert "cannot be re-encoded: Frame does not match" in str(error)
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["b.mp4"]


@pytest.mark.parametrize(
    ("name", "codec"), [("film.mkv", "aac"), ("film.ts", "aac"), ("film.mkv", "pcm_s16le")]
)
@pytest.mark.parametrize("silent", [(-1.0, 2.0), (1.0, 2.5)])
def test_sound_after_a_gap_keeps_its_time(
    tmp_path: Path, name: str, codec: str, silent: tuple[float, float]
) -> None:
    path = write_sounding(tmp_path / name, ("libx264", codec), silent=silent)
    assert write_part(path, tmp_path / "whole.mp4") == 100
    heard = loudness(tmp_path / "whole.mp4")
    assert len(heard) == pytest.approx(40, abs=2)
    for tenth, loud in enumerate(heard[:39]):
        if min(abs(tenth / 10 - edge) for edge in silent) > 0.15:
            assert loud == pytest.approx(0.0 if silent[0] <= tenth / 10 < silent[1] else 0.7, abs=0.1)


def shades(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("start", "end", "count"), [(0.0, 9.0, 100), (1.5, 1.8, 7), (2.4, 3.2, 20), (1.9, 2.1, 5)]
)
def test_a_part_of_joined_files_holds_the_frames_of_its_rows(
    tmp_path: Path, start: float, end: float, count: int
) -> None:
    """The second file has the times of the first; rows continue to count after them."""
    path = write_joined(tmp_path / "joined.ts", (64, 96), (64, 96))
    with open_video(path, num_threads=1) as video:
        frames = [(frame.seconds, float(frame.image.mean())) for frame in video.read(range(200))]
    expected = [shade for seconds, shade in frames if start - 0.01 <= seconds < end - 0.01]
    target = tmp_path / "part.mp4"
    assert write_part(path, target, start, end) == len(expected) == count
    assert shades(target) == pytest.approx(expected, abs=1.5)
    with av.open(str(target)) as container:
        times = [float(frame.time or 0) for frame in container.decode(video=0)]
    assert np.diff(times) == pytest.approx(0.04, abs=1e-3)


def test_frames_of_another_size_are_resized_to_the_first_one(tmp_path: Path) -> None:
    path = write_joined(tmp_path / "joined.ts", (64, 96), (64, 80))
    assert write_part(path, tmp_path / "part.mp4", 1.5, 2.5) == 25
    with av.open(str(tmp_path / "part.mp4")) as container:
        assert {frame.width for frame in container.decode(video=0)} == {96}


def test_a_part_of_a_stream_without_times(tmp_path: Path) -> None:
    path = tmp_path / "film.h264"
    with av.open(str(path), "w", format="h264") as made:
        video = made.add_stream("libx264", rate=25, options={"crf": "1"})
        video.width, video.height, video.pix_fmt = 96, 48, "yuv420p"
        for number in range(50):
            made.mux(video.encode(av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")))
        made.mux(video.encode(None))
    assert write_part(path, tmp_path / "part.mp4", 1.2, 1.6) == 10
    assert numbers(tmp_path / "part.mp4") == list(range(30, 40))


def test_a_part_of_a_folder_of_frames(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(30):
        Image.fromarray(numbered_frame(number)).save(folder / f"{number:03}.png")
    assert write_part(folder, tmp_path / "part.mp4", 0.4, 0.8) == 10
    assert numbers(tmp_path / "part.mp4") == list(range(10, 20))


def test_a_damaged_film_is_written_as_it_is_read(sounding: Path, tmp_path: Path) -> None:
    content = bytearray(sounding.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = np.random.default_rng(0).bytes(500)
    path = tmp_path / "damaged.mkv"
    path.write_bytes(content)
    with open_video(path, num_threads=1) as video:
        whole = video.read_to_end()
        assert video.num_lost or whole < 100
    assert write_part(path, tmp_path / "whole.mp4") == whole


def test_odd_sides_lose_a_row_or_column(numbered: Callable[..., Path], tmp_path: Path) -> None:
    from tests.media.conftest import write_video

    frames = [np.zeros((33, 41, 3), np.uint8)] * 5
    source = write_video(tmp_path / "odd.avi", frames)
    write_part(source, tmp_path / "even.mp4")
    with av.open(str(tmp_path / "even.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (40, 32)


def test_a_write_error_gives_the_reason_and_leaves_no_file(sounding: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.mp4"
    with pytest.raises(InputError) as caught:
        write_part(sounding, target, 50.0, 60.0)
    assert caught.value.code is FailureCode.NO_FRAMES
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"x" * 1000)
    with pytest.raises(InputError):
        write_part(bad, target)
    assert not target.exists()
    assert not list(tmp_path.glob(".*"))


def test_a_text_file_that_names_a_video_does_not_open_it(sounding: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile '{sounding}'\n")
    with pytest.raises(InputError, match="is a playlist or text file, not a video") as caught:
        write_part(playlist, tmp_path / "part.mp4")
    assert caught.value.code is FailureCode.NOT_A_VIDEO


def test_a_name_with_a_colon_is_not_an_address(
    sounding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_part(sounding, Path("tcp:part.mp4"), 0, 1) == 25


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    yield from start_browser(tmp_path_factory.mktemp("browser"))


def test_a_browser_plays_it(browser: Browser, sounding: Path, tmp_path: Path) -> None:
    write_part(sounding, tmp_path / "part.mp4", 1.0, 3.0)
    page = tmp_path / "page.html"
    page.write_text('<video src="part.mp4" muted autoplay></video>')
    browser.open(page)
    for _ in range(100):
        told = browser.run(
            "const v = document.querySelector('video');"
            "return [v.error && v.error.message, v.videoWidth, v.duration, v.ended || v.currentTime > 0.2]"
        )
        if told[0] or told[3]:
            break
        time.sleep(0.1)
    assert told[:2] == [None, 96]
    assert told[2] == pytest.approx(2.0, abs=0.1)
    assert told[3]
