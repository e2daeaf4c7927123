"""The motion between two neighbouring frames: dense optical flow, summarised as a short vector.

Each sampled moment of a clip comes with a pair of small grey frames (`small_grey`), about `FLOW_SECONDS`
apart. `describe` turns pairs into descriptors; `mirror` gives those of the left-right mirrored clip.

A descriptor is a grid of histograms of flow directions (HOF: Laptev et al., "Learning realistic
human actions from movies", CVPR 2008). The flow is DIS (Kroeger et al., "Fast optical flow using
dense inverse search", ECCV 2016); camera motion is subtracted first, as in Wang and Schmid, "Action
recognition with improved trajectories", ICCV 2013.

Properties:

- Speeds are in picture sizes per second, so they do not depend on resolution or frame rate, and the
  vector does not reveal the width, height or length of a clip.
- `describe` of a mirrored clip is nearly `mirror` of the clip's own descriptors. DIS starts at the top left,
  so the two differ by a tenth (correlation 0.99). Averaging the flow of a pair and of its mirror image makes
  them equal at twice the cost, and is hardly more accurate: UT-Interaction, `crossval --folds group`, mean of
  seeds 0 to 2: 0.917 with it, 0.914 without.
- A pair without motion, a uniform pair and a cut (two frames that no motion explains) give zeros.
- The pairs of a clip do not influence one another.

Not covered: objects much smaller than 1/20 of the picture, and a camera that turns so fast that the
two frames hardly overlap. The first look like no motion, the second like a cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

CELLS = 4
"""The picture is divided into CELLS x CELLS cells."""

DIRECTIONS = 8
"""Directions in each cell: 0 is to the right, 2 down, 4 to the left, 6 up."""

WIDTH = CELLS * CELLS * DIRECTIONS
"""Length of a descriptor."""

FLOW_SECONDS = 1 / 15
"""Target time between the frames of a pair; 1/30 to 1/10 s work nearly as well."""

FLOW_SIZE = 160
"""Longest side of the frames for optical flow, in pixels; 128 to 224 work equally well."""

_SHORTEST_SIDE = 32
"""Minimum side in pixels; shorter ones are stretched. DIS matches 8x8 patches at a quarter of the size."""

_SPEED_UNIT = 0.01
"""Speed, in picture sizes per second, above which descriptors grow logarithmically: the noise of the flow."""

_CONTRAST = 24.0
"""Target standard deviation, in grey levels, when the contrast of a low-contrast pair is increased ..."""

_MAX_GAIN = 4.0
"""... by this factor at most, so that noise in a black picture does not become motion."""

_EVEN = 1.0
"""Standard deviation, in grey levels, below which a pair counts as uniform."""

_UNEXPLAINED = 0.7
"""A pair is a cut if warping one frame onto the other leaves more than this share of the contrast. Real pairs
1/15 s apart leave 0.15 and at most 0.4 (1/6 s: 0.55), frames of different clips 0.8 and more."""

_GRID = 32
"""Points along each side of the grid onto which the flow is averaged: at least as fine as DIS resolves it."""

_CAMERA_GRID = 16
"""Points along each side of the grid to which the camera motion is fitted."""

_CAMERA_ROUNDS = 5
"""Iterations of reweighting in that fit."""


def small_size(shape: Sequence[int], side: int = FLOW_SIZE) -> tuple[int, int]:
    """Return width and height of the small grey frames of a clip: longest side `side`, never enlarged.

    Args:
        shape: Height and width of its frames; further elements are ignored.
        side: In pixels.
    """
    height, width, *_ = shape
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def small_grey(image: Pixels, width: int, height: int) -> Pixels:
    """Reduce a BGR frame, uint8 `(H, W, 3)`, to a small grey one, uint8 `(height, width)`.

    It is first averaged over squares of whole pixels and then interpolated. This takes a ninth of the time of
    OpenCV's `INTER_AREA` (428x312 to 160x117: 0.035 instead of 0.30 ms).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    across, down = grey.shape[1], grey.shape[0]
    factor = min(across // width, down // height)
    if factor > 1:
        size = across // factor, down // factor
        left, top = (across - size[0] * factor) // 2, (down - size[1] * factor) // 2
        grey = grey[top : top + size[1] * factor, left : left + size[0] * factor]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def describe(pairs: Pixels, seconds: NDArray[np.float64]) -> Floats:
    """Describe the motion between the two frames of each pair.

    Args:
        pairs: uint8 `(T, 2, h, w)`, grey, the earlier frame first; for speed, the longest side should be at
            most `FLOW_SIZE`. Smaller pairs are enlarged.
        seconds: float64 `(T,)`, the time between the frames of each pair. If it is not positive (there was
            no second frame), the descriptor is zero.

    Returns:
        float32 `(T, WIDTH)`, finite, 0 or more. For each row of cells, column of cells and direction (which
        varies fastest), `log(1 + v / 0.01)`, where v is the speed in that direction, averaged over the
        cell, in picture sizes (the square root of the area) per second. Neighbouring cells and directions
        share the motion between them by linear interpolation.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    out = np.zeros((len(pairs), WIDTH), dtype=np.float32)
    places, fields, units = [], [], []
    for place, ((first, second), elapsed) in enumerate(zip(pairs, seconds, strict=True)):
        if elapsed > 0 and math.isfinite(elapsed):
            flow = _find_flow(dis, first, second)
            if flow is not None:
                height, width = flow.shape[:2]
                places.append(place)
                fields.append(cv2.resize(flow, (_GRID, _GRID), interpolation=cv2.INTER_AREA))
                units.append(elapsed * math.sqrt(height * width))
    if places:
        field = np.asarray(fields, np.float32)
        velocities = (field - _camera_fields(field)) / np.array(units, np.float32)[:, None, None, None]
        out[places] = np.log1p(_histograms(velocities) / _SPEED_UNIT)
    return out


def mirror(descriptors: Floats) -> Floats:
    """Return the descriptors of the left-right mirrored clip.

    Args:
        descriptors: `(..., WIDTH)`, from `describe`.

    Returns:
        The same shape: the columns of cells reversed, and left and right exchanged in each cell. Mirroring
        twice gives the original.
    """
    return descriptors[..., _MIRRORED]


def _mirrored_order() -> NDArray[np.intp]:
    order = np.arange(WIDTH).reshape(CELLS, CELLS, DIRECTIONS)
    turned = (DIRECTIONS // 2 - np.arange(DIRECTIONS)) % DIRECTIONS
    return order[:, ::-1][:, :, turned].ravel()


_MIRRORED = _mirrored_order()


def _find_flow(dis: cv2.DISOpticalFlow, first: Pixels, second: Pixels) -> Floats | None:
    """Return the flow of the pixels of `first`, `(h, w, 2)` in pixels (x, y); None if none or unknown."""
    if np.array_equal(first, second):
        return None
    first, second = _enlarged(first), _enlarged(second)
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(np.concatenate((first, second))))
    if deviation < _EVEN:
        return None
    # The same gain for both frames: with separate gains, a change of light would become motion.
    gain = min(max(_CONTRAST / deviation, 1.0), _MAX_GAIN)
    if gain > 1:
        first, second = _stretched(first, mean, gain), _stretched(second, mean, gain)
    # OpenCV's stubs allow None neither for the initial flow here nor for the second map of `remap`.
    flow = np.asarray(dis.calc(first, second, None), dtype=np.float32)  # type: ignore[call-overload]
    return None if _is_cut(first, second, flow) else flow


def _enlarged(frame: Pixels) -> Pixels:
    height, width = frame.shape
    scale = max(1.0, FLOW_SIZE / max(height, width))
    size = max(round(width * scale), _SHORTEST_SIDE), max(round(height * scale), _SHORTEST_SIDE)
    return frame if size == (width, height) else np.asarray(cv2.resize(frame, size), dtype=np.uint8)


def _stretched(frame: Pixels, mean: float, gain: float) -> Pixels:
    """Multiply the contrast by `gain` and shift the mean to mid-grey."""
    table = np.clip(np.rint((np.arange(256) - mean) * gain + 128), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(frame, table), dtype=np.uint8)


def _is_cut(first: Pixels, second: Pixels, flow: Floats) -> bool:
    """Tell whether the flow fails to explain how the second frame differs from the first."""
    places = _places(first.shape[0], first.shape[1]) + flow
    moved = cv2.remap(  # type: ignore[call-overload]
        second, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    level = np.full_like(first, round(cv2.mean(first)[0]))
    return cv2.norm(first, moved, cv2.NORM_L1) > _UNEXPLAINED * cv2.norm(first, level, cv2.NORM_L1)


@lru_cache(maxsize=8)
def _places(height: int, width: int) -> Floats:
    """Return x and y of each pixel, `(height, width, 2)`."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack((x, y), axis=2)


def _camera_basis(grid: int) -> NDArray[np.float64]:
    """Return x, y and 1 of each point of a grid over the picture, `(grid * grid, 3)`."""
    along = (np.arange(grid) + 0.5) / grid * 2 - 1
    x, y = np.meshgrid(along, along)
    return np.stack((x.ravel(), y.ravel(), np.ones(grid * grid)), axis=1)


_FIT_BASIS = _camera_basis(_CAMERA_GRID)
_FIELD_BASIS = _camera_basis(_GRID)


def _camera_fields(fields: Floats) -> Floats:
    """Fit the flow that a moving, turning or zooming camera causes in a still scene.

    The flow is affine, fitted by iteratively reweighted least squares (Geman and McClure), starting from
    the median. Points that do not follow the camera get little weight.

    Args:
        fields: Flow in pixels, `(N, _GRID, _GRID, 2)`.

    Returns:
        The same shape.
    """
    side = _GRID // _CAMERA_GRID
    parts = fields.reshape(len(fields), _CAMERA_GRID, side, _CAMERA_GRID, side, 2)
    points = parts.mean((2, 4), dtype=np.float64).reshape(len(fields), -1, 2)
    fit = np.zeros((len(fields), 3, 2))
    fit[:, 2] = _median(points)
    for _ in range(_CAMERA_ROUNDS):
        off = np.sum((points - _FIT_BASIS @ fit) ** 2, axis=2)
        scale = (2 * 1.4826) ** 2 * _median(off)[:, None] + 0.04  # at least 0.2 pixels, squared
        weighted = _FIT_BASIS.T * ((1 + off / scale) ** -2.0)[:, None]
        fit = np.linalg.solve(weighted @ _FIT_BASIS + 1e-6 * np.eye(3), weighted @ points)
    return (_FIELD_BASIS @ fit).astype(np.float32).reshape(fields.shape)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median along the second axis, of even length; importing numpy's takes longer than this."""
    middle = values.shape[1] // 2
    parted = np.partition(values, (middle - 1, middle), axis=1)
    return np.asarray((parted[:, middle - 1] + parted[:, middle]) / 2)


def _cell_shares() -> Floats:
    """Return the share of each grid point along a side in each cell, `(CELLS, _GRID)`."""
    place = np.clip((np.arange(_GRID) + 0.5) * CELLS / _GRID - 0.5, 0, CELLS - 1)
    shares = np.maximum(1 - np.abs(place - np.arange(CELLS)[:, None]), 0)
    return np.asarray(shares * CELLS / _GRID, dtype=np.float32)


_CELL_SHARES = _cell_shares()


def _histograms(velocities: Floats) -> Floats:
    """Average speeds by cell and direction: `(N, _GRID, _GRID, 2)` -> `(N, WIDTH)`."""
    flat = velocities.reshape(-1, _GRID, 2)
    speed, angle = cv2.cartToPolar(flat[..., 0], flat[..., 1])
    shape = (len(velocities), 1, _GRID, _GRID)
    place = angle.reshape(shape) * np.float32(DIRECTIONS / (2 * math.pi))
    # A triangular window over each direction: a velocity between two of them is shared by both.
    off = np.abs(place - np.arange(DIRECTIONS, dtype=np.float32)[:, None, None])
    parts = np.maximum(1 - np.minimum(off, DIRECTIONS - off), 0) * speed.reshape(shape)
    cells = _CELL_SHARES @ parts @ _CELL_SHARES.T
    return np.asarray(cells.transpose(0, 2, 3, 1), dtype=np.float32).reshape(len(velocities), WIDTH)
