"""Draw the people that the `pose` stream describes into pictures, to show what the model saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from vidlstm.media.descriptors.pose import JOINTS
from vidlstm.media.people.packing import MOST, WIDTH, unpack
from vidlstm.media.video.base import Image

Floats = NDArray[np.float32]

_COLOURS = ((255, 150, 0), (0, 205, 255), (255, 90, 220), (150, 255, 60))
_UNSURE, _MIN_CONFIDENCE = (150, 150, 150), 0.5
_LIMBS = (
    *((1, 2), (7, 8)),  # shoulders, hips
    *((1, 3), (3, 5), (2, 4), (4, 6)),  # arms
    *((1, 7), (2, 8)),  # trunk
    *((7, 9), (9, 11), (8, 10), (10, 12)),  # legs
)
_THICKNESS = 1 / 45  # share of the height


def draw_people(image: Image, people: Mapping[int, Floats]) -> Image:
    """Return an RGB picture with people drawn in, each in a different colour.

    Limbs with low confidence are grey: the network has guessed their position, and the model reads the guess.

    Args:
        image: uint8 RGB `(H, W, 3)`; not changed.
        people: Key points `(13, 3)` by number, which determines the colour; see
            `vidlstm.media.descriptors.pose.slots`.
    """
    picture = Picture.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    thickness = max(1, round(_THICKNESS * picture.size[1]))
    for number, points in people.items():
        _draw_person(canvas, points, _COLOURS[number % len(_COLOURS)], thickness)
    return np.asarray(picture)


@dataclass(frozen=True)
class FilmDrawing:
    """Draws the people of a film into its frames.

    Args:
        rows: The people at each moment, `(U, WIDTH)`, see `vidlstm.media.people.packing`.
        rate: Moments per second.
        people: Maximum number of people to draw: the largest with the highest confidence.
        side: Longest side of the pictures in which they were found, in pixels; smaller films were not
            enlarged.
    """

    rows: NDArray[np.float16]
    rate: float
    people: int
    side: int

    def __call__(self, image: Image, seconds: float) -> Image:
        """Return the RGB frame `(H, W, 3)` shown at a time, with the people of the latest moment."""
        height, width = image.shape[:2]
        scale = max(1.0, max(height, width) / self.side)
        moment = int(seconds * self.rate + 1e-3)  # times in files are rounded
        middle = np.array([width / 2, height / 2, 0])
        seen = self._moments.get(moment, {})
        return draw_people(
            image, {colour: points * (scale, scale, 1) + middle for colour, points in seen.items()}
        )

    @cached_property
    def _moments(self) -> dict[int, dict[int, Floats]]:
        """Key points by moment and colour, relative to the middle; people seen together differ in colour."""
        drawn = self.rows.reshape(len(self.rows), MOST, -1).copy()
        drawn[:, self.people :] = 0
        last_seen = [-1] * len(_COLOURS)
        moments: dict[int, dict[int, Floats]] = {}
        for body in sorted(unpack(drawn.reshape(-1, WIDTH)), key=min):
            free = (number for number, moment in enumerate(last_seen) if moment < min(body))
            colour = next(free, int(np.argmin(last_seen)))
            last_seen[colour] = max(body)
            for moment, points in body.items():
                moments.setdefault(moment, {})[colour] = points[list(JOINTS)]
        return moments


def _draw_person(
    canvas: ImageDraw.ImageDraw, points: Floats, colour: tuple[int, int, int], thickness: int
) -> None:
    sure = points[:, 2] >= _MIN_CONFIDENCE
    for one, other in _LIMBS:
        ends = [(float(points[end, 0]), float(points[end, 1])) for end in (one, other)]
        canvas.line(ends, fill=colour if sure[one] and sure[other] else _UNSURE, width=thickness)
    x, y = map(float, points[0, :2])  # the nose
    radius = 1.5 * thickness
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour if sure[0] else _UNSURE)
