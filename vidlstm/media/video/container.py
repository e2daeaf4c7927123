"""Open one file with PyAV and choose the video stream that is the film.

Nothing but this file is ever opened: PyAV is given an open file instead of a name, only containers
on a list are accepted (a playlist or an SDP text that calls itself a video is not), and no protocol
is allowed, so that a container which names another file or an address gets neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from vidlstm.errors import FailureCode, InputError
from vidlstm.files import suffix_kind
from vidlstm.media.file_types import Limits, as_input_errors, check_pixels
from vidlstm.media.sampling import MAX_FPS
from vidlstm.media.video.base import VideoInfo

FORMATS = (
    *("asf", "av1", "avi", "cavsvideo", "dirac", "dv", "evc", "flv", "gif", "gxf", "h261", "h263", "h264"),
    *("hevc", "ivf", "m4v", "matroska", "mjpeg", "mov", "mpeg", "mpegts", "mpegvideo", "mxf", "nsv", "nut"),
    *("obu", "ogg", "rm", "vc1", "vvc", "wtv", "yuv4mpegpipe"),
)
"""FFmpeg's names of the containers that are accepted. None of them opens a second file."""

FFmpegError = av.error.FFmpegError
_MOST_READ_ERRORS = 16  # in a row: behind damage in the middle of a file there are packets again
_FIRST_PACKETS = 250
_INVALID = -22


class NotOpenedError(Exception):
    """It is no video for FFmpeg."""


class _File:
    """An open file whose `seek` reports an impossible place as FFmpeg expects, without an exception."""

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self.name = f"film{suffix}"  # FFmpeg takes it for a hint at the container
        self.read = file.read
        self.tell = file.tell
        self._seek = file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return _INVALID


class Source:
    """A file that is open, and its stream that is the film.

    Attributes:
        container: As PyAV has opened it.
        stream: The stream to read.
        notes: Which one it is, where there are several.

    Raises:
        NotOpenedError: It is no video for FFmpeg.
        InputError: The file cannot be opened at all; `too_large`; `not_a_video`, for sound with a cover.
    """

    container: InputContainer
    stream: VideoStream
    notes: tuple[str, ...]

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._file = ExitStack()
        self._place: int | None = None
        self.reopen()

    def reopen(self) -> None:
        """Stand at the beginning of the file, with nothing decoded."""
        self.close()
        with ExitStack() as stack:
            self.container = _open(self.path, self.limits, stack)
            if self._place is None:
                self._place, self.notes = choose_stream(self.path, self.container)
                if self.notes:  # packets were read
                    stack.close()
                    self.container = _open(self.path, self.limits, stack)
            stream = self.container.streams[self._place]
            if not isinstance(stream, VideoStream):
                raise NotOpenedError
            self.stream = stream
            check_pixels(self.path, stream.width, stream.height, self.limits)
            stream.codec_context.options = {"max_pixels": _decoded_pixels(self.limits)}
            self._file = stack.pop_all()

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _open(path: Path, limits: Limits, stack: ExitStack) -> InputContainer:
    with as_input_errors(path):
        file = stack.enter_context(path.open("rb"))
    suffix = path.suffix if suffix_kind(path.name) == "video" else ""
    options = {
        "format_whitelist": ",".join(FORMATS),
        "protocol_whitelist": "none",
        "max_pixels": _decoded_pixels(limits),
    }
    try:
        container = _open_with_pyav(_File(file, suffix), options)
    except (FFmpegError, ValueError) as error:
        raise NotOpenedError from error
    except OSError as error:
        raise InputError(path, FailureCode.READ_ERROR, f"cannot be read: {error.strerror}") from None
    opened: InputContainer = stack.enter_context(container)
    return opened


def _open_with_pyav(file: _File, options: dict[str, str]) -> InputContainer:
    # FFmpeg's decoder threads log through Python otherwise: they wait for the interpreter's lock, which a
    # thread that closes their file holds until they end. (PyAV 17.1 hung so on a damaged film.) For each
    # file, as torchvision 0.21 undoes it when it is imported.
    av.logging.restore_default_callback()
    av.logging.set_libav_level(-8)  # FFmpeg's AV_LOG_QUIET
    av_open: Callable[..., InputContainer] = av.open  # whose settings differ between versions
    try:
        # Tags that are not UTF-8 are no reason to fail.
        return av_open(file, options=options, metadata_errors="replace")
    except TypeError:  # since PyAV 19 there is no such setting, nor a need for it
        return av_open(file, options=options)


