"""Frames by PyAV, for codecs that this OpenCV cannot decode (AV1 above all).

PyAV is an extra (`pip install vidlstm[av]`). This reader of it is only asked when OpenCV has given
up; frames are read in order, never by seeking. (`vidlstm.media.video.h264_reader` is the other one.)
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.file_types import Limits, as_input_errors, check_pixels
from vidlstm.media.sampling import MAX_FPS
from vidlstm.media.video.base import Image, Video, VideoInfo

logger = logging.getLogger(__name__)

CHANGED = (AttributeError, ImportError, TypeError)
"""What a PyAV raises that is damaged, or is used otherwise than the versions that we know."""


def is_installed() -> bool:
    """Tell whether PyAV can be imported."""
    return importlib.util.find_spec("av") is not None


def open_pyav(path: Path, limits: Limits) -> Video | None:
    """Open `path` with PyAV; return None when it is missing or gets no frame out of the file either.

    Raises:
        InputError: `too_large`.
    """
    if not is_installed():
        return None
    try:
        return _open(path, limits)
    except CHANGED as error:
        do_without(error)
        return None


def _open(path: Path, limits: Limits) -> Video | None:
    import av

    try:
        return PyAvVideo(path, limits)
    except (av.error.FFmpegError, _NoFrameError):
        return None


def do_without(error: Exception) -> None:
    """Log that PyAV cannot be used, and why."""
    _do_without(f"{type(error).__name__}: {error}")


@functools.cache
def _do_without(reason: str) -> None:
    logger.warning("PyAV does not work here (%s): files are read by OpenCV alone", reason)


def open_container(file: IO[bytes], container: str | None = None) -> Any:
    """Open a file with PyAV, whatever its version. Tags that are not UTF-8 are no reason to fail.

    Args:
        file: Open for reading: no protocol and no pattern, as a name could be.
        container: FFmpeg's name of the format; None finds it out.
    """
    import av

    try:
        return av.open(file, format=container, metadata_errors="replace")
    except TypeError:  # since PyAV 19 there is no such setting, nor a need for it
        return av.open(file, format=container)


class _NoFrameError(Exception):
    """There is no video stream, or no frame in it."""


class PyAvVideo(Video):
    """A video file that PyAV has opened."""

    def __init__(self, path: Path, limits: Limits) -> None:
        import av

        self._error: type[Exception] = av.error.FFmpegError
        with contextlib.ExitStack() as stack:
            with as_input_errors(path):
                # An open file and not its name: no protocol, no pattern, any bytes.
                file = stack.enter_context(path.open("rb"))
            expected = _count_packets(file)
            file.seek(0)
            container = stack.enter_context(open_container(file))
            if not container.streams.video:
                raise _NoFrameError
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            self._frames: Iterator[Any] = container.decode(stream)
            self._frame: Any = None
            super().__init__(path, stream_info(stream))
            self.expected = expected
            check_pixels(path, self.info.width, self.info.height, limits)
            self._zero: float | None = None
            if not self.step():
                raise _NoFrameError
            height, width = self.image().shape[:2]
            self.info = stream_info(stream, width, height)
            self.count = None
            self._stack = stack.pop_all()

    def step(self) -> bool:
        """Go to the next frame; return False at the end."""
        try:
            frame = next(self._frames, None)
        except self._error:  # the rest is damaged
            frame = None
        if frame is None:
            return self._meet_end()
        self._frame = frame
        if self._zero is None:
            self._zero = frame.time
        self._stand_on_next((frame.time or 0.0) - (self._zero or 0.0))
        return True

    def image(self) -> Image:
        """Return the frame it stands on, `(H, W, 3)` uint8 BGR."""
        try:
            image = self._frame.to_ndarray(format="bgr24")
        except (self._error, ValueError) as error:
            raise InputError(
                self.path, FailureCode.READ_ERROR, f"frame {self.index} cannot be decoded"
            ) from error
        turns = round(getattr(self._frame, "rotation", 0) / 90)
        return np.ascontiguousarray(np.rot90(image, turns), dtype=np.uint8)

    def close(self) -> None:
        """Release the file."""
        self._frame, self._frames = None, iter(())
        self._stack.close()


def _count_packets(file: IO[bytes]) -> int:
    with open_container(file) as container:
        if not container.streams.video:
            raise _NoFrameError
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def stream_info(stream: Any, width: int | None = None, height: int | None = None) -> VideoInfo:
    """Return what a file's header says, worked out as OpenCV does."""
    fps = float(stream.guessed_rate or stream.average_rate or 0)
    num_frames = int(stream.frames)
    if not num_frames and 0 < fps <= MAX_FPS:
        if stream.container.duration:
            seconds = stream.container.duration / 1e6
        else:
            seconds = float((stream.duration or 0) * stream.time_base)
        num_frames = int(seconds * fps + 0.5)
    return VideoInfo(
        width=stream.width if width is None else width,
        height=stream.height if height is None else height,
        fps=fps,
        num_frames=num_frames,
        codec=stream.codec_context.name,
        seconds=num_frames / fps if num_frames and 0 < fps <= MAX_FPS else None,
    )
