"""Frames of an H.264 file by PyAV, without decoding pictures that nobody asked for or refers to.

Half of the pictures of a usual H.264 file are referred to by no other one, and their packets say so.
They are not given to the decoder, unless they are wanted themselves; over what lies before an IDR
picture it jumps. The frames are exactly those of a full decode, and proven to be: every packet is whole
and has a time of its own, the decoder knows from the beginning how far frames are reordered (so that it
drops none), and every packet that it is given comes back as a frame, in order and with its time. Any
doubt ends this reading; `pyav_reader` decodes the whole file then. Damage inside a picture that was left
out is not noticed.
"""

from __future__ import annotations

from array import array
from bisect import bisect
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from av import VideoFrame
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidlstm.errors import InputError
from vidlstm.media.opencv import decoding_threads
from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import DoubtError, Image
from vidlstm.media.video.container import FFmpegError, Source, codec_name
from vidlstm.media.video.h264 import BrokenPacketError, Role, length_size, role_of
from vidlstm.media.video.packets import to_seconds
from vidlstm.media.video.pyav_file import PyAvFile
from vidlstm.media.video.threads import set_threads

_MOST_REORDERED = 32
"""More than H.264 allows (16)."""
_SEEK_OVERHEAD = 16
"""What a seek costs, in packets read."""


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


def can_be_selective(source: Source) -> bool:
    """Tell whether a file is H.264 alone, in a container that keeps the lengths of a packet's parts."""
    is_alone = not source.notes and codec_name(source.stream) == "h264"
    return is_alone and source.container.format.name.startswith(("matroska", "mov"))


class SelectiveVideo(PyAvFile):
    """An open H.264 file.

    Args:
        source: The file, at its beginning; closed together with this.

    Raises:
        DoubtError: On opening as well as on reading: the whole file has to be decoded.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._decoder = source.stream.codec_context
        self._packets = self._survey()
        self._order = np.argsort(self._packets.pts)
        self._numbers = np.argsort(self._order)
        self.expected = len(self._order)
        seconds = to_seconds(source.stream, self._packets.pts[self._order])
        self._seconds = seconds - seconds[0]
        self.times = self._seconds
        self._left_out = np.zeros(self.expected, bool)
        self._pending: list[int] = []  # numbers of the frames that the decoder owes, a heap
        self._arrived: deque[tuple[int, VideoFrame]] = deque()
        set_threads(source.stream, decoding_threads())
        self._seek(0)
        self.goto(0)
        self._set_info(source.stream.frames)

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
        try:
            return super().image()
        except InputError as error:
            raise DoubtError from error

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
        self._arrived.clear()
        super().close()

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
            for packet in self._source.container.demux(self._source.stream):
                if not packet.size:
                    continue
                role = role_of(memoryview(packet), size_bytes)
                # A film whose pictures refer to others across keyframes is decoded whole.
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
        except (FFmpegError, BrokenPacketError) as error:
            raise DoubtError from error
        packets = _Packets(
            np.asarray(pts, np.int64), np.asarray(dts, np.int64), np.asarray(starts, np.int64),
            np.frombuffer(spare, bool),
        )  # fmt: skip
        if not starts or starts[0] != 0 or len(np.unique(packets.pts)) < len(pts):
            raise DoubtError
        # A decoder that learns late how far frames are reordered drops some at the beginning.
        if _reordering(packets.pts) > self._decoder.reorder_depth:
            raise DoubtError
        return packets

    def _seek(self, start: int) -> None:
        """Let decoding go on with the IDR picture at place `start`."""
        self._pending.clear()
        self._arrived.clear()
        try:
            self._source.container.seek(int(self._packets.dts[start]), stream=self._source.stream)
            self._demuxed = self._source.container.demux(self._source.stream)
            packet = next((p for p in self._demuxed if p.pts == self._packets.pts[start]), None)
        except FFmpegError as error:
            raise DoubtError from error
        if packet is None:
            raise DoubtError
        self._place = start
        self._send(packet)

    def _feed(self) -> bool:
        """Read one packet, and decode it unless it is left out; return False when there is none."""
        try:
            packet = next(self._demuxed, None)
        except FFmpegError as error:
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

    def _send(self, packet: Packet[VideoStream]) -> None:
        place = self._place
        if place == self.expected or packet.pts != self._packets.pts[place]:
            raise DoubtError
        self._place += 1
        if not self._left_out[place]:
            heappush(self._pending, int(self._numbers[place]))
            self._receive(packet)

    def _receive(self, packet: Packet[VideoStream] | None) -> None:
        """Decode a packet, or what is left behind the last one, and check the frames that come."""
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError as error:
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
