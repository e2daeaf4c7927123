"""Find the people in a clip or film, in a decoder process. Imports no torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.engine.extraction.reading import PEOPLE_SIDE, ReadRequest
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.media.descriptors import pose
from vidlstm.media.opencv import decoding_threads
from vidlstm.media.people.packing import pack
from vidlstm.media.people.tracking import Tracker, follow
from vidlstm.models.backends.blazepose import BlazePose


def find_people(pictures: NDArray[np.uint8], networks: Path, people: int) -> NDArray[np.float32]:
    """Detect and track the people of a clip.

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


def read_people(path: Path, request: ReadRequest) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read the pictures of a clip that the `pose` stream is computed from, and find the people in them.

    Returns:
        RGB `(U, H, W, 3)`, and key points `(U, N, 13, 3)`.

    Raises:
        InputError: The clip cannot be used.
    """
    assert request.pose_networks is not None
    spec = ClipSpec(request.sampling, request.views, size=None, picture_side=PEOPLE_SIDE)
    pictures = read_clip(path, spec, request.limits).pictures
    assert pictures is not None
    return pictures, find_people(pictures, request.pose_networks, request.people)


def count_people(pictures: NDArray[np.uint8], networks: Path) -> NDArray[np.int64]:
    """Count the people, at most four, in pictures too far apart in time for tracking, `(U,)`.

    Args:
        pictures: RGB `(U, H, W, 3)`.
        networks: Folder of the networks' files.
    """
    blazepose = _load(networks)
    found = [follow([picture], blazepose.detect, blazepose.find_points) for picture in pictures]
    return np.array([len(people) for people in found], np.int64)


class FilmPeople:
    """Detects and tracks the people of a film, whose pictures come in parts.

    Args:
        networks: Folder of the networks' files.
        people: Maximum number of people that are described.
    """

    def __init__(self, networks: Path, people: int) -> None:
        blazepose = _load(networks)
        self._tracker = Tracker(blazepose.detect, blazepose.find_points, wanted=people)

    def find(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the people of the next pictures, RGB `(U, H, W, 3)`, packed: `(U, packing.WIDTH)`."""
        height, width = pictures.shape[1:3]
        tracks = self._tracker.follow(list(pictures))
        return pack(tracks, len(pictures), (width / 2, height / 2))


@cache
def _load(networks: Path) -> BlazePose:
    return BlazePose(networks, decoding_threads() or 1)
