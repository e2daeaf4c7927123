"""Resize frames for encoders and descriptors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2


def square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize a BGR frame, `(H, W, 3)`, to an RGB square, `(size, size, 3)`, ignoring its proportions."""
    # Reordering the channels of the small picture is cheaper.
    return np.asarray(cv2.cvtColor(resize(image, size, size), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def whole(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrink a BGR frame to an RGB picture with a longest side of at most `side`, keeping its proportions."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    small = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize a picture; when it shrinks, average areas to avoid aliasing."""
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)
