"""Store the people at each moment of a film as one row of numbers.

A descriptor of the `pose` stream depends on the whole clip: on its middle, on the people's trunk length and
on their order from left to right. So a film's key points are stored, and described when a part is cut out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.people.regions import NUM_POINTS

MOST = 4
"""Maximum number of people kept per moment: the largest with the highest confidence."""

_PERSON = 1 + 3 * NUM_POINTS  # number, then x, y and confidence of every point
WIDTH = MOST * _PERSON
_NUMBERS = 2000  # float16 holds integers up to 2048; 0 stands for nobody

Floats = NDArray[np.float32]


def pack(tracks: Mapping[int, Mapping[int, Floats]], num_moments: int, middle: tuple[float, float]) -> Floats:
    """Pack people into rows.

    Args:
        tracks: For each person, by number and by moment, key points `(33, 3)`: x, y and confidence.
        num_moments: U.
        middle: x and y of the middle of the pictures. Points are stored relative to it, because features are
            float16, which is most precise around 0: a quarter of a pixel in pictures of 640 pixels.

    Returns:
        float32 `(U, WIDTH)`, finite.
    """
    rows = np.zeros((num_moments, MOST, _PERSON), np.float32)
    for moment, row in enumerate(rows):
        seen = [(number, track[moment]) for number, track in tracks.items() if moment in track]
        seen.sort(key=lambda one: -float(np.ptp(one[1][:, 1]) * one[1][:, 2].mean()))
        for place, (number, points) in zip(row, seen, strict=False):
            place[0] = 1 + number % _NUMBERS
            place[1:] = (points - (*middle, 0)).ravel()
    return rows.reshape(num_moments, WIDTH)


def unpack(rows: NDArray[Any]) -> list[dict[int, Floats]]:
    """Return the people in consecutive rows `(U, WIDTH)`: for each person, key points `(33, 3)` by row."""
    tracks: dict[int, dict[int, Floats]] = {}
    places = rows.reshape(len(rows), MOST, _PERSON).astype(np.float32)
    for moment, place in zip(*np.nonzero(places[..., 0]), strict=True):
        number, points = int(places[moment, place, 0]), places[moment, place, 1:]
        tracks.setdefault(number, {})[int(moment)] = points.reshape(NUM_POINTS, 3)
    return list(tracks.values())
