"""Read a file's packets without decoding: number of frames, their times, and which are keyframes.

This costs a hundredth of decoding.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidlstm.media.video.pyav.container import codec_name, packets_of

Ticks = TypeVar("Ticks", int, NDArray[np.int64])
_VP8_IS_SHOWN = 0x10
_MAX_KEPT = 2**24
_OBJECT_BYTES = 1024
"""Memory of a packet besides its data, at most."""


class KeptPackets:
    """The packets of a short file, kept in memory so that they need not be read again.

    Packets are kept if they take less than 16 MB. For 16 frames of the 7 s MPEG-4 file of
    `python -m tests.benchmarks.speed --parts sampling` this saves 6 % of the CPU time and 7 % of the time, of
    the 10 s H.264 files 3 % of both.

    Attributes:
        packets: All packets, in decoding order; None: the file has to be read again.
    """

    def __init__(self) -> None:
        self.packets: list[Packet[VideoStream]] | None = []
        self._room = _MAX_KEPT

    def add(self, packet: Packet[VideoStream]) -> None:
        """Keep a packet, unless all packets together are too large."""
        self._room -= packet.size + _OBJECT_BYTES
        if self._room < 0:
            self.packets = None
        elif self.packets is not None:
            self.packets.append(packet)

    def drop(self) -> None:
        """Keep nothing, because a packet could not be read."""
        self.packets = None


@dataclass(frozen=True)
class Packets:
    """The packets of a video stream.

    Args:
        num_frames: Number of packets that become a frame.
        num_discarded: Number of packets that do not, because an edit list or the codec hides them.
        pts: Presentation times of the frames, int64 `(num_frames,)`, in ticks, strictly increasing; None
            if the file does not have one for each.
        keys: Numbers of the keyframes, int64 `(K,)`, sorted.
        key_times: Times for seeking to the keyframes, int64 `(K,)`, in ticks.
        first: Position of the first packet in bytes, and its time for seeking; None if either is unknown.
        is_encrypted: Whether any packet is encrypted.
        is_in_order: Whether packets must be read in order, because some hold data that is sent only once (a
            palette, a new header).
        kept: All packets, in decoding order; None: the file has to be read again.
    """

    num_frames: int
    num_discarded: int
    pts: NDArray[np.int64] | None
    keys: NDArray[np.int64]
    key_times: NDArray[np.int64]
    first: tuple[int, int] | None
    is_encrypted: bool
    is_in_order: bool
    kept: Sequence[Packet[VideoStream]] | None

    def key_before(self, index: int) -> tuple[int, int] | None:
        """Return the keyframe to decode frame `index` from, and its time for seeking."""
        place = int(np.searchsorted(self.keys, index, side="right")) - 1
        return (int(self.keys[place]), int(self.key_times[place])) if place >= 0 else None


def read_packets(container: InputContainer, stream: VideoStream) -> Packets:
    """Read all packets from the current position of the file."""
    pts, dts = array("q"), array("q")  # 8 bytes each; two hours have 200,000 packets
    is_key = bytearray()
    first: tuple[int, int] | None = None
    num_discarded, num_packets, is_encrypted = 0, 0, False
    is_in_order = False
    codec = codec_name(stream)
    kept = KeptPackets()
    for packet in packets_of(container, stream, kept.drop):
        kept.add(packet)
        time = packet.pts if packet.dts is None else packet.dts
        if not num_packets and packet.pos is not None and time is not None:
            first = packet.pos, time
        num_packets += 1
        for extra in packet.iter_sidedata():
            is_encrypted = is_encrypted or extra.data_type == "encryption_info"
            is_in_order = is_in_order or extra.data_type in ("palette", "new_extradata")
        if packet.is_discard:
            num_discarded += 1
        elif packet.size == 1 or (codec == "vp8" and not memoryview(packet)[0] & _VP8_IS_SHOWN):
            num_discarded += 1  # a dropped frame, or a reference that is never shown
        elif packet.pts is not None and time is not None:
            pts.append(packet.pts)
            dts.append(time)
            is_key.append(packet.is_keyframe)
    # In a transport stream each field of an interlaced H.264 frame is a packet; only the first has a time.
    num_frames = len(pts) if codec == "h264" and pts else num_packets - num_discarded
    shown = np.asarray(pts, np.int64)
    if container.format.name == "avi" and pts != dts:
        shown = shown[:0]  # the file has no times, only a decoding order; FFmpeg has guessed these
    order = np.argsort(shown, kind="stable")
    shown = shown[order]
    is_timed = num_frames == len(shown) > 0 and bool((np.diff(shown) > 0).all())
    is_first = np.frombuffer(is_key, bool)[order] if is_timed else np.zeros(0, bool)
    keys = np.flatnonzero(is_first)
    key_times = np.asarray(dts, np.int64)[order][keys]
    return Packets(
        num_frames=num_frames,
        num_discarded=num_discarded,
        pts=shown if is_timed else None,
        keys=keys,
        key_times=key_times,
        first=first,
        is_encrypted=is_encrypted,
        is_in_order=is_in_order,
        kept=kept.packets,
    )


@dataclass(frozen=True)
class Clock:
    """The times of a stream.

    Args:
        start: Time of its beginning, in ticks.
        unit: Length of a tick, in seconds.
    """

    start: int
    unit: float

    @staticmethod
    def of(stream: VideoStream) -> Clock:
        """Return the clock of a stream."""
        return Clock(stream.start_time or 0, float(stream.time_base or 0))

    def seconds(self, ticks: Ticks) -> Ticks:
        """Return times in seconds from the beginning, bit-identical to OpenCV's."""
        return (ticks - self.start) * self.unit * 1e3 / 1e3  # type: ignore[return-value]
