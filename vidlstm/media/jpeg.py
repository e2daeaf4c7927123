"""Encode small JPEG pictures, for pages with embedded pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2


def encode_jpeg(frame: NDArray[np.uint8], width: int, height: int, quality: int = 70) -> bytes:
    """Return a frame as a JPEG file of the given size.

    Args:
        frame: uint8 `(H, W, 3)` RGB.
        width: Width of the JPEG, in pixels.
        height: Height of the JPEG, in pixels.
        quality: 0 to 100.
    """
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return data.tobytes()
