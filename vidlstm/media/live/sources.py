"""Live frames of a camera, a stream, a pipe or a replayed file.

This is the only module that accesses the network, and it opens only the given address: FFmpeg is restricted
to the protocols of its scheme and to streaming formats, so that a playlist cannot read local files.

How the time of a frame is determined depends on the source. MJPEG and pipes have no timestamps (FFmpeg
invents 25 a second), so the arrival time is used. RTSP has timestamps: the extra latency of a frame compared
with the fastest one is queueing, and counts as lag. HLS arrives in bursts, and a file all at once: these are
played back by their timestamps.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from vidlstm.errors import InputError, SourceError, UsageError
from vidlstm.media.file_types import Limits
from vidlstm.media.live.address import Address
from vidlstm.media.opencv import cv2
from vidlstm.media.video.base import Image
from vidlstm.media.video.open import open_video
from vidlstm.media.video.pyav.container import FFmpegError
from vidlstm.media.video.pyav.file import to_bgr

OPEN_SECONDS = 10.0
"""Seconds that opening a source may take."""
READ_SECONDS = 5.0
"""Seconds without a frame after which a source counts as lost."""

_PROTOCOLS = {
    "rtsp": "rtsp,rtsps,rtp,udp,tcp,tls",
    "http": "http,https,tcp,tls,crypto,data,httpproxy",
    "pipe": "none",
}
_FORMATS = {
    "rtsp": "rtsp",
    "http": "hls,mpjpeg,mjpeg,mpegts,mov,aac,webvtt",  # the last ones are the segment formats of HLS
    "pipe": "mjpeg,mpjpeg,yuv4mpegpipe",
}
_BY_ARRIVAL = ("mjpeg", "mpjpeg", "yuv4mpegpipe")
_BY_TIMES = ("hls",)
_PIPED = {b"YUV4MPEG2 ": "yuv4mpegpipe", b"\xff\xd8": "mjpeg", b"--": "mpjpeg", b"\r\n--": "mpjpeg"}
_HEAD = 10  # bytes
_MAX_ERRORS = 50  # consecutive packets that cannot be decoded
_LATE = 1.0  # seconds of lag beyond which only key frames are decoded
_JUMP = 10.0  # seconds between two frames beyond which a clock was set; a gap between key frames is shorter
_DRIFT = 1e-3  # the share by which a camera's clock may be slower than ours
_MAX_PIXELS = Limits().max_pixels


@dataclass(frozen=True)
class LiveFrame:
    """One frame.

    Args:
        seconds: Timestamp on the source's own clock.
        shown: When the frame was shown, on the clock of `time.monotonic`. It never decreases, even if
            `seconds` does.
        image: `(H, W, 3)` uint8 BGR.
    """

    seconds: float
    shown: float
    image: Image


@contextlib.contextmanager
def open_source(address: Address, sleep: Callable[[float], object] = time.sleep) -> Iterator[Source]:
    """Open a source.

    Args:
        address: Address of the source.
        sleep: Called to wait until a frame of a replayed file is due.

    Raises:
        SourceError: The source cannot be opened.
        UsageError: Nothing is piped to standard input.
    """
    with contextlib.ExitStack() as stack:
        if address.kind == "file":
            yield _replay(address, stack, sleep)
        elif address.kind == "camera":
            yield _camera(address, stack)
        else:
            yield _stream(address, stack, sleep)


@dataclass(frozen=True)
class Source:
    """An open source.

    Args:
        fps: Claimed frame rate; 0 if none is claimed.
        frames: Raises a `SourceError` when the source is lost; ends when the source ends normally.
    """

    fps: float
    frames: Iterator[LiveFrame]


def _replay(address: Address, stack: contextlib.ExitStack, sleep: Callable[[float], object]) -> Source:
    try:
        # Several threads would raise a DoubtError at damage.
        video = stack.enter_context(open_video(Path(address.text), seek=False, num_threads=1))
    except InputError as error:
        raise SourceError(str(error)) from None

    def frames() -> Iterator[LiveFrame]:
        begin = time.monotonic()
        try:
            while True:
                image = video.image()
                due = begin + video.seconds
                if (early := due - time.monotonic()) > 0:
                    sleep(early)
                yield LiveFrame(video.seconds, due, image)
                if not video.step():
                    return
        except InputError as error:
            raise SourceError(str(error)) from None

    return Source(video.info.fps, frames())


def _camera(address: Address, stack: contextlib.ExitStack) -> Source:
    name = int(address.text) if address.text.isdecimal() else address.text
    capture = cv2.VideoCapture(name)
    stack.callback(capture.release)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if not capture.isOpened():
        raise SourceError(f"{address.shown}: cannot be opened; is it connected, not in use, and readable?")

    def frames() -> Iterator[LiveFrame]:
        while True:
            there, image = capture.read()
            if not there:
                raise SourceError(f"{address.shown}: no more frames")
            now = time.monotonic()
            yield LiveFrame(now, now, np.asarray(image, np.uint8))

    return Source(float(capture.get(cv2.CAP_PROP_FPS)), frames())


def _stream(address: Address, stack: contextlib.ExitStack, sleep: Callable[[float], object]) -> Source:
    options = {
        "protocol_whitelist": _PROTOCOLS[address.kind],
        "format_whitelist": _FORMATS[address.kind],
        "max_pixels": str(2 * _MAX_PIXELS),
        "fflags": "nobuffer",
        "analyzeduration": "1000000",  # microseconds
        **({"rtsp_transport": "tcp"} if address.kind == "rtsp" else {}),
    }
    file, format_name = _standard_input(address) if address.kind == "pipe" else (address.text, None)
    try:
        container: Any = stack.enter_context(
            av.open(file, format=format_name, options=options, timeout=(OPEN_SECONDS, READ_SECONDS))
        )
        if not container.streams.video:
            raise SourceError(f"{address.shown}: contains no video")
        stream = container.streams.video[0]
    except (FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"{address.shown}: cannot be opened: {_reason(error, OPEN_SECONDS)}") from None
    name = container.format.name
    if address.kind == "http" and name not in (*_BY_ARRIVAL, *_BY_TIMES, "mpegts"):
        raise SourceError(f"{address.shown}: is a file ({name}), not a stream; download it")
    stream.codec_context.thread_type = "SLICE"  # frame threading would add latency
    clock = _by_arrival if name in _BY_ARRIVAL else _by_times(sleep) if name in _BY_TIMES else _by_quickest()
    return Source(float(stream.average_rate or 0), _decoded(address, container, stream, name, clock))


Clock = Callable[[float | None], tuple[float, float]]
"""Maps the timestamp of a frame to its time and to when it was shown, all in seconds."""


def _by_arrival(_: float | None) -> tuple[float, float]:
    now = time.monotonic()
    return now, now


def _by_quickest() -> Clock:
    quickest, last, newest = float("inf"), time.monotonic(), float("-inf")

    def clock(seconds: float | None) -> tuple[float, float]:
        nonlocal quickest, last, newest
        now = time.monotonic()
        quickest, last = quickest + _DRIFT * (now - last), now
        if seconds is None:
            seconds = now - min(quickest, now)
        else:
            if seconds < newest:  # the source's clock was set back, or wrapped
                quickest = float("inf")
            newest = seconds
        quickest = min(quickest, now - seconds)
        return seconds, seconds + quickest

    return clock


def _by_times(sleep: Callable[[float], object]) -> Clock:
    begin, newest = 0.0, float("-inf")

    def clock(seconds: float | None) -> tuple[float, float]:
        nonlocal begin, newest
        now = time.monotonic()
        if seconds is None or not 0 <= seconds - newest <= _JUMP:
            begin = now - (seconds or 0.0)
        newest = seconds or 0.0
        due = begin + newest
        if due > now:
            sleep(due - now)
        return newest, due

    return clock


def _decoded(address: Address, container: Any, stream: Any, name: str, clock: Clock) -> Iterator[LiveFrame]:
    reformatter = VideoReformatter()
    num_errors = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError, ValueError) as error:
            if isinstance(error, EOFError):
                packet = None
            else:
                raise SourceError(f"{address.shown}: {_reason(error, READ_SECONDS)}") from None
        if packet is None or (packet.size == 0 and packet.dts is None):
            break
        try:
            decoded = stream.codec_context.decode(packet)
            images = [to_bgr(frame, reformatter) for frame in decoded]
            num_errors = 0
        except (FFmpegError, EOFError, ValueError) as error:
            num_errors += 1
            if num_errors > _MAX_ERRORS:
                why = _reason(error, READ_SECONDS)
                raise SourceError(f"{address.shown}: cannot be decoded: {why}") from None
            continue
        for frame, image in zip(decoded, images, strict=True):
            seconds, shown = clock(frame.time)
            if name not in _BY_ARRIVAL:
                late = time.monotonic() - shown > _LATE
                stream.codec_context.skip_frame = "NONKEY" if late else "DEFAULT"
            yield LiveFrame(seconds, shown, image)
    if address.reopens and name not in _BY_TIMES:
        raise SourceError(f"{address.shown}: the stream has ended")


class _StandardInput:
    """Standard input as a file for FFmpeg: returns available bytes instead of waiting for the full size."""

    name = "pipe"

    def __init__(self, head: bytes) -> None:
        self._head = head

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return os.read(0, size)


def _standard_input(address: Address) -> tuple[_StandardInput, str]:
    if sys.stdin is None or os.isatty(0):
        raise UsageError("-: nothing is piped in; give MJPEG or y4m on standard input")
    head = b""
    while len(head) < _HEAD and (more := os.read(0, 4096)):
        head += more
    if not head:
        raise SourceError(f"{address.shown}: is empty")
    name = next((name for magic, name in _PIPED.items() if head.startswith(magic)), None)
    if name is None:
        raise SourceError(f"{address.shown}: is neither MJPEG nor y4m")
    return _StandardInput(head), name


def _reason(error: Exception, seconds: float) -> str:
    """Return the error text, without the address that FFmpeg adds."""
    if isinstance(error, av.error.ExitError):
        return f"no answer within {seconds:g} s"
    return str(getattr(error, "strerror", None) or type(error).__name__)
