"""Read every pixel format, colour space, interlacing, codec and container that FFmpeg can write here.

Each small film is written with PyAV, read by vidlstm and by a plain PyAV loop, and correlated with the frames
that were drawn. The result is right if every frame is bit-identical to that of the plain loop and correlates
with the drawing, or if the file is refused with a code. Anything else is a fault.

    python -m tests.benchmarks.sweep [--keep FOLDER]

Not part of the test suite as a whole (it takes a few minutes); `tests/media/test_containers.py` runs a part.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vidlstm.errors import InputError
from vidlstm.media.opencv import cv2
from vidlstm.media.video.open import open_video

WIDTH, HEIGHT, NUM_FRAMES = 176, 144, 8
_LOOKS_ALIKE = 0.9
"""Minimum correlation of brightness with the drawing; uninitialised memory gives about 0."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One film to write.

    Args:
        kind: Its row in the table.
        codec: FFmpeg's name of the encoder.
        container: Suffix of the file.
        pixels: FFmpeg's name of the pixel format.
        options: Options of the encoder.
    """

    kind: str
    codec: str
    container: str
    pixels: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        options = "_".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.codec}.{self.pixels}.{options}.{self.container}".replace("..", ".").replace(":", "_")


MATRICES = (
    *(
        "rgb",
        "bt709",
        "fcc",
        "bt470bg",
        "smpte170m",
        "smpte240m",
        "ycgco",
        "bt2020nc",
        "bt2020c",
        "smpte2085",
    ),
    *("chroma-derived-nc", "chroma-derived-c", "ictcp", "ipt-c2", "ycgco-re", "ycgco-ro"),
)
TRANSFERS = (
    *("bt709", "gamma22", "gamma28", "smpte170m", "smpte240m", "linear", "log", "log_sqrt", "iec61966-2-4"),
    *("bt1361", "iec61966-2-1", "bt2020-10", "bt2020-12", "smpte2084", "smpte428", "arib-std-b67"),
)
PRIMARIES = (
    *("bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "film", "bt2020", "smpte428", "smpte431"),
    *("smpte432", "jedec-p22"),
)
INTERLACED = {"flags": "+ildct+ilme", "top": "1"}
CODECS = {
    "libx264": ("mp4", "mkv", "mov", "ts", "mts", "avi", "flv", "h264", "nut", "f4v", "3gp"),
    "libx265": ("mp4", "mkv", "hevc", "ts", "mov"),
    "libvpx": ("webm", "mkv", "ivf", "avi"),
    "libvpx-vp9": ("webm", "mkv", "mp4", "ivf"),
    "libsvtav1": ("mp4", "mkv", "webm", "ivf", "obu"),
    "libaom-av1": ("mkv",),
    "mpeg4": ("avi", "mp4", "mkv", "mov", "m4v", "nut", "3gp", "divx"),
    "msmpeg4v2": ("avi", "asf"),
    "msmpeg4": ("avi",),
    "wmv1": ("wmv",),
    "wmv2": ("wmv", "asf"),
    "flv": ("flv",),
    "h263": ("3gp", "avi"),
    "h263p": ("avi",),
    "mpeg1video": ("mpg", "m1v", "vob", "mpeg"),
    "mpeg2video": ("mpg", "m2v", "vob", "ts", "mxf", "mkv", "m2ts"),
    "mjpeg": ("avi", "mov", "mjpeg", "mkv"),
    "ljpeg": ("avi",),
    "ffv1": ("avi", "mkv", "nut"),
    "ffvhuff": ("avi", "mkv"),
    "huffyuv": ("avi",),
    "utvideo": ("avi", "mkv"),
    "magicyuv": ("avi",),
    "prores_ks": ("mov", "mxf"),
    "dnxhd": ("mov", "mxf"),
    "cfhd": ("mov",),
    "dvvideo": ("dv", "avi", "mov"),
    "png": ("mov", "avi"),
    "qtrle": ("mov",),
    "rawvideo": ("avi", "mov", "nut", "mkv"),
    "v210": ("mov", "avi"),
    "jpeg2000": ("mov", "mxf", "avi"),
    "libopenjpeg": ("mov",),
    "svq1": ("mov",),
    "cinepak": ("avi", "mov"),
    "rpza": ("mov",),
    "zmbv": ("avi",),
    "flashsv": ("flv",),
    "asv1": ("avi",),
    "asv2": ("avi",),
    "snow": ("avi",),
    "libtheora": ("ogv", "ogg"),
    "vc2": ("mkv", "mov"),
    "gif": ("gif",),
    "wrapped_avframe": ("y4m",),
    "rv10": ("rm",),
    "rv20": ("rm",),
    "vbn": ("mov",),
    "hap": ("mov",),
}


def cases() -> Iterator[Case]:
    """Yield every combination that is tried; not all of them can be written."""
    for matrix in MATRICES:
        yield Case("colour matrix", "libx264", "mp4", options={"colorspace": matrix})
        yield Case("colour matrix", "libx265", "mkv", "yuv420p10le", {"colorspace": matrix})
        yield Case("colour matrix", "ffv1", "mkv", "yuv444p", {"colorspace": matrix})
        yield Case("colour matrix", "libvpx-vp9", "webm", "yuv444p", {"colorspace": matrix})
    for transfer in TRANSFERS:
        yield Case("transfer", "libx264", "mp4", options={"color_trc": transfer})
        yield Case("transfer", "libx265", "mkv", "yuv420p10le", {"color_trc": transfer})
    for primaries in PRIMARIES:
        yield Case("primaries", "libx264", "mp4", options={"color_primaries": primaries})
        yield Case("primaries", "libx265", "mkv", "yuv420p10le", {"color_primaries": primaries})
    for color_range in ("tv", "pc"):
        for codec in ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "ffv1"):
            yield Case("range", codec, "mkv", options={"color_range": color_range})
    hdr = {"colorspace": "bt2020nc", "color_primaries": "bt2020"}
    for transfer in ("smpte2084", "arib-std-b67", "bt2020-10"):
        yield Case("transfer", "libx265", "mp4", "yuv420p10le", {**hdr, "color_trc": transfer})
    for container in ("mp4", "mkv", "ts", "mts", "mov", "avi"):
        for order in ("tff=1", "bff=1", "fake-interlaced=1"):
            yield Case("interlaced", "libx264", container, options={"x264-params": order})
    for container in ("mpg", "m2v", "vob", "ts", "mkv", "mxf", "m2ts"):
        for pixels in ("yuv420p", "yuv422p"):
            yield Case("interlaced", "mpeg2video", container, pixels, INTERLACED)
    for container in ("avi", "mp4", "mkv", "mov"):
        yield Case("interlaced", "mpeg4", container, options=INTERLACED)
    yield Case("interlaced", "prores_ks", "mov", "yuv422p10le", INTERLACED)
    yield Case("interlaced", "ffv1", "mkv", options={"field_order": "tt"})
    yield Case("interlaced", "mjpeg", "avi", "yuvj420p", {"field_order": "tb"})
    yield Case("interlaced", "ffvhuff", "avi", options=INTERLACED)
    yield Case("interlaced", "utvideo", "avi", options=INTERLACED)
    for bframes in ("0", "2", "8"):
        for container in ("mp4", "mkv", "avi", "ts", "h264"):
            yield Case("reordering", "libx264", container, options={"bf": bframes})
    for bframes in ("1", "2"):
        for container in ("avi", "mp4", "mkv"):
            yield Case("reordering", "mpeg4", container, options={"bf": bframes})
    for codec, containers in CODECS.items():
        for container in containers:
            yield Case("codec, container", codec, container, _formats(codec)[0])
        for pixels in _formats(codec)[1:]:
            yield Case("pixel format", codec, containers[-1] if codec == "ffv1" else containers[0], pixels)


def _formats(codec: str) -> tuple[str, ...]:
    """Return the pixel formats that an encoder supports."""
    try:
        formats = av.Codec(codec, "w").video_formats or ()
    except (av.error.FFmpegError, ValueError):
        return ("yuv420p",)
    names = tuple(f.name for f in formats) or ("yuv420p", "yuv422p", "rgb24", "gray")
    return tuple(n for n in names if not n.endswith(("vaapi", "cuda", "qsv", "vulkan", "drm_prime"))) or names


def drawn(number: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """Draw moving soft shapes, BGR `(height, width, 3)`."""
    y, x = np.mgrid[0:height, 0:width]
    wave = np.sin(x / 17 + number / 3) + np.cos(y / 13 - number / 4)
    spot = np.exp(-((x - 30 - 12 * number) ** 2 + (y - 70) ** 2) / 800)
    channels = [70 + 30 * wave + 90 * spot, 110 + 35 * wave, 130 + 25 * wave - 60 * spot]
    return np.asarray(np.clip(np.stack(channels, axis=2), 0, 255), np.uint8)


def write(case: Case, folder: Path, num_frames: int = NUM_FRAMES) -> Path | None:
    """Write the film of a case; return None if the encoder or the container does not support it."""
    path = folder / f"{case}".replace("/", "_")
    width, height = (720, 576) if case.codec == "dvvideo" else (WIDTH, HEIGHT)
    if case.codec == "dnxhd":
        width, height = 1920, 1080
    options = dict(case.options)
    if case.codec == "dnxhd":
        options["profile"] = "dnxhr_hq"
    try:
        with usual_priority(), av.open(str(path), "w", format=_muxer(path)) as file:
            stream = file.add_stream(case.codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, case.pixels
            stream.codec_context.bit_rate = 4_000_000
            for number in range(num_frames):
                frame = av.VideoFrame.from_ndarray(drawn(number, width, height), "bgr24")
                frame.pts = number
                file.mux(stream.encode(frame.reformat(format=case.pixels)))
            file.mux(stream.encode())
    except (av.error.FFmpegError, ValueError, TypeError, KeyError, AttributeError, OSError):
        path.unlink(missing_ok=True)
        return None
    return path if path.stat().st_size else None


@contextlib.contextmanager
def usual_priority() -> Iterator[None]:
    """Restore the scheduling of this thread: for root SVT-AV1 makes it real-time, which processes inherit."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def _muxer(path: Path) -> str | None:
    names = {".divx": "avi", ".f4v": "mp4", ".mts": "mpegts", ".m2ts": "mpegts", ".y4m": "yuv4mpegpipe"}
    names |= {".m1v": "mpeg1video", ".mjpeg": "mjpeg", ".vob": "vob", ".mpeg": "mpeg"}
    return names.get(path.suffix)


