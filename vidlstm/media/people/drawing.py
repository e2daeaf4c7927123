"""Draw the people that the `pose` stream describes into a picture: what the model saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from vidlstm.media.video.base import Image

_COLOURS = ((255, 150, 0), (0, 205, 255), (255, 90, 220), (150, 255, 60))
"""Of the places, from left to right."""
_UNSURE, _MIN_CONFIDENCE = (150, 150, 150), 0.5
_LIMBS = (
    *((1, 2), (7, 8)),  # shoulders, hips
    *((1, 3), (3, 5), (2, 4), (4, 6)),  # arms
    *((1, 7), (2, 8)),  # trunk
    *((7, 9), (9, 11), (8, 10), (10, 12)),  # legs
)
_THICKNESS = 1 / 45  # share of the height


def draw_people(image: Image, people: NDArray[np.float32]) -> Image:
    """Return an RGB picture with the people drawn in.

    Each place has its own colour. Limbs that the network is not sure of are grey; it has only guessed where
    they are, and the model reads its guess.

    Args:
        image: uint8 RGB `(H, W, 3)`; not changed.
        people: Key points of one moment, float32 `(N, 13, 3)`, see `vidlstm.media.descriptors.pose.slots`.
    """
    picture = Picture.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    thickness = max(1, round(_THICKNESS * picture.size[1]))
    for place, points in enumerate(people):
        if np.isfinite(points).all():
            _draw_person(canvas, points, _COLOURS[place % len(_COLOURS)], thickness)
    return np.asarray(picture)


def _draw_person(
    canvas: ImageDraw.ImageDraw, points: NDArray[np.float32], colour: tuple[int, int, int], thickness: int
) -> None:
    sure = points[:, 2] >= _MIN_CONFIDENCE
    for one, other in _LIMBS:
        ends = [(float(points[end, 0]), float(points[end, 1])) for end in (one, other)]
        canvas.line(ends, fill=colour if sure[one] and sure[other] else _UNSURE, width=thickness)
    x, y = map(float, points[0, :2])  # the nose
    radius = 1.5 * thickness
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour if sure[0] else _UNSURE)