def _decoded_pixels(limits: Limits) -> str:
    """Return what a decoder may allocate for a frame, whose sides it rounds up."""
    return str(2 * limits.max_pixels + 2**20)


def choose_stream(path: Path, container: InputContainer) -> tuple[int, tuple[str, ...]]:
    """Choose the stream to read, as FFmpeg's `av_find_best_stream` does, among those that are films.

    Cover art and thumbnails are none, and a single still picture gives way to a stream of several.

    Returns:
        The number of the stream, and a note on which one it is where there are several; packets have
        been read then.

    Raises:
        NotOpenedError: There is no video stream, or none that can be decoded.
        InputError: `not_a_video`, there is nothing but cover art.
    """
    video = container.streams.video
    films = [s for s in video if not s.disposition & (Disposition.attached_pic | Disposition.still_image)]
    if video and not films:
        raise InputError(path, FailureCode.NOT_A_VIDEO, "is sound with a cover picture, not a video")
    films = [s for s in films if s.codec_context is not None]
    if not films:
        raise NotOpenedError
    if len(films) == 1:
        return films[0].index, ()
    moving = _moving(container, films) or films
    best = container.streams.best("video")
    chosen = next((s for s in moving if best is not None and s.index == best.index), None)
    if chosen is None:
        chosen = max(moving, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))
    place = 1 + films.index(chosen)
    what = f"{codec_name(chosen)}, {chosen.width}x{chosen.height}"
    return chosen.index, (f"video track {place} of {len(films)} was read ({what})",)


def _moving(container: InputContainer, films: Sequence[VideoStream]) -> list[VideoStream]:
    """Return the streams of more than one picture, as far as the first packets of the file tell."""
    counts = Counter[int]()
    try:
        for packet in container.demux(*films):
            counts[packet.stream_index] += bool(packet.size)
            if max(counts.values()) > _FIRST_PACKETS or min(counts[s.index] for s in films) > 1:
                break
    except FFmpegError:
        pass  # as far as it goes
    return [s for s in films if counts[s.index] > 1]


def packets_of(
    container: InputContainer, stream: VideoStream, on_error: Callable[[], None]
) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of a stream from where the file stands, without empty ones.

    Reading goes on behind damage; `on_error` is called each time something could not be read.
    """
    num_errors = 0
    packets = container.demux(stream)
    while num_errors < _MOST_READ_ERRORS:
        try:
            packet = next(packets, None)
        except EOFError:
            return
        except FFmpegError:
            on_error()
            num_errors += 1
            packets = container.demux(stream)
            continue
        if packet is None:
            return
        if packet.size:
            num_errors = 0
            yield packet


def last_seconds(container: InputContainer) -> float:
    """Return when the last packet of all streams is due, counted from when the file begins."""
    last = 0.0
    try:
        container.seek(0)
        for packet in container.demux():
            time = packet.dts if packet.pts is None else packet.pts
            if packet.size and time is not None and packet.time_base is not None:
                last = max(last, float(time * packet.time_base))
    except FFmpegError:
        pass  # as far as it goes
    return last - (container.start_time or 0) / 1e6


def codec_name(stream: VideoStream) -> str:
    """Return FFmpeg's name of a stream's codec, not of the decoder: `av1`, not `libdav1d`."""
    return str(stream.codec_context.codec.canonical_name)


def frame_rate(stream: VideoStream) -> float:
    """Return the frames a second that the header tells; 0 where it does not."""
    return float(stream.average_rate or stream.guessed_rate or 0)


def header_info(
    container: InputContainer, stream: VideoStream, width: int, height: int, num_frames: int
) -> VideoInfo:
    """Return what a file's header says.

    Args:
        container: Of the file.
        stream: That is read.
        width: Of a frame as shown, in pixels.
        height: Likewise.
        num_frames: As the header counts them; 0 where it does not.
    """
    if num_frames > container.size:  # no frame is smaller than a byte
        num_frames = 0
    fps = frame_rate(stream)
    seconds: float | None = None
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:
        seconds = container.duration / 1e6
    elif num_frames and 0 < fps <= MAX_FPS:
        seconds = num_frames / fps
    return VideoInfo(width, height, fps, num_frames, codec_name(stream), seconds)
