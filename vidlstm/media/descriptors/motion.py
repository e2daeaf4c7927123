"""What moves, and which way: dense optical flow between two near frames, as a short vector.

Each sampled moment of a clip comes with a pair of small grey frames, about `FLOW_SECONDS` apart.
`describe` turns pairs into descriptors; `mirror` says what the left-right mirrored clip would have
given.

A descriptor is a grid of histograms of flow directions (HOF: Laptev et al., "Learning realistic
human actions from movies", CVPR 2008). The flow is DIS (Kroeger et al., "Fast optical flow using
dense inverse search", ECCV 2016); the movement of the camera is taken out of it first, as in Wang
and Schmid, "Action recognition with improved trajectories", ICCV 2013.

What holds:

- Speeds are in picture sizes a second, so neither resolution nor frame rate changes them, and the
  vector says nothing of the width, height or length of a clip.
- `describe` of a mirrored clip is `mirror` of its description, to rounding error: the flow of each
  pair is found both ways round and averaged, because DIS alone is not symmetric.
- A still pair, an even one and a cut (two frames that no movement explains) give zeros.
- The pairs of a clip do not influence one another.

Not covered: objects much smaller than 1/20 of the picture, and a camera that turns so fast that the
two frames hardly overlap; the first look like stillness, the second like a cut.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

CELLS = 4
"""The picture is divided into CELLS x CELLS cells."""

DIRECTIONS = 8
"""Directions in each cell: 0 is to the right, 2 down, 4 to the left, 6 up."""

WIDTH = CELLS * CELLS * DIRECTIONS
"""Length of a descriptor."""

FLOW_SECONDS = 1 / 15
"""Wanted time between the frames of a pair; anything from 1/30 to 1/10 s serves nearly as well."""

FLOW_SIZE = 160
"""Longest side, in pixels, that frames are brought to before the flow; 128 to 224 serve alike."""

_SHORTEST_SIDE = 32
"""Pictures narrower than this are widened: DIS matches patches of 8 pixels at a quarter of the size."""

_SPEED_UNIT = 0.01
"""Speed in picture sizes a second from where on a descriptor grows like a logarithm: the flow's noise."""

_CONTRAST = 24.0
"""Standard deviation, in grey levels, up to which dark and pale pairs are stretched ..."""

_MAX_GAIN = 4.0
"""... by this factor at most, so that the noise of a black picture does not become movement."""

_EVEN = 1.0
"""Standard deviation, in grey levels, below which there is nothing to see."""

_UNEXPLAINED = 0.7
"""A pair is a cut if moving one frame onto the other leaves this share of its contrast. Real pairs
1/15 s apart leave 0.15 and at most 0.4 (1/6 s: 0.55), frames of different clips 0.8 and more."""

_GRID = 32
"""The flow is averaged onto this many points along each side: as fine as DIS finds it, or finer."""

_CAMERA_ROUNDS = 5
"""Rounds of reweighting in that fit."""


