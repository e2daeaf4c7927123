"""Open one file with PyAV and choose the video stream to read.

No other file is ever opened, even if a container names one or an address: PyAV gets an open file instead of a
name, only listed containers are accepted (no playlists or SDP files), and no protocol is allowed.
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
_MAX_READ_ERRORS = 16  # in a row; after damage in the middle of a file, packets follow again
_FIRST_PACKETS = 250
_INVALID = -22


class NotOpenedError(Exception):
    """FFmpeg does not recognise the file as a video."""


class _File:
    """An open file whose `seek` returns an error code for an invalid position, as FFmpeg expects."""

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self.name = f"film{suffix}"  # FFmpeg uses it as a hint for the container
        self.read = file.read
        self.tell = file.tell
        self._seek = file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return _INVALID


class Source:
    """An open file and its chosen video stream.

    Attributes:
        container: The container, opened by PyAV.
        stream: The stream to read.
        notes: A note on which stream was chosen, if there are several.

    Raises:
        NotOpenedError: FFmpeg does not recognise the file as a video.
        InputError: The file cannot be opened; `too_large`; `not_a_video`: sound with cover art.
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
        """Open the file again, at its beginning and with nothing decoded."""
        self.close()
        with ExitStack() as stack:
            self.container = _open(self.path, self.limits, stack)
            if self._place is None:
                self._place, self.notes = choose_stream(self.path, self.container)
                if self.notes:  # packets have been read
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
    # Otherwise FFmpeg's decoder threads log through Python and wait for the interpreter's lock, which a
    # thread closing their file holds until they end: PyAV 17.1 hung in this way on a damaged film. Set for
    # each file, because importing torchvision 0.21 undoes it.
    av.logging.restore_default_callback()
    av.logging.set_libav_level(-8)  # FFmpeg's AV_LOG_QUIET
    av_open: Callable[..., InputContainer] = av.open  # its arguments differ between versions
    try:
        # Tags that are not UTF-8 are no reason to fail.
        return av_open(file, options=options, metadata_errors="replace")
    except TypeError:  # PyAV 19 has no such argument and does not need it
        return av_open(file, options=options)


def _decoded_pixels(limits: Limits) -> str:
    """Return the number of pixels that a decoder may allocate for a frame; it rounds sides up."""
    return str(2 * limits.max_pixels + 2**20)


def choose_stream(path: Path, container: InputContainer) -> tuple[int, tuple[str, ...]]:
    """Choose the stream to read, as FFmpeg's `av_find_best_stream` does.

    Cover art and thumbnails are not considered, and a still picture only if there is nothing else.

    Returns:
        The index of the stream, and a note if there were several; packets have been read in that case.

    Raises:
        NotOpenedError: There is no video stream, or none that can be decoded.
        InputError: `not_a_video`: there is only cover art.
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
    """Return the streams with more than one picture among the first packets of the file."""
    counts = Counter[int]()
    try:
        for packet in container.demux(*films):
            counts[packet.stream_index] += bool(packet.size)
            if max(counts.values()) > _FIRST_PACKETS or min(counts[s.index] for s in films) > 1:
                break
    except FFmpegError:
        pass  # use what has been read
    return [s for s in films if counts[s.index] > 1]


def packets_of(
    container: InputContainer, stream: VideoStream, on_error: Callable[[], None]
) -> Iterator[Packet[VideoStream]]:
    """Yield the non-empty packets of a stream, from the current position of the file.

    Reading continues after damage; `on_error` is called for each read error.
    """
    num_errors = 0
    packets = container.demux(stream)
    while num_errors < _MAX_READ_ERRORS:
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
    """Return the time of the last packet of all streams, in seconds from the start of the file."""
    last = 0.0
    try:
        container.seek(0)
        for packet in container.demux():
            time = packet.dts if packet.pts is None else packet.pts
            if packet.size and time is not None and packet.time_base is not None:
                last = max(last, float(time * packet.time_base))
    except FFmpegError:
        pass  # use what has been read
    return last - (container.start_time or 0) / 1e6


def codec_name(stream: VideoStream) -> str:
    """Return FFmpeg's name of a stream's codec, not of the decoder: `av1`, not `libdav1d`."""
    return str(stream.codec_context.codec.canonical_name)


def frame_rate(stream: VideoStream) -> float:
    """Return the frames per second from the header; 0 if it does not say."""
    return float(stream.average_rate or stream.guessed_rate or 0)


def header_info(
    container: InputContainer, stream: VideoStream, width: int, height: int, num_frames: int
) -> VideoInfo:
    """Return what a file's header says.

    Args:
        container: The container.
        stream: The stream that is read.
        width: Width of a frame as shown, in pixels.
        height: Height of a frame as shown, in pixels.
        num_frames: Number of frames from the header; 0 if it does not say.
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
