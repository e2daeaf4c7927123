"""Frames of a video file by OpenCV's FFmpeg reader: in order, or by seeks that prove themselves.

A jump is made by a seek when its run-up from the keyframe is clearly cheaper than decoding what
lies between. A seek counts only if the frame it lands on carries the time which the packet index
has for the frame wanted; the first one that does not ends all seeking in that file, and it is
decoded in order from its beginning. Frames that a damaged file loses in between are not noticed
by a seek. OpenCV before 4.11 ends an AVI file where its header says, and before 4.10 it gives no
times to packets, so that nothing is sought.
"""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from vidlstm.errors import FailureCode, InputError
from vidlstm.files import suffix_kind
from vidlstm.media.file_types import Limits, as_input_errors, check_pixels
from vidlstm.media.opencv import cv2, decoding_threads
from vidlstm.media.sampling import MAX_FPS, known_fps
from vidlstm.media.video.base import Image, Video, VideoInfo
from vidlstm.media.video.packets import OPENCV_RUN_UP, PacketIndex, packet_index

_SEEK_OVERHEAD = 16
"""What a seek costs beside its run-up, in frames."""
_MPEG4 = ("FMP4", "MP4V", "XVID", "DIVX", "DX50")
_SMALL_PICTURE = 640 * 480
_DESCRIPTORS = Path("/dev/fd")
"""Where a file that is open has a name without letters to misread."""


class NotOpenedError(Exception):
    """FFmpeg finds no video stream that it can read."""


class NoFrameError(Exception):
    """There is a video stream, but not one of its frames can be decoded."""

    def __init__(self, codec: str) -> None:
        super().__init__(codec)
        self.codec = codec


class Capture(Video):
    """An open video file.

    Raises:
        NotOpenedError: It is no video for FFmpeg.
        NoFrameError: It is one, but no frame comes.
        InputError: `too_large`, `permission` ...
    """

    def __init__(self, path: Path, limits: Limits, *, seek: bool = True) -> None:
        with ExitStack() as stack:
            self._name = _openable_name(path, stack)
            self._capture = _open(self._name)
            stack.callback(lambda: self._capture.release())
            super().__init__(path, _read_info(path, self._capture))
            check_pixels(path, self.info.width, self.info.height, limits)
            index = packet_index(self._name)
            if index is not None:
                self.expected = len(index.times)
            if not self._capture.grab():
                raise NoFrameError(self.info.codec)
            self._zero = self._raw_seconds()
            self._stand_on_next(0.0)
            self._packets = index if seek and index is not None and self._agrees(index) else None
            self._stack = stack.pop_all()

    def step(self) -> bool:
        """Go to the next frame; return False at the end."""
        if not self._capture.grab():
            return self._meet_end()
        self._stand_on_next(self._raw_seconds() - self._zero)
        return True

    def goto(self, index: int) -> bool:
        """Go forward to frame `index`; return False when the clip ends before it."""
        packets = self._packets
        if packets is None or index >= len(packets.times):
            return super().goto(index)
        if index - self.index <= 1.25 * (index - packets.key_before(index)) + _SEEK_OVERHEAD:
            return super().goto(index)
        if self._seek(index, packets):
            return True
        self._packets = None
        self._rewind()
        return super().goto(index)

    def image(self) -> Image:
        """Return the frame it stands on, `(H, W, 3)` uint8 BGR."""
        try:
            decoded, image = self._capture.retrieve()
        except cv2.error:
            decoded = False
        if not decoded:
            raise InputError(self.path, FailureCode.READ_ERROR, f"frame {self.index} cannot be decoded")
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        return np.asarray(image, dtype=np.uint8)

    def close(self) -> None:
        """Release the file."""
        self._stack.close()

    @property
    def end_seconds(self) -> float:
        """When the last frame met so far ends; after a jump, when the last packet does."""
        if self.jumped and self._packets is not None:
            return float(self._packets.times[-1]) - self._zero + 1 / known_fps(self.info.fps)
        return super().end_seconds

    def _raw_seconds(self) -> float:
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        return seconds if math.isfinite(seconds) else 0.0

    def _agrees(self, index: PacketIndex) -> bool:
        """Tell whether the times of packets and decoded frames mean the same."""
        return index.tolerance > 0 and abs(float(index.times[0]) - self._zero) <= index.tolerance

    def _seek(self, index: int, packets: PacketIndex) -> bool:
        """Land on frame `index`, or tell that this cannot be done for sure."""
        wanted = float(packets.times[index])
        # OpenCV numbers a frame by its time only where the seek lands, and counts from there. So it is
        # given a number that ends its own run-up before the wanted frame at any frame rate; the rest
        # of the way is gone frame by frame, by time.
        start = float(packets.times[packets.key_before(index)]) * self._capture.get(cv2.CAP_PROP_FPS)
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, round(start) + OPENCV_RUN_UP + 1)
        while self._capture.grab():
            now = self._raw_seconds()
            if now >= wanted - packets.tolerance:
                self.index, self.seconds, self.jumped = index, now - self._zero, True
                return now <= wanted + packets.tolerance
        return False

    def _rewind(self) -> None:
        self._capture.release()
        self._capture = _open(self._name)
        self._capture.grab()
        self.index, self.seconds, self.jumped = 0, 0.0, False


