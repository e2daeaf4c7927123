"""The turned square round a body, in which its key points are found.

Turned so that the body stands upright in it: a person who lies or leans looks to the network like one
who stands (Bazarevsky et al., "BlazePose", 2020).
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
"""Side of the region over the diameter of the circle round the body."""

NUM_POINTS = 33
"""Key points of a body; behind them stand six that only place the next region."""

_CENTRE, _EDGE = 33, 34


@dataclass(frozen=True)
class Region:
    """A turned square.

    Args:
        x: Of its middle, in pixels of the picture.
        y: Of its middle.
        side: In pixels.
        angle: That its upright direction is turned by, clockwise as one sees it, in radians.
    """

    x: float
    y: float
    side: float
    angle: float

    def distance(self, other: Region) -> float:
        """Return how far apart the middles are, in sides of the smaller square."""
        return math.hypot(self.x - other.x, self.y - other.y) / max(min(self.side, other.side), 1e-6)


def region_between(middle: NDArray[np.float32], edge: NDArray[np.float32]) -> Region:
    """Return the region of a body by the middle of its hips and the top of its circle, `(2,)` each."""
    right, down = (float(v) for v in edge - middle)
    side = 2 * math.hypot(right, down) * _MARGIN
    return Region(float(middle[0]), float(middle[1]), side, math.atan2(right, -down))


def cut(picture: Image, region: Region) -> Image:
    """Cut a region out of a picture `(H, W, 3)`, upright: uint8 `(256, 256, 3)`, black outside."""
    to_picture = _to_picture(region)
    turn = np.column_stack([to_picture.scaled, to_picture.shift])
    # Each pixel of the square is fetched from where it lies in the picture.
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (INPUT_SIZE, INPUT_SIZE)
    return np.asarray(cv2.warpAffine(picture, turn, size, flags=how), dtype=np.uint8)


def place(points: NDArray[np.float32], region: Region) -> NDArray[np.float32]:
    """Bring points `(N, 2)` (x, y) from the pixels of the square to those of the picture."""
    to_picture = _to_picture(region)
    placed: NDArray[np.float32] = points @ to_picture.scaled.T + to_picture.shift
    return placed.astype(np.float32)


def next_region(points: NDArray[np.float32]) -> Region:
    """Return where a body is looked for at the next moment, by its 39 points `(39, 2)` in the picture."""
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
