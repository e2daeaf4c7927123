"""What is drawn of people is where they are, in a colour of each place."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.people.drawing import _COLOURS, _UNSURE, draw_people

PICTURE = np.zeros((180, 200, 3), np.uint8)


def person(left: float, confidence: float = 1.0) -> NDArray[np.float32]:
    """Return a person who stands between y = 20 and 160."""
    heights = np.array([20, 40, 40, 70, 70, 90, 90, 100, 100, 130, 130, 160, 160])
    sides = np.array([10, 0, 20, 0, 20, 0, 20, 0, 20, 0, 20, 0, 20]) + left
    return np.stack([sides, heights, np.full(13, confidence)], axis=1).astype(np.float32)


def colours(image: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0).tolist()} - {(0, 0, 0)}


def test_each_place_has_a_colour_where_the_person_is() -> None:
    drawn = draw_people(PICTURE, np.stack([person(20), person(120)]))
    assert colours(drawn) == set(_COLOURS[:2])
    for colour, left in zip(_COLOURS, (20, 120), strict=False):
        rows, columns = np.nonzero((drawn == colour).all(-1))
        assert (rows.min(), rows.max()) == pytest.approx((14, 160), abs=3)
        assert (columns.min(), columns.max()) == pytest.approx((left, left + 20), abs=3)
    assert not PICTURE.any(), "the given picture is left alone"


def test_who_is_not_seen_is_not_drawn() -> None:
    assert not draw_people(PICTURE, np.full((2, 13, 3), np.nan, np.float32)).any()
    missing = np.stack([np.full((13, 3), np.nan, np.float32), person(120)])
    assert colours(draw_people(PICTURE, missing)) == {_COLOURS[1]}


def test_guessed_limbs_are_grey() -> None:
    unsure = person(20)
    unsure[[9, 10, 11, 12], 2] = 0.2
    drawn = draw_people(PICTURE, unsure[None])
    assert colours(drawn) == {_COLOURS[0], _UNSURE}
    assert colours(drawn[110:]) == {_UNSURE}
    assert colours(drawn[:95]) == {_COLOURS[0]}


def test_points_outside_the_picture_do_no_harm() -> None:
    draw_people(PICTURE, person(-500)[None])
    draw_people(PICTURE[:1, :1], person(0)[None])
