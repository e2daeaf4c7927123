"""The rotated square around a body, in which its key points are found.

It is rotated so that the body is upright: to the network, a person who lies or leans looks like a person who
stands (Bazarevsky et al., "BlazePose", 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2
from vidlstm.media.video.base import Image

INPUT_SIZE = 256
"""Side of the landmark network's input, in pixels."""

_MARGIN = 1.25
"""Side of the region divided by the diameter of the circle round the body."""

NUM_POINTS = 33
"""Number of key points of a body. Six more follow, which only locate the next region."""

_CENTRE, _EDGE = 33, 34


@dataclass(frozen=True)
class Region:
    """A rotated square.

    Args:
        x: x of its centre, in pixels of the picture.
        y: y of its centre, in pixels of the picture.
        side: Length of a side, in pixels.
        angle: Clockwise rotation of its upright direction, in radians.
    """

    x: float
    y: float
    side: float
    angle: float

    def distance(self, other: Region) -> float:
        """Return the distance of the centres, in sides of the smaller square."""
        return math.hypot(self.x - other.x, self.y - other.y) / max(min(self.side, other.side), 1e-6)


def region_between(middle: NDArray[np.float32], edge: NDArray[np.float32]) -> Region:
    """Return the region of a body from the middle of its hips and the top of its circle, `(2,)` each."""
    right, down = (float(v) for v in edge - middle)
    side = 2 * math.hypot(right, down) * _MARGIN
    return Region(float(middle[0]), float(middle[1]), side, math.atan2(right, -down))


def cut(picture: Image, region: Region) -> Image:
    """Cut a region out of a picture `(H, W, 3)`, made upright: uint8 `(256, 256, 3)`, black outside."""
    to_picture = _to_picture(region)
    turn = np.column_stack([to_picture.scaled, to_picture.shift])
    # WARP_INVERSE_MAP: the matrix maps pixels of the square to the picture.
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (INPUT_SIZE, INPUT_SIZE)
    return np.asarray(cv2.warpAffine(picture, turn, size, flags=how), dtype=np.uint8)


def place(points: NDArray[np.float32], region: Region) -> NDArray[np.float32]:
    """Convert points `(N, 2)` (x, y) from pixels of the square to pixels of the picture."""
    to_picture = _to_picture(region)
    placed: NDArray[np.float32] = points @ to_picture.scaled.T + to_picture.shift
    return placed.astype(np.float32)


def next_region(points: NDArray[np.float32]) -> Region:
    """Return the region for the next moment, from a body's points `(39, 2)` in the picture."""
    return region_between(points[_CENTRE], points[_EDGE])


@dataclass(frozen=True)
class _Placing:
    scaled: NDArray[np.float64]  # (2, 2)
    shift: NDArray[np.float64]  # (2,)


def _to_picture(region: Region) -> _Placing:
    cos, sin = math.cos(region.angle), math.sin(region.angle)
    scaled = np.array([[cos, -sin], [sin, cos]]) * (region.side / INPUT_SIZE)
    middle = np.array([region.x, region.y])
    return _Placing(scaled, middle - scaled @ np.full(2, INPUT_SIZE / 2))
