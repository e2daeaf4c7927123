"""The textures of a picture or a clip: histograms of local binary patterns at three radii.

A picture and its mirror image have the same descriptor. It is not invariant to rotation: orientation
distinguishes grass from a fence, and on small real pictures the upright patterns classified far better than
the rotation-invariant ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.image import shrink
from vidlstm.media.opencv import cv2

RADII = (1, 2, 3)
"""Distances of a pixel's neighbours, in pixels."""
NEIGHBOURS = 8
NUM_PATTERNS = 35
"""34 bins for the 58 uniform patterns, where mirror images share a bin, and one bin for all others."""
WIDTH = len(RADII) * NUM_PATTERNS
SIDE = 256
"""Longer side of the shrunk frames, in pixels, so that a radius means the same in all of them."""


def describe(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Summarise the textures of a picture or a clip.

    Local binary patterns: an 8-bit code tells which of 8 neighbours on a circle are at least as bright as
    the pixel, and a texture is the histogram of the codes. Each code with at most two changes between 0 and
    1 along the circle ("uniform") has its own bin (Ojala, Pietikäinen & Mäenpää, "Multiresolution
    Gray-Scale and Rotation Invariant Texture Classification with Local Binary Patterns", PAMI 2002), which
    it shares with its mirror image. The values are square roots of the shares, as for colour.

    Args:
        frames: `uint8 (T, H, W, 3)` RGB, at least one; T = 1 for a picture.

    Returns:
        `float32 (WIDTH,)`: the mean over frames, each value 0 to 1, radius by radius.
    """
    summary: NDArray[np.float32] = np.mean(
        [_histograms(shrink(frame, SIDE)) for frame in frames], axis=0, dtype=np.float32
    )
    return summary


def pattern_codes(grey: NDArray[np.float32], radius: int) -> NDArray[np.uint8]:
    """Return the 8-bit local binary pattern of each pixel.

    Args:
        grey: `float32 (H, W)`, 0 to 255; mirrored beyond its borders.
        radius: Radius of the circle, in pixels.

    Returns:
        `uint8 (H, W)`: bit k is the neighbour at k eighths of a turn, anticlockwise from the right.
    """
    codes = np.zeros(grey.shape, np.uint8)
    for bit in range(NEIGHBOURS):
        kernel = _neighbour_kernel(radius, 2 * math.pi * bit / NEIGHBOURS)
        neighbour = cv2.filter2D(grey, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
        # On a uniform surface, rounding in the interpolation must not decide.
        codes |= (neighbour >= grey - 1e-3).astype(np.uint8) << bit
    return codes


def _histograms(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    patterns = (_PATTERN_OF_CODE[pattern_codes(grey, radius)].ravel() for radius in RADII)
    counts = [np.bincount(pattern, minlength=NUM_PATTERNS) for pattern in patterns]
    return np.sqrt(np.concatenate(counts) / grey.size).astype(np.float32)


def _neighbour_kernel(radius: int, angle: float) -> NDArray[np.float32]:
    """Build the filter that interpolates, bilinearly, the point at `radius` and `angle` from each pixel."""
    y, x = (radius - radius * math.sin(angle), radius + radius * math.cos(angle))
    grid = np.arange(2 * radius + 1)
    return np.outer(np.maximum(0, 1 - abs(grid - y)), np.maximum(0, 1 - abs(grid - x))).astype(np.float32)


def _pattern_table() -> NDArray[np.int64]:
    """Number the uniform codes, with one number for a code and its mirror image; the others come last."""
    codes = np.arange(2**NEIGHBOURS)
    bits = codes[:, None] >> np.arange(NEIGHBOURS) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    # Left and right change places: the neighbour at k eighths of a turn is then at 4 - k.
    mirrored = bits[:, (NEIGHBOURS // 2 - np.arange(NEIGHBOURS)) % NEIGHBOURS] @ (1 << np.arange(NEIGHBOURS))
    table = np.full(codes.shape, NUM_PATTERNS - 1)
    table[uniform] = np.unique(np.minimum(codes, mirrored)[uniform], return_inverse=True)[1]
    return table


_PATTERN_OF_CODE = _pattern_table()
