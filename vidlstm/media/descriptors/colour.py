"""The colours of a picture or a clip: one soft histogram in CIE L*a*b*.

Not covered: where in the picture the colours are; the CNN covers that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.image import shrink
from vidlstm.media.opencv import cv2

BINS = 4
"""Bins along each of lightness, green-red and blue-yellow."""
WIDTH = BINS**3
LOWEST = np.array([0.0, -60.0, -60.0], np.float32)
HIGHEST = np.array([100.0, 60.0, 60.0], np.float32)
"""Range of L*, a*, b* spanned by the bin centres; colours beyond it (few in sRGB) count in the edge bins."""
SIDE = 128
"""Longer side of the shrunk frames, in pixels; a histogram needs no more."""


def describe(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Summarise the colours of a picture or a clip.

    A joint histogram of colour (Swain & Ballard, "Color Indexing", IJCV 1991) in the perceptually
    uniform CIE 1976 L*a*b* space. Each pixel is shared among the 8 nearest bins (trilinear
    interpolation), so that a slight change of light changes the histogram only slightly. The values are
    square roots of the shares, so the Euclidean distance of two histograms is their Hellinger distance
    (Arandjelović & Zisserman, CVPR 2012).

    Args:
        frames: `uint8 (T, H, W, 3)` RGB, at least one; T = 1 for a picture.

    Returns:
        `float32 (WIDTH,)`: the mean over frames, each value 0 to 1, L* slowest and b* fastest.
    """
    summary: NDArray[np.float32] = np.mean(
        [_histogram(shrink(frame, SIDE)) for frame in frames], axis=0, dtype=np.float32
    )
    return summary


def _histogram(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    place = np.clip((lab - LOWEST) / (HIGHEST - LOWEST), 0, 1) * (BINS - 1)
    lower = np.minimum(place.astype(np.int64), BINS - 2)
    share = place - lower
    histogram = np.zeros(WIDTH)
    for corner in np.ndindex(2, 2, 2):
        index = (lower + corner) @ (BINS * BINS, BINS, 1)
        weight = np.where(corner, share, 1 - share).prod(axis=1)
        histogram += np.bincount(index, weight, minlength=WIDTH)
    return np.sqrt(histogram / len(lab)).astype(np.float32)
