"""Read an H.264 file with PyAV, skipping pictures that are neither wanted nor referred to.

About half of the pictures of a typical H.264 file are not references, and their packets say so. They are not
sent to the decoder unless they are wanted. Where possible, the reader seeks to an IDR picture.

The frames are proven to be those of a full decode: every packet is complete and has a unique time; the
decoder knows the reordering depth from the start, so it drops nothing; and every packet sent comes back as a
frame, in order and with its time. In any doubt this reader gives up and `reader` decodes the whole file.
Damage inside a skipped picture is not noticed.
"""

from __future__ import annotations

from array import array
from bisect import bisect
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice

import numpy as np
from av import VideoFrame
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidlstm.errors import InputError
from vidlstm.media.opencv import decoding_threads
from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import DoubtError, Image
from vidlstm.media.video.pyav.container import FFmpegError, Source, codec_name
from vidlstm.media.video.pyav.file import PyAvFile
from vidlstm.media.video.pyav.h264 import BrokenPacketError, Role, length_size, role_of
from vidlstm.media.video.pyav.packets import Clock, KeptPackets
from vidlstm.media.video.pyav.threads import set_threads

_MAX_REORDERED = 32
"""Above the limit of H.264 (16)."""
_SEEK_OVERHEAD = 16
"""Cost of a seek, in packets read."""


@dataclass(frozen=True)
class _Packets:
    """The packets of a stream, in decoding order.

    Args:
        pts: Presentation times, int64 `(N,)`, in ticks.
        dts: Decoding times, for seeking, int64 `(N,)`, in ticks.
        starts: Indices of the IDR pictures, sorted.
        spare: Whether no other picture refers to a packet's picture, bool `(N,)`.
        kept: All packets, and the empty one at the end; None: the file has to be read again.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    starts: NDArray[np.int64]
    spare: NDArray[np.bool_]
    kept: Sequence[Packet[VideoStream]] | None


def can_be_selective(source: Source) -> bool:
    """Tell whether the only video stream is H.264, in a container with NAL unit lengths."""
    is_alone = not source.notes and codec_name(source.stream) == "h264"
    return is_alone and source.container.format.name.startswith(("matroska", "mov"))


class SelectiveVideo(PyAvFile):
    """An open H.264 file.

    Args:
        source: The file, at its beginning; closed together with this.

    Raises:
        DoubtError: The whole file has to be decoded. Raised on opening and on reading.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._decoder = source.stream.codec_context
        self._packets = self._survey()
        self._order = np.argsort(self._packets.pts)
        self._numbers = np.argsort(self._order)
        self.expected = len(self._order)
        seconds = Clock.of(source.stream).seconds(self._packets.pts[self._order])
        self._seconds = seconds - seconds[0]
        self.times = self._seconds
        self._left_out = np.zeros(self.expected, bool)
        self._pending: list[int] = []  # numbers of the frames still to come from the decoder, a heap
        self._arrived: deque[tuple[int, VideoFrame]] = deque()
        set_threads(source.stream, decoding_threads())
        self._seek(0)
        self.goto(0)
        self._set_info(source.stream.frames)

    def expect(self, indices: Iterable[int]) -> None:
        """From now on, skip what is not needed for the frames with these numbers."""
        wanted = np.zeros(self.expected, bool)
        wanted[[index for index in indices if index < self.expected]] = True
        self._left_out = self._packets.spare & ~wanted[self._numbers]

    def step(self) -> bool:
        """Move to the next frame; return False at the end."""
        return self.goto(self.index + 1)

    def goto(self, index: int) -> bool:
        """Move forward to frame `index`, which was announced; return False if the clip ends before it."""
        if index < self.index:
            raise ValueError(f"frame {index} is before frame {self.index}, but frames are read in order")
        if index >= self.expected:
            self.read_to_end()
            return False
        if self._left_out[self._order[index]]:
            raise ValueError(f"frame {index} was not announced")
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
        """Return the current frame, uint8 BGR `(H, W, 3)`."""
        try:
            return super().image()
        except InputError as error:
            raise DoubtError from error

    def read_to_end(self) -> int:
        """Return the number of frames; unless there was a seek, decode the rest to check it."""
        if not self.jumped:
            while self._feed():
                self._arrived.clear()
            if self._pending:
                raise DoubtError
        self.count = self.expected
        return self.count

    @property
    def end_seconds(self) -> float:
        """End of the last frame."""
        return float(self._seconds[-1]) + 1 / known_fps(self.info.fps)

    def close(self) -> None:
        """Release the file."""
        self._arrived.clear()
        super().close()

    def _survey(self) -> _Packets:
        """Read all packets.

        Raises:
            DoubtError: They are damaged, or their number may differ from that of the frames.
        """
        pts, dts = array("q"), array("q")  # 8 bytes each; two hours have 200,000 packets
        starts: list[int] = []
        spare = bytearray()
        kept = KeptPackets()
        try:
            size_bytes = length_size(self._decoder.extradata or b"")
            for packet in self._source.container.demux(self._source.stream):
                kept.add(packet)
                if not packet.size:
                    continue
                role = role_of(memoryview(packet), size_bytes)
                # If pictures may refer to others across keyframes, the whole file is decoded.
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
            np.frombuffer(spare, bool), kept.packets,
        )  # fmt: skip
        if not starts or starts[0] != 0 or len(np.unique(packets.pts)) < len(pts):
            raise DoubtError
        # A decoder that learns the reordering depth late drops frames at the beginning.
        if _reordering(packets.pts) > self._decoder.reorder_depth:
            raise DoubtError
        return packets

    def _seek(self, start: int) -> None:
        """Continue decoding at the IDR picture with index `start`."""
        self._pending.clear()
        self._arrived.clear()
        try:
            self._demuxed = self._packets_from(start)
            packet = next((p for p in self._demuxed if p.pts == self._packets.pts[start]), None)
        except FFmpegError as error:
            raise DoubtError from error
        if packet is None:
            raise DoubtError
        self._place = start
        self._send(packet)

    def _packets_from(self, start: int) -> Iterator[Packet[VideoStream]]:
        """Return the packets from the one with index `start`; some before it may come, too."""
        if self._packets.kept is not None:
            self._decoder.flush_buffers()
            return islice(self._packets.kept, start, None)
        self._source.container.seek(int(self._packets.dts[start]), stream=self._source.stream)
        return self._source.container.demux(self._source.stream)

    def _feed(self) -> bool:
        """Read one packet and decode it, unless it is skipped; return False at the end."""
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
        """Decode a packet (None: flush the decoder) and check the frames that come."""
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
    """Return the reordering depth: the maximum number of frames decoded before a frame and shown after it."""
    most = 0
    before: list[int] = []
    for time in map(int, pts):
        place = bisect(before, time)
        most = max(most, len(before) - place)
        before.insert(place, time)
        del before[:-_MAX_REORDERED]
    return most