def plain_frames(path: Path) -> list[Image | None]:
    """Decode with PyAV alone; None for a frame that it cannot convert."""
    frames: list[Image | None] = []
    with av.open(str(path)) as file:
        stream = file.streams.best("video")
        assert stream is not None
        stream.codec_context.thread_count = 1
        for frame in file.decode(stream):
            assert isinstance(frame, av.VideoFrame)
            try:
                image = frame.to_ndarray(format="bgr24", interpolation="BICUBIC")
                frames.append(np.asarray(image, np.uint8))
            except (av.error.FFmpegError, ValueError):
                frames.append(None)
    return frames


def check(path: Path) -> str:
    """Return `equal`, the code with which the file is refused, or what is wrong with it."""
    ours: list[Image] = []
    try:
        with open_video(path) as video:
            ours = [frame.image.copy() for frame in video.read(range(10_000))]
            times = list(video.met)
    except InputError as error:
        return error.code.value
    plain = plain_frames(path)
    if len(ours) != len(plain):
        return f"WRONG: {len(ours)} frames, PyAV has {len(plain)}"
    for number, (image, other) in enumerate(zip(ours, plain, strict=True)):
        if other is None or not np.array_equal(image, other):
            return f"WRONG: frame {number} differs from PyAV's"
        likeness = [_likeness(image, drawn(n, image.shape[1], image.shape[0])) for n in range(NUM_FRAMES)]
        if likeness[min(number, NUM_FRAMES - 1)] < _LOOKS_ALIKE:
            return f"WRONG: frame {number} does not look like what was drawn ({max(likeness):.2f})"
    if (np.diff(times) <= 0).any():
        return "WRONG: times do not increase"
    return "equal"


def _likeness(one: Image, other: Image) -> float:
    # Formats with few colours are dithered, so they are compared at low resolution.
    grey = [
        cv2.blur(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY).astype(float), (15, 15)).ravel() for i in (one, other)
    ]
    return float(np.corrcoef(grey[0], grey[1])[0, 1])


def main() -> int:
    """Run every case and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keep", type=Path, help="write the films here and keep them")
    folder = parser.parse_args().keep
    table: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        target = folder or Path(temporary)
        target.mkdir(parents=True, exist_ok=True)
        for case in {str(case): case for case in cases()}.values():
            path = write(case, target)
            row = table.setdefault(case.kind, Counter())
            outcome = "not writable here" if path is None else check(path)
            row[outcome.partition(":")[0]] += 1
            if outcome not in ("equal", "not writable here"):
                print(f"{case}: {outcome}")
            if path is not None and folder is None:
                path.unlink()
    print()
    for kind, row in table.items():
        print(kind, dict(row), sep="\t")
    total = sum(table.values(), Counter[str]())
    print("all", dict(total), sep="\t")
    return 1 if total["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
