"""What a file's packets tell without decoding them: how many, when shown, which are keyframes.

Reading the packets costs a hundredth of decoding them, and it is the only cheap way to know what
a seek will do. `packet_index` returns None where this OpenCV or this file does not allow it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2

OPENCV_RUN_UP = 16
"""OpenCV seeks to the keyframe at least that many frames before the one it wants."""


@dataclass(frozen=True)
class PacketIndex:
    """The packets of a video stream, in the order in which their frames are shown.

    Args:
        times: When each is shown, in seconds, `(N,)` float64, sorted.
        keys: Numbers of those that can be decoded without the ones before, sorted.
    """

    times: NDArray[np.float64]
    keys: NDArray[np.int64]

    @property
    def tolerance(self) -> float:
        """How far two times of one frame may differ, in seconds; 0 when times do not tell frames apart."""
        if len(self.times) < 2:
            return 0.0
        return min(1e-3, float(np.diff(self.times).min()) / 4)

    def key_before(self, index: int) -> int:
        """Return the keyframe from which OpenCV can be made to decode up to frame `index`."""
        place = int(np.searchsorted(self.keys, index - OPENCV_RUN_UP - 4, side="right")) - 1
        return int(self.keys[max(place, 0)])


def packet_index(name: str) -> PacketIndex | None:
    """Read all packets of the file that FFmpeg knows by `name`."""
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        times: list[float] = []
        is_key: list[bool] = []
        while capture.grab():
            copied, packet = capture.retrieve()
            # Stands for a dropped frame, or one packed with another; None is a packet without bytes.
            if copied and (packet is None or packet.size <= 1):
                continue
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
            is_key.append(capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME) > 0)
    finally:
        capture.release()
    if not any(is_key):
        return None
    order = np.argsort(np.asarray(times), kind="stable")
    return PacketIndex(np.asarray(times)[order], np.flatnonzero(np.asarray(is_key)[order]))
