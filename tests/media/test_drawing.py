"""People are drawn where they are, each in the colour of the person's slot."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.descriptors.pose import JOINTS
from vidlstm.media.people.drawing import _COLOURS, _UNSURE, FilmDrawing, draw_people
from vidlstm.media.people.packing import pack

PICTURE = np.zeros((180, 200, 3), np.uint8)


def person(left: float, confidence: float = 1.0) -> NDArray[np.float32]:
    """Return the key points of a person who stands between y = 20 and 160."""
    heights = np.array([20, 40, 40, 70, 70, 90, 90, 100, 100, 130, 130, 160, 160])
    sides = np.array([10, 0, 20, 0, 20, 0, 20, 0, 20, 0, 20, 0, 20]) + left
    return np.stack([sides, heights, np.full(13, confidence)], axis=1).astype(np.float32)


def colours(image: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0).tolist()} - {(0, 0, 0)}


def test_each_slot_has_a_colour_at_the_person_s_position() -> None:
    drawn = draw_people(PICTURE, {0: person(20), 1: person(120)})
    assert colours(drawn) == set(_COLOURS[:2])
    for colour, left in zip(_COLOURS, (20, 120), strict=False):
        rows, columns = np.nonzero((drawn == colour).all(-1))
        assert (rows.min(), rows.max()) == pytest.approx((14, 160), abs=3)
        assert (columns.min(), columns.max()) == pytest.approx((left, left + 20), abs=3)
    assert not PICTURE.any(), "the given picture is left alone"


def test_nothing_is_drawn_without_people() -> None:
    assert not draw_people(PICTURE, {}).any()
    assert colours(draw_people(PICTURE, {1: person(120)})) == {_COLOURS[1]}


def test_guessed_limbs_are_grey() -> None:
    unsure = person(20)
    unsure[[9, 10, 11, 12], 2] = 0.2
    drawn = draw_people(PICTURE, {0: unsure})
    assert colours(drawn) == {_COLOURS[0], _UNSURE}
    assert colours(drawn[110:]) == {_UNSURE}
    assert colours(drawn[:95]) == {_COLOURS[0]}


def test_points_outside_the_picture_do_no_harm() -> None:
    draw_people(PICTURE, {0: person(-500)})
    draw_people(PICTURE[:1, :1], {0: person(0)})


def body(left: float) -> NDArray[np.float32]:
    """Return all 33 key points of such a person."""
    points = np.zeros((33, 3), np.float32)
    points[list(JOINTS)] = person(left)
    return points


def drawing(
    tracks: dict[int, dict[int, NDArray[np.float32]]], num_moments: int, people: int = 2
) -> FilmDrawing:
    """Return the drawing of a film of 200x180 pixels with 10 moments per second, detected at full size."""
    rows = pack(tracks, num_moments, (100, 90)).astype(np.float16)
    return FilmDrawing(rows, rate=10, people=people, side=200)


class TestFilm:
    def test_each_frame_shows_the_people_of_the_latest_moment(self) -> None:
        draw = drawing({7: {2: body(20), 3: body(120)}}, 5)
        for seconds, left in (
            (0.0, None),
            (0.19, None),
            (0.2, 20),
            (0.29, 20),
            (0.3, 120),
            (0.45, None),
            (9, None),
        ):
            columns = np.nonzero(draw(PICTURE, seconds).any((0, 2)))[0]
            if left is None:
                assert not len(columns)
            else:
                assert (columns.min(), columns.max()) == pytest.approx((left, left + 20), abs=3)

    def test_people_are_found_again_in_larger_pictures(self) -> None:
        draw = drawing({0: {0: body(120)}}, 1)
        rows, columns = np.nonzero(draw(np.zeros((540, 600, 3), np.uint8), 0).any(2))
        assert (rows.min(), rows.max()) == pytest.approx((3 * 20 - 18, 3 * 160), abs=9)
        assert (columns.min(), columns.max()) == pytest.approx((3 * 120, 3 * 140), abs=9)

    def test_people_seen_together_have_different_colours(self) -> None:
        long, short = dict.fromkeys(range(6), body(20)), dict.fromkeys(range(2), body(120))
        later = dict.fromkeys(range(3, 6), body(120))
        draw = drawing({4: long, 8: short, 12: later}, 6)
        assert colours(draw(PICTURE, 0.1)) == colours(draw(PICTURE, 0.5)) == {_COLOURS[0], _COLOURS[1]}
        assert colours(draw(PICTURE, 0.2)) == {_COLOURS[0]}

    def test_only_the_people_that_the_model_describes_are_drawn(self) -> None:
        tracks = {number: {0: body(left)} for number, left in enumerate((20, 80, 140))}
        for people in (1, 2, 3):
            assert len(colours(drawing(tracks, 1, people)(PICTURE, 0))) == people
