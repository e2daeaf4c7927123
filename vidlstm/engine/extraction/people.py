"""The people of a clip, found in the processes that read files. Imports no torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.descriptors import pose
from vidlstm.media.opencv import decoding_threads
from vidlstm.media.people.tracking import follow
from vidlstm.models.backends.blazepose import BlazePose


def find_people(pictures: NDArray[np.uint8], networks: Path, people: int) -> NDArray[np.float32]:
    """Find and follow the people of a clip.

    Args:
        pictures: RGB `(U, H, W, 3)`, in time order.
        networks: Folder of the networks' files.
        people: N, that are wanted.

    Returns:
        Key points `(U, N, 13, 3)`, see `pose.slots`.
    """
    at_hand = _load(networks)
    tracks = follow(list(pictures), at_hand.detect, at_hand.find_points, wanted=people)
    return pose.slots(tracks, len(pictures), people)


@cache
def _load(networks: Path) -> BlazePose:
    return BlazePose(networks, decoding_threads() or 1)
