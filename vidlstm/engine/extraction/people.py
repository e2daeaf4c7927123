"""Find the people in a clip, in a decoder process. Imports no torch."""

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
        people: N, the maximum number of people.

    Returns:
        Key points `(U, N, 13, 3)`, see `pose.slots`.
    """
    blazepose = _load(networks)
    tracks = follow(list(pictures), blazepose.detect, blazepose.find_points, wanted=people)
    return pose.slots(tracks, len(pictures), people)


@cache
def _load(networks: Path) -> BlazePose:
    return BlazePose(networks, decoding_threads() or 1)
