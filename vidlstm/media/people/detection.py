"""Find people in one picture: decode the output of BlazePose's detector.

The detector is a single-shot detector (SSD: Liu et al., ECCV 2016). Its boxes enclose the head. Two
alignment points give the pose of the body: the middle of the hips, and a point on the circle round the
whole body (Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020). Overlapping boxes
are averaged, weighted by score, instead of suppressed (Bazarevsky et al., "BlazeFace", 2019), which reduces
jitter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2
from vidlstm.media.people.regions import Region, region_between
from vidlstm.media.video.base import Image

INPUT_SIZE = 224
"""Side of the detector's input, in pixels."""

_STRIDES = (8, 16, 32, 32, 32)
"""Stride of each output layer, in pixels; a layer has two anchors at the centre of every cell."""

_MIN_SCORE = 0.1
"""Low, because the landmark network rejects false detections. On UT-Interaction's darker clips a threshold of
0.5 found 1.35 of 2 people, 0.1 found 1.59, both without false ones."""

_MAX_OVERLAP = 0.3
"""Intersection over union above which two boxes are of the same person."""


@dataclass(frozen=True)
class Detection:
    """A detected person.

    Args:
        box: Box of the head, float32 `(4,)`: left, top, right, bottom, in pixels of the picture.
        region: Region of the whole body, for the landmark network.
        score: 0 to 1.
    """

    box: NDArray[np.float32]
    region: Region
    score: float


def letterbox(picture: Image) -> tuple[Image, float, NDArray[np.float32]]:
    """Fit a whole picture `(H, W, 3)` into the detector's square input, keeping its proportions.

    Returns:
        The square, uint8 `(224, 224, 3)`, black outside the picture; and the scale and the shift `(2,)`
        (x, y) that were applied.
    """
    height, width = picture.shape[:2]
    scale = INPUT_SIZE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    left, top = (INPUT_SIZE - size[0]) // 2, (INPUT_SIZE - size[1]) // 2
    square = np.zeros((INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    square[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=how)
    return square, scale, np.array([left, top], np.float32)


def decode(
    outputs: NDArray[np.float32], logits: NDArray[np.float32], scale: float, shift: NDArray[np.float32]
) -> list[Detection]:
    """Decode the detector's output for one `letterbox` into people, by descending score.

    Args:
        outputs: For each anchor a box (centre, size) and four points (x, y), `(2254, 12)`, in pixels of the
            square relative to the anchor.
        logits: Logit of a person at each anchor, `(2254,)`.
        scale: Scale of the `letterbox`.
        shift: Shift of the `letterbox`, `(2,)`.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
    there = np.flatnonzero(scores > _MIN_SCORE)
    anchors = _ANCHORS[there] * INPUT_SIZE
    points = outputs[there].reshape(-1, 6, 2).copy()
    points[:, 0] += anchors
    points[:, 2:] += anchors[:, None]
    half = points[:, 1] / 2
    corners = np.stack([points[:, 0] - half, points[:, 0] + half], axis=1)
    places = ((np.concatenate([corners, points[:, 2:4]], axis=1) - shift) / scale).astype(np.float32)
    people = []
    for merged, score in _merge(places, scores[there].astype(np.float32)):
        region = region_between(merged[2], merged[3])
        people.append(Detection(merged[:2].ravel().astype(np.float32), region, score))
    return people


def _merge(
    places: NDArray[np.float32], scores: NDArray[np.float32]
) -> list[tuple[NDArray[np.float32], float]]:
    """Average, weighted by score, all boxes that overlap the best one; then repeat with the rest."""
    merged = []
    order = np.argsort(-scores, kind="stable")
    places, scores = places[order], scores[order]
    while len(places):
        same = _overlaps(places[:, :2]) > _MAX_OVERLAP
        same[0] = True
        weights = scores[same, None, None]
        merged.append(((places[same] * weights).sum(0) / weights.sum(), float(scores[0])))
        places, scores = places[~same], scores[~same]
    return merged


def _overlaps(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union of boxes `(N, 2, 2)` with the first of them, `(N,)`."""
    inner = np.minimum(corners[:, 1], corners[0, 1]) - np.maximum(corners[:, 0], corners[0, 0])
    common = np.clip(inner, 0, None).prod(-1)
    areas = np.clip(corners[:, 1] - corners[:, 0], 0, None).prod(-1)
    overlaps: NDArray[np.float32] = common / np.maximum(areas + areas[0] - common, 1e-9)
    return overlaps


def _anchors() -> NDArray[np.float32]:
    """Return the anchor positions in the order of the outputs, `(2254, 2)` (x, y), 0 to 1."""
    places = []
    for stride in sorted(set(_STRIDES)):
        cells = INPUT_SIZE // stride
        rows, columns = np.mgrid[:cells, :cells].reshape(2, -1)
        middle = (np.stack([columns, rows], axis=1) + 0.5) / cells
        places.append(np.repeat(middle, 2 * _STRIDES.count(stride), axis=0))
    return np.concatenate(places).astype(np.float32)


_ANCHORS = _anchors()