def read_info(path: Path, limits: Limits) -> VideoInfo:
    """Read a video file's header and release the file.

    Raises:
        NotOpenedError: It is no video for FFmpeg.
        InputError: `too_large`, `permission` ...
    """
    with ExitStack() as stack:
        capture = _open(_openable_name(path, stack))
        stack.callback(capture.release)
        info = _read_info(path, capture)
        check_pixels(path, info.width, info.height, limits)
        return info


def _open(name: str) -> cv2.VideoCapture:
    # FFmpeg only: another backend reads pictures by pattern, or a camera by number.
    num_threads = decoding_threads()
    settings = [cv2.CAP_PROP_N_THREADS, num_threads] if num_threads else []
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, settings)
    if not capture.isOpened():
        capture.release()
        raise NotOpenedError
    if num_threads != 1 and _does_best_with_one_thread(capture):
        capture.release()
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    return capture


def _does_best_with_one_thread(capture: cv2.VideoCapture) -> bool:
    """Tell whether threads would only wait for each other: a third less work, no longer to wait."""
    pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    is_mpeg4 = _codec(int(capture.get(cv2.CAP_PROP_FOURCC))).upper() in _MPEG4
    return is_mpeg4 and pixels <= _SMALL_PICTURE


def _openable_name(path: Path, stack: ExitStack) -> str:
    """Return a name that is safe to give to OpenCV: absolute, so that it is neither URL nor option."""
    name = os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links)
    # FFmpeg takes `%03d` for a series of pictures, and a picture's suffix for a picture.
    is_misread = "%" in name or suffix_kind(path.name) == "picture"
    if (is_misread or not _is_utf8(name)) and _DESCRIPTORS.exists():
        with as_input_errors(path):
            fd = os.open(path, os.O_RDONLY)
        stack.callback(os.close, fd)
        return str(_DESCRIPTORS / str(fd))
    return name


def _is_utf8(name: str) -> bool:
    """Tell whether the name can be given to OpenCV, whose binding crashes where this is false."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_info(path: Path, capture: cv2.VideoCapture) -> VideoInfo:
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    claimed = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    # No frame is smaller than a byte; a negative or infinite count is a missing duration.
    num_frames = int(claimed) if 0 < claimed <= path.stat().st_size else 0
    return VideoInfo(
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        fps=fps,
        num_frames=num_frames,
        codec=_codec(int(capture.get(cv2.CAP_PROP_FOURCC))),
        seconds=num_frames / fps if num_frames and 0 < fps <= MAX_FPS else None,
    )


def _codec(fourcc: int) -> str:
    characters = (fourcc & 0xFFFFFFFF).to_bytes(4, "little").decode("latin-1")
    return "".join(c for c in characters if c.isascii() and c.isprintable()).strip()
