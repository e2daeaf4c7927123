"""Frames of an H.264 file by PyAV, without decoding pictures that nobody asked for or refers to.

Half of the pictures of a usual H.264 file are referred to by no other one, and their packets say
so. They are not given to the decoder, unless they are wanted themselves; over what lies before an
IDR picture it jumps. The frames are exactly those of a full decode, and proven to be: every packet
is whole and has a time of its own, the decoder knows from the beginning how far frames are
reordered (so that it drops none), and every packet that it is given comes back as a frame, in
order and with its time. Any doubt ends this reading; the file is OpenCV's then. Not noticed is
damage inside a picture that was left out.

Pictures have the very bits that OpenCV gives: the same swscale, told the same.
"""

from __future__ import annotations

from array import array
from bisect import bisect
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.file_types import Limits, as_input_errors, check_pixels, matroska_or_mp4
from vidlstm.media.opencv import decoding_threads, opencv_version
from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import Image, Video
from vidlstm.media.video.h264 import BrokenPacketError, Role, length_size, role_of
from vidlstm.media.video.pyav_reader import CHANGED, do_without, is_installed, open_container, stream_info

_MOST_REORDERED = 32
"""More than H.264 allows (16)."""
_SEEK_OVERHEAD = 16
"""What a seek costs, in packets read."""
_OPENCV = (4, 13)
"""Before, its swscale takes every colour for one of BT.601."""
# Of what kind of frames the conversion was compared with OpenCV's, bit by bit: the usual ones. Numbers
# are those of ITU-T H.273; high dynamic range and interlaced frames turn out otherwise.
_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
_MATRICES = (1, 2, 5, 6)
_PRIMARIES = (1, 2, 5, 6)
_TRANSFERS = (1, 2, 5, 6, 13)


class DoubtError(Exception):
    """It cannot be proven that the frames are those of a full decode."""


def open_selective(path: Path, limits: Limits, head: bytes) -> Video | None:
    """Open `path` for selective reading; return None where this is not possible, or not for sure.

    Args:
        path: A video file.
        limits: What it may cost.
        head: Its first bytes.

    Raises:
        InputError: `too_large`, `permission` ...
    """
    container = matroska_or_mp4(head)
    if container is None or not is_installed() or opencv_version() < _OPENCV:
        return None
    try:
        return SelectiveVideo(path, limits, container)
    except DoubtError:
        return None
    except CHANGED as error:
        do_without(error)
        return None