def describe(pairs: Pixels, seconds: NDArray[np.float64]) -> Floats:
    """Describe what moves between the two frames of each pair.

    Args:
        pairs: uint8 `(T, 2, h, w)`, grey, the earlier frame first; longest side at most `FLOW_SIZE` for
            speed, smaller pairs are enlarged.
        seconds: float64 `(T,)`, the time between the frames of each pair. Where it is not above 0 (there
            was no second frame), the descriptor is zero.

    Returns:
        float32 `(T, WIDTH)`, finite, 0 or more. For row of cells, column of cells and direction (which
        varies fastest) it holds `log(1 + v / 0.01)`, where v is the speed that way, averaged over the
        cell, in picture sizes (the square root of the area) a second. Both cells and directions share
        what lies between them.
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
        for place, velocity in zip(places, velocities, strict=True):
            out[place] = np.log1p(_histograms(velocity).ravel() / _SPEED_UNIT)
    return out


def mirror(descriptors: Floats) -> Floats:
    """Give the descriptors of the left-right mirrored clip.

    Args:
        descriptors: `(..., WIDTH)`, from `describe`.

    Returns:
        The same shape: the columns of cells in reverse, and left and right exchanged in each. Applied
        twice it gives the original.
    """
    return descriptors[..., _MIRRORED]


def _mirrored_order() -> NDArray[np.intp]:
    order = np.arange(WIDTH).reshape(CELLS, CELLS, DIRECTIONS)
    turned = (DIRECTIONS // 2 - np.arange(DIRECTIONS)) % DIRECTIONS
    return order[:, ::-1][:, :, turned].ravel()


_MIRRORED = _mirrored_order()


def _find_flow(dis: cv2.DISOpticalFlow, first: Pixels, second: Pixels) -> Floats | None:
    """Return where pixels of `first` go, `(h, w, 2)` in pixels, x before y; None if still or unknown."""
    if np.array_equal(first, second):
        return None
    first, second = _enlarged(first), _enlarged(second)
    mean, deviation = float(np.mean((first, second))), float(np.std((first, second)))
    if deviation < _EVEN:
        return None
    # One stretch for both frames: each by itself, a change of light would become movement.
    gain = min(max(_CONTRAST / deviation, 1.0), _MAX_GAIN)
    if gain > 1:
        first, second = _stretched(first, mean, gain), _stretched(second, mean, gain)
    flow = _run(dis, first, second)
    turned = _run(dis, _flipped(first), _flipped(second))[:, ::-1]
    flow = (flow + turned * np.array((-1, 1), dtype=np.float32)) / np.float32(2)
    return None if _is_cut(first, second, flow) else flow


def _run(dis: cv2.DISOpticalFlow, first: Pixels, second: Pixels) -> Floats:
    no_guess = np.zeros((*first.shape, 2), dtype=np.float32)
    return np.asarray(dis.calc(first, second, no_guess), dtype=np.float32)


def _flipped(frame: Pixels) -> Pixels:
    return np.ascontiguousarray(frame[:, ::-1])


def _enlarged(frame: Pixels) -> Pixels:
    height, width = frame.shape
    scale = max(1.0, FLOW_SIZE / max(height, width))
    size = max(round(width * scale), _SHORTEST_SIDE), max(round(height * scale), _SHORTEST_SIDE)
    return frame if size == (width, height) else np.asarray(cv2.resize(frame, size), dtype=np.uint8)


def _stretched(frame: Pixels, mean: float, gain: float) -> Pixels:
    """Multiply the contrast and put the mean at mid-grey."""
    table = np.clip(np.rint((np.arange(256) - mean) * gain + 128), 0, 255).astype(np.uint8)
    return np.asarray(table[frame])


def _is_cut(first: Pixels, second: Pixels, flow: Floats) -> bool:
    """Say whether the flow fails to make the second frame out of the first."""
    height, width = first.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        second, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    left = float(np.mean(cv2.absdiff(first, np.asarray(moved, dtype=np.uint8))))
    contrast = float(np.mean(np.abs(first - np.mean(first))))
    return left > _UNEXPLAINED * contrast


def _camera_basis() -> NDArray[np.float64]:
    along = (np.arange(_GRID) + 0.5) / _GRID * 2 - 1
    x, y = np.meshgrid(along, along)
    return np.stack((x.ravel(), y.ravel(), np.ones(_GRID * _GRID)), axis=1)


_CAMERA_BASIS = _camera_basis()


def _camera_fields(fields: Floats) -> Floats:
    """Fit to each field what a moving, turning or zooming camera would make of a still scene.

    An affine field, by least squares reweighted against what does not follow it (Geman and McClure),
    begun at the median.

    Args:
        fields: Flow in pixels, `(N, _GRID, _GRID, 2)`.

    Returns:
        The same shape.
    """
    points = fields.reshape(len(fields), -1, 2).astype(np.float64)
    fit = np.zeros((len(fields), 3, 2))
    fit[:, 2] = _median(points)
    for _ in range(_CAMERA_ROUNDS):
        off = np.sum((points - _CAMERA_BASIS @ fit) ** 2, axis=2)
        scale = (2 * 1.4826) ** 2 * _median(off)[:, None] + 0.04  # at least 0.2 pixels, squared
        weighted = _CAMERA_BASIS.T * ((1 + off / scale) ** -2.0)[:, None]
        fit = np.linalg.solve(weighted @ _CAMERA_BASIS + 1e-6 * np.eye(3), weighted @ points)
    return (_CAMERA_BASIS @ fit).astype(np.float32).reshape(fields.shape)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median along the second axis, of even length; numpy's own imports more than it computes."""
    middle = values.shape[1] // 2
    parted = np.partition(values, (middle - 1, middle), axis=1)
    return np.asarray((parted[:, middle - 1] + parted[:, middle]) / 2)


def _cell_shares() -> Floats:
    """Return how much of each grid point along a side goes to each cell, `(CELLS, _GRID)`."""
    place = np.clip((np.arange(_GRID) + 0.5) * CELLS / _GRID - 0.5, 0, CELLS - 1)
    shares = np.maximum(1 - np.abs(place - np.arange(CELLS)[:, None]), 0)
    return np.asarray(shares * CELLS / _GRID, dtype=np.float32)


_CELL_SHARES = _cell_shares()


def _histograms(velocity: Floats) -> Floats:
    """Average speeds by cell and direction: `(_GRID, _GRID, 2)` -> `(CELLS, CELLS, DIRECTIONS)`."""
    speed, angle = cv2.cartToPolar(velocity[..., 0], velocity[..., 1])
    place = angle * np.float32(DIRECTIONS / (2 * math.pi))
    # A triangle over each direction: what lies between two is shared by both.
    off = np.abs(place - np.arange(DIRECTIONS, dtype=np.float32)[:, None, None])
    parts = np.maximum(1 - np.minimum(off, DIRECTIONS - off), 0) * speed
    return np.asarray((_CELL_SHARES @ parts @ _CELL_SHARES.T).transpose(1, 2, 0), dtype=np.float32)
