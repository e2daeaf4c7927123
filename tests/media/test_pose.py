"""The pose descriptor: what it depends on, what it must not depend on, and mirroring."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.descriptors import pose

Floats = NDArray[np.float32]

SIDE_SWAPPED = [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *(j + (1 if j % 2 else -1) for j in range(11, 33))]


def person(
    x: float, seed: int, moments: range = range(12), y: float = 100, sure: float = 0.9
) -> dict[int, Floats]:
    """Return the track of a person who stands at x and fidgets."""
    rng = np.random.default_rng(seed)
    shape = np.zeros((33, 3))
    shape[:, 0] = rng.normal(0, 8, 33)
    shape[:, 1] = np.linspace(-60, 60, 33)
    track = {}
    for moment in moments:
        points = shape + rng.normal(0, 2, (33, 3))
        points[:, :2] += (x, y)
        points[:, 2] = sure
        track[moment] = points.astype(np.float32)
    return track


def mirrored(track: Mapping[int, Floats], width: float = 320) -> dict[int, Floats]:
    """Return the track in the mirrored picture: left and right are exchanged, in picture and body."""
    flipped = {moment: points[SIDE_SWAPPED].copy() for moment, points in track.items()}
    for points in flipped.values():
        points[:, 0] = width - 1 - points[:, 0]
    return flipped


def described(*tracks: Mapping[int, Floats], people: int = 2, num: int = 12, step: float = 0.1) -> Floats:
    return pose.describe(pose.slots(tracks, num, people), np.arange(num, dtype=np.float64) * step)


CASTS = {
    "nobody": (),
    "one": (person(90, 0),),
    "two": (person(90, 0), person(200, 1)),
    "two, the right one seen longer": (person(90, 0, range(2, 9)), person(200, 1)),
    "three": (person(90, 0), person(200, 1), person(150, 2)),
}


@pytest.mark.parametrize("people", [1, 2, 3])
@pytest.mark.parametrize("cast", CASTS)
class TestAlways:
    def test_mirroring_the_clip_mirrors_the_descriptor(self, cast: str, people: int) -> None:
        tracks = CASTS[cast]
        flipped = described(*map(mirrored, tracks), people=people)
        np.testing.assert_allclose(flipped, pose.mirror(described(*tracks, people=people)), atol=2e-4)

    def test_mirroring_twice_changes_nothing(self, cast: str, people: int) -> None:
        descriptor = described(*CASTS[cast], people=people)
        np.testing.assert_array_equal(pose.mirror(pose.mirror(descriptor)), descriptor)

    def test_has_the_documented_width_and_is_finite(self, cast: str, people: int) -> None:
        descriptor = described(*CASTS[cast], people=people)
        assert descriptor.shape == (12, pose.width(people))
        assert np.isfinite(descriptor).all()

    @pytest.mark.parametrize(("scale", "shift"), [(2.0, 0.0), (1.0, 55.0), (0.5, -20.0)])
    def test_position_and_size_in_the_picture_do_not_matter(
        self, cast: str, people: int, scale: float, shift: float
    ) -> None:
        moved = [
            {m: (p * [scale, scale, 1] + [shift, shift, 0]).astype(np.float32) for m, p in track.items()}
            for track in CASTS[cast]
        ]
        np.testing.assert_allclose(
            described(*moved, people=people), described(*CASTS[cast], people=people), atol=2e-3
        )


class TestSlots:
    def test_are_ordered_from_left_to_right(self) -> None:
        placed = pose.slots([person(200, 1), person(90, 0)], 12, 2)
        assert placed[:, 0, :, 0].mean() < placed[:, 1, :, 0].mean()

    def test_the_first_ones_are_taken(self) -> None:
        placed = pose.slots([person(90, 0)], 12, 2)
        assert np.isfinite(placed[:, 0]).all()
        assert np.isnan(placed[:, 1]).all()

    def test_those_seen_longest_count(self) -> None:
        passer_by = person(150, 2, range(3))
        placed = pose.slots([passer_by, person(90, 0), person(200, 1)], 12, 2)
        np.testing.assert_array_equal(placed, pose.slots([person(90, 0), person(200, 1)], 12, 2))

    def test_a_person_who_reappears_nearby_keeps_the_slot(self) -> None:
        whole = person(90, 0)
        first = {m: p for m, p in whole.items() if m < 5}
        again = {m: p for m, p in whole.items() if m > 6}
        placed = pose.slots([first, again, person(200, 1)], 12, 2)
        assert np.isfinite(placed[:, 0]).all((1, 2)).tolist() == [True] * 5 + [False] * 2 + [True] * 5

    def test_a_glimpse_is_ignored(self) -> None:
        assert np.isnan(pose.slots([person(90, 0, range(1))], 12, 2)).all()


class TestSeen:
    def test_is_true_if_anybody_is_seen(self) -> None:
        seen = pose.is_seen(described(person(90, 0, range(3, 7)), person(200, 1, range(5, 9))))
        assert seen.tolist() == [False] * 3 + [True] * 6 + [False] * 3

    def test_hidden_moments_are_interpolated(self) -> None:
        whole = person(90, 0)
        gap = described({m: p for m, p in whole.items() if m != 5})
        assert gap[5, :26] == pytest.approx((gap[4, :26] + gap[6, :26]) / 2, abs=0.2)
        assert not pose.is_seen(gap)[5]


class TestVelocities:
    def test_are_in_trunks_per_second(self) -> None:
        still = person(90, 0, range(1))[0]
        trunk = np.linalg.norm(still[[11, 12], :2].mean(0) - still[[23, 24], :2].mean(0))
        step = np.array([trunk * 0.3, 0, 0])
        walk = {m: (still + step * m).astype(np.float32) for m in range(12)}
        speed = described(walk, step=0.1)[4:8, 26:52].reshape(4, 13, 2)
        np.testing.assert_allclose(np.expm1(speed[..., 0]), 3, rtol=1e-3)
        np.testing.assert_allclose(speed[..., 1], 0, atol=1e-3)

    def test_are_zero_for_a_single_moment(self) -> None:
        assert not described({0: person(90, 0)[0]}, num=1)[:, 26:52].any()


class TestTwo:
    def test_a_hand_at_the_other_person_s_head_is_near_it(self) -> None:
        one, other = person(90, 0), person(200, 1)
        for moment, points in one.items():
            points[15, :2] = other[moment][0, :2]
        hand_to_head = described(one, other)[2:-2, 2 * 56 + 3]
        assert hand_to_head.max() < 0.1
        assert described(person(90, 0), other)[2:-2, 2 * 56 + 3].min() > 1