@dataclass(frozen=True)
class _Packets:
    """The packets of a stream in the order of decoding.

    Args:
        pts: When their frames are shown, `(N,)` int64, in ticks.
        dts: By which they are sought, `(N,)` int64.
        starts: Places of the IDR pictures, sorted.
        spare: Which of them nothing refers to, `(N,)`.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    starts: NDArray[np.int64]
    spare: NDArray[np.bool_]


class SelectiveVideo(Video):
    """An open H.264 file.

    Raises:
        DoubtError: On opening as well as on reading: let OpenCV read this file.
    """

    def __init__(self, path: Path, limits: Limits, container: str) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self._error: type[Exception] = av.error.FFmpegError
        self._reformatter: Any = VideoReformatter()
        with ExitStack() as stack:
            with as_input_errors(path):
                # An open file and not its name, and one kind of container: nothing else is ever opened.
                file = stack.enter_context(path.open("rb"))
            try:
                self._container = stack.enter_context(open_container(file, container))
            except (self._error, OSError) as error:
                raise DoubtError from error
            if len(self._container.streams.video) != 1:
                raise DoubtError
            self._stream = self._container.streams.video[0]
            self._decoder = self._stream.codec_context
            if self._decoder.name != "h264":
                raise DoubtError
            super().__init__(path, stream_info(self._stream))
            check_pixels(path, self.info.width, self.info.height, limits)
            self._packets = self._survey()
            self._order = np.argsort(self._packets.pts)
            self._numbers = np.argsort(self._order)
            self.expected = len(self._order)
            self.times = self._seconds = self._seconds_shown()
            self._left_out = np.zeros(self.expected, bool)
            self._pending: list[int] = []  # numbers of the frames that the decoder owes, a heap
            self._arrived: deque[tuple[int, Any]] = deque()
            self._frame: Any = None
            # One more thread than cores at work, as FFmpeg itself chooses where it is not told.
            self._decoder.thread_type, self._decoder.thread_count = "FRAME", decoding_threads()
            self._seek(0)
            self.goto(0)
            height, width = self.image().shape[:2]
            self.info = stream_info(self._stream, width, height)
            self._stack = stack.pop_all()

    def expect(self, indices: Iterable[int]) -> None:
        """Leave out from now on what is not needed for the frames with these numbers."""
        wanted = np.zeros(self.expected, bool)
        wanted[[index for index in indices if index < self.expected]] = True
        self._left_out = self._packets.spare & ~wanted[self._numbers]

    def step(self) -> bool:
        """Go to the next frame; return False at the end."""
        return self.goto(self.index + 1)

    def goto(self, index: int) -> bool:
        """Go forward to frame `index`, which was expected; return False when the clip ends before it."""
        if index < self.index:
            raise ValueError(f"frame {index} lies before frame {self.index}: frames are read in order")
        if index >= self.expected:
            self.read_to_end()
            return False
        if self._left_out[self._order[index]]:
            raise ValueError(f"frame {index} was not expected")
        starts = self._packets.starts
        start = int(starts[np.searchsorted(starts, self._order[index], side="right") - 1])
        if start > self._place + _SEEK_OVERHEAD:
            self._seek(start)
            self.jumped = True
        while self.index < index:
            while not self._arrived:
                if not self._feed():
                    raise DoubtError
            self.index, self._frame = self._arrived.popleft()
        self.seconds = float(self._seconds[index])
        return True

    def image(self) -> Image:
        """Return the frame it stands on, `(H, W, 3)` uint8 BGR."""
        frame = self._frame
        turns, rest = divmod(frame.rotation, 90)
        if (
            rest
            or frame.format.name not in _PIXEL_FORMATS
            or frame.interlaced_frame
            or frame.colorspace not in _MATRICES
            or frame.color_primaries not in _PRIMARIES
            or frame.color_trc not in _TRANSFERS
        ):
            raise DoubtError
        try:
            picture = self._reformatter.reformat(frame, format="bgr24", interpolation="BICUBIC", threads=1)
        except self._error as error:
            raise DoubtError from error
        plane = picture.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(picture.height, plane.line_size)
        image = rows[:, : 3 * picture.width].reshape(picture.height, picture.width, 3)
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image

    def read_to_end(self) -> int:
        """Decode the rest, unless a jump was made, and return the number of frames."""
        if not self.jumped:
            while self._feed():
                self._arrived.clear()
            if self._pending:
                raise DoubtError
        self.count = self.expected
        return self.count

    @property
    def end_seconds(self) -> float:
        """When the last frame ends."""
        return float(self._seconds[-1]) + 1 / known_fps(self.info.fps)

    def close(self) -> None:
        """Release the file."""
        self._frame = None
        self._arrived.clear()
        self._stack.close()

    def _survey(self) -> _Packets:
        """Read all packets.

        Raises:
            DoubtError: Their number need not be that of the frames, or they are damaged.
        """
        pts, dts = array("q"), array("q")  # eight bytes each: two hours have 200,000 packets
        starts: list[int] = []
        spare = bytearray()
        try:
            size_bytes = length_size(self._decoder.extradata or b"")
            for packet in self._container.demux(self._stream):
                if not packet.size:
                    continue
                role = role_of(memoryview(packet), size_bytes)
                # A film whose pictures refer to others across keyframes is for OpenCV, which seeks there.
                if (
                    packet.pts is None
                    or packet.is_corrupt
                    or packet.is_discard
                    or packet.is_keyframe != (role is Role.START)
                ):
                    raise DoubtError
                if role is Role.START:
                    starts.append(len(pts))
                pts.append(packet.pts)
                dts.append(packet.pts if packet.dts is None else packet.dts)
                spare.append(role is Role.SPARE)
        except (self._error, OSError, BrokenPacketError) as error:
            raise DoubtError from error
        packets = _Packets(
            np.asarray(pts, np.int64), np.asarray(dts, np.int64), np.asarray(starts, np.int64),
            np.frombuffer(spare, bool),
        )  # fmt: skip
        if not starts or starts[0] != 0 or len(np.unique(packets.pts)) < len(pts):
            raise DoubtError
        # A decoder that learns late how far frames are reordered drops some at the beginning. (PyAV
        # before 17 does not tell.)
        if _reordering(packets.pts) > getattr(self._decoder, "reorder_depth", -1):
            raise DoubtError
        return packets

    def _seconds_shown(self) -> NDArray[np.float64]:
        """Return when each frame is shown, to the last bit as OpenCV counts."""
        ticks = self._packets.pts[self._order] - (self._stream.start_time or 0)
        milliseconds = ticks * float(self._stream.time_base) * 1e3
        seconds: NDArray[np.float64] = milliseconds / 1e3 - milliseconds[0] / 1e3
        return seconds

    def _seek(self, start: int) -> None:
        """Let decoding go on with the IDR picture at place `start`."""
        self._pending.clear()
        self._arrived.clear()
        try:
            self._container.seek(int(self._packets.dts[start]), stream=self._stream)
            self._demuxed = self._container.demux(self._stream)
            packet = next((p for p in self._demuxed if p.pts == self._packets.pts[start]), None)
        except (self._error, OSError) as error:
            raise DoubtError from error
        if packet is None:
            raise DoubtError
        self._place = start
        self._send(packet)

    def _feed(self) -> bool:
        """Read one packet, and decode it unless it is left out; return False when there is none."""
        try:
            packet = next(self._demuxed, None)
        except (self._error, OSError) as error:
            raise DoubtError from error
        if packet is None:
            if self._place < self.expected:
                raise DoubtError
            return False
        if packet.size:
            self._send(packet)
        elif self._place == self.expected:
            self._receive(None)
        return True

    def _send(self, packet: Any) -> None:
        place = self._place
        if place == self.expected or packet.pts != self._packets.pts[place]:
            raise DoubtError
        self._place += 1
        if not self._left_out[place]:
            heappush(self._pending, int(self._numbers[place]))
            self._receive(packet)

    def _receive(self, packet: Any) -> None:
        """Decode a packet, or what is left behind the last one, and check the frames that come."""
        try:
            frames = self._decoder.decode(packet)
        except self._error as error:
            raise DoubtError from error
        for frame in frames:
            number = heappop(self._pending) if self._pending else None
            if number is None or frame.pts != self._packets.pts[self._order[number]] or frame.is_corrupt:
                raise DoubtError
            self._arrived.append((number, frame))


def _reordering(pts: NDArray[np.int64]) -> int:
    """Return of how many frames, at most, that are decoded before it a frame is shown ahead."""
    most = 0
    before: list[int] = []
    for time in map(int, pts):
        place = bisect(before, time)
        most = max(most, len(before) - place)
        before.insert(place, time)
        del before[:-_MOST_REORDERED]
    return most
