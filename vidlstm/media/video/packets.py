"""What a file's packets tell without decoding them: how many frames, when shown, which are keyframes.

Reading the packets costs a hundredth of decoding them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidlstm.media.video.container import codec_name, packets_of

Ticks = TypeVar("Ticks", int, NDArray[np.int64])
_VP8_IS_SHOWN = 0x10


@dataclass(frozen=True)
class Packets:
    """The packets of a video stream.

    Args:
        num_frames: Those that become a frame.
        num_discarded: Those that become none: an edit list hides them, or the codec does.
        pts: When the frames are shown, `(num_frames,)` int64, in ticks, increasing strictly; None where
            the file does not say so of each.
        keys: Numbers of the frames that decoding can start with, `(K,)` int64, sorted.
        key_times: By which these are sought, `(K,)` int64, in ticks.
        first: Place of the first packet in the file, in bytes, and the time by which it is sought; None
            where one is unknown.
        is_encrypted: Whether one of them is.
        is_in_order: Whether they hold what later ones need (a palette, a new header), and is sent only once.
    """

    num_frames: int
    num_discarded: int
    pts: NDArray[np.int64] | None
    keys: NDArray[np.int64]
    key_times: NDArray[np.int64]
    first: tuple[int, int] | None
    is_encrypted: bool
    is_in_order: bool

    def key_before(self, index: int) -> tuple[int, int] | None:
        """Return the frame from which frame `index` can be decoded, and the time by which it is sought."""
        place = int(np.searchsorted(self.keys, index, side="right")) - 1
        return (int(self.keys[place]), int(self.key_times[place])) if place >= 0 else None


def read_packets(container: InputContainer, stream: VideoStream) -> Packets:
    """Read all packets from where the file stands."""
    pts, dts = array("q"), array("q")  # eight bytes each: two hours have 200,000 packets
    is_key = bytearray()
    first: tuple[int, int] | None = None
    num_discarded, num_packets, is_encrypted = 0, 0, False
    is_in_order = False
    codec = codec_name(stream)
    for packet in packets_of(container, stream, lambda: None):
        time = packet.pts if packet.dts is None else packet.dts
        if not num_packets and packet.pos is not None and time is not None:
            first = packet.pos, time
        num_packets += 1
        is_encrypted = is_encrypted or packet.has_sidedata("encryption_info")
        is_in_order = is_in_order or packet.has_sidedata("palette") or packet.has_sidedata("new_extradata")
        if packet.is_discard:
            num_discarded += 1
        elif packet.size == 1 or (codec == "vp8" and not memoryview(packet)[0] & _VP8_IS_SHOWN):
            num_discarded += 1  # stands for a dropped frame; or a reference that is never shown itself
        elif packet.pts is not None and time is not None:
            pts.append(packet.pts)
            dts.append(time)
            is_key.append(packet.is_keyframe)
    # In a transport stream each field of an interlaced H.264 frame is a packet; the first has the time.
    num_frames = len(pts) if codec == "h264" and pts else num_packets - num_discarded
    shown = np.asarray(pts, np.int64)
    if container.format.name == "avi" and pts != dts:
        shown = shown[:0]  # no times in the file, only an order of decoding: FFmpeg has guessed them
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
    )


def to_seconds(stream: VideoStream, ticks: Ticks) -> Ticks:
    """Return times of a stream in seconds, to the last bit as OpenCV counts them."""
    milliseconds = (ticks - (stream.start_time or 0)) * float(stream.time_base or 0) * 1e3
    return milliseconds / 1e3  # type: ignore[return-value]
