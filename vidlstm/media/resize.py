"""Resize frames for encoders and descriptors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2

_MAX_IN_FLOAT = 960 * 540 * 3


def square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a BGR frame, `(H, W, 3)`, to an RGB square, `(size, size, 3)`, ignoring its proportions."""
    # Reordering the channels of the small picture is cheaper.
    return np.asarray(cv2.cvtColor(resize(image, size, size), cv2.COLOR_BGR2RGB), dtype=np.uint8)


class WholePictures:
    """Shrinks the BGR frames of a clip to RGB pictures, `(H, W, 3)`, all of one size.

    The first frame gives the size, and keeps its proportions. Later ones may differ in a recording of a
    television channel, or in joined transport streams.

    Args:
        side: Longest side of the pictures, in pixels; frames are never enlarged to it.
    """

    def __init__(self, side: int) -> None:
        self._side = side
        self._size: tuple[int, int] | None = None

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture of the next frame."""
        if self._size is None:
            height, width = image.shape[:2]
            scale = min(1.0, self._side / max(height, width))
            self._size = max(1, round(width * scale)), max(1, round(height * scale))
        return np.asarray(cv2.cvtColor(resize(image, *self._size), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize a picture; when it shrinks, average areas to avoid aliasing."""
    if width > image.shape[1] or height > image.shape[0]:
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return _average(image, width, height)


def _average(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Average areas with OpenCV's `INTER_AREA`, in float32 where that is faster.

    The result is the same to the bit. In float32 it takes a quarter less time (428x312 to 224x224: 0.55
    instead of 0.75 ms), but more for large pictures, which do not fit into the cache, and for whole factors,
    for which OpenCV has a faster way that rounds differently.
    """
    whole_factors = image.shape[1] % width == 0 and image.shape[0] % height == 0
    if whole_factors or image.size > _MAX_IN_FLOAT:
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    small = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(small), dtype=np.uint8)  # rounds; no value is negative
