"""Choosing frames; the tables are the specification."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from vidlstm.config import Sampling
from vidlstm.media.sampling import is_even, neighbour, plan, plan_at, plan_by_time


def uniform(num_frames: int) -> Sampling:
    return Sampling("uniform", num_frames=num_frames)


def dense(num_frames: int, stride: int) -> Sampling:
    return Sampling("dense", num_frames=num_frames, stride=stride)


def at_rate(rate: float, at_most: int = 100) -> Sampling:
    return Sampling("fps", num_frames=at_most, rate=rate)


@pytest.mark.parametrize(
    ("num_frames", "steps", "views", "expected"),
    [
        # One view: the centres of the segments.
        (8, 4, 1, [[1, 3, 5, 7]]),
        (16, 4, 1, [[2, 6, 10, 14]]),
        (10, 4, 1, [[1, 3, 6, 8]]),
        (100, 3, 1, [[16, 50, 83]]),
        (100, 1, 1, [[50]]),
        (4, 4, 1, [[0, 1, 2, 3]]),
        # Too few frames: fewer steps, no repeats.
        (3, 16, 1, [[0, 1, 2]]),
        (1, 16, 1, [[0]]),
        # Views are spread within each segment; the middle one of three equals a single view.
        (24, 4, 3, [[1, 7, 13, 19], [3, 9, 15, 21], [5, 11, 17, 23]]),
        (24, 4, 2, [[1, 7, 13, 19], [4, 10, 16, 22]]),
        (2, 4, 3, [[0, 1], [0, 1], [0, 1]]),
    ],
)
def test_uniform(num_frames: int, steps: int, views: int, expected: list[list[int]]) -> None:
    assert plan(num_frames, 25, uniform(steps), views).tolist() == expected


@pytest.mark.parametrize(
    ("num_frames", "steps", "stride", "views", "expected"),
    [
        # One view: the window in the middle.
        (10, 4, 1, 1, [[3, 4, 5, 6]]),
        (11, 4, 2, 1, [[2, 4, 6, 8]]),
        (7, 4, 2, 1, [[0, 2, 4, 6]]),
        # A clip that is too short: as many steps as fit with this stride.
        (6, 4, 2, 1, [[0, 2, 4]]),
        (5, 4, 10, 1, [[2]]),
        (1, 4, 2, 1, [[0]]),
        # Views are evenly spaced windows; the middle one of three equals a single view.
        (16, 4, 1, 3, [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 12, 13]]),
        (16, 4, 1, 2, [[3, 4, 5, 6], [9, 10, 11, 12]]),
    ],
)
def test_dense(num_frames: int, steps: int, stride: int, views: int, expected: list[list[int]]) -> None:
    assert plan(num_frames, 25, dense(steps, stride), views).tolist() == expected


@pytest.mark.parametrize(
    ("num_frames", "fps", "sampling", "views", "expected"),
    [
        # One second is one moment, in the middle of that second.
        (100, 25, at_rate(1), 1, [[12, 37, 62, 87]]),
        (100, 50, at_rate(1), 1, [[25, 75]]),
        (40, 10, at_rate(2), 1, [[2, 7, 12, 17, 22, 27, 32, 37]]),
        # The number of steps depends on the duration; a remainder of half an interval still counts.
        (112, 25, at_rate(1), 1, [[12, 37, 62, 87]]),
        (113, 25, at_rate(1), 1, [[12, 37, 62, 87, 112]]),
        (10, 25, at_rate(1), 1, [[9]]),
        (1, 25, at_rate(1), 1, [[0]]),
        # More moments than frames: every frame once.
        (4, 25, at_rate(60), 1, [[0, 1, 2, 3]]),
        # More steps than allowed: fewer over the whole length, not cut off.
        (1000, 25, at_rate(1, at_most=4), 1, [[125, 375, 625, 875]]),
        # An impossible rate counts as 25.
        (100, 0, at_rate(1), 1, [[12, 37, 62, 87]]),
        (100, -1, at_rate(1), 1, [[12, 37, 62, 87]]),
        (100, float("nan"), at_rate(1), 1, [[12, 37, 62, 87]]),
        (100, float("inf"), at_rate(1), 1, [[12, 37, 62, 87]]),
        (100, 90000, at_rate(1), 1, [[12, 37, 62, 87]]),
        # 29.97 frames per second
        (90, 30000 / 1001, at_rate(1), 1, [[14, 44, 74]]),
        (100, 25, at_rate(1), 3, [[4, 29, 54, 79], [12, 37, 62, 87], [20, 45, 70, 95]]),
    ],
)
def test_fps(num_frames: int, fps: float, sampling: Sampling, views: int, expected: list[list[int]]) -> None:
    assert plan(num_frames, fps, sampling, views).tolist() == expected


SAMPLINGS = [uniform(1), uniform(7), uniform(16), dense(1, 1), dense(16, 2), dense(5, 9)]
SAMPLINGS += [at_rate(0.5, 16), at_rate(3.7, 16), at_rate(12.5), at_rate(1000)]
LENGTHS = [*range(1, 70), 109, 110, 111, 997, 9000, 216_001]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_every_row_is_strictly_increasing_within_the_clip(sampling: Sampling) -> None:
    for num_frames, views, fps in product(LENGTHS, (1, 2, 3, 10), (25.0, 29.97, 7.0)):
        rows = plan(num_frames, fps, sampling, views)
        assert rows.dtype == np.int64
        assert rows.shape[0] == views
        assert 1 <= rows.shape[1] <= min(sampling.num_frames, num_frames)
        assert rows.min() >= 0
        assert rows.max() < num_frames
        assert (np.diff(rows, axis=1) > 0).all()


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_middle_view_is_the_single_view(sampling: Sampling) -> None:
    for num_frames, views in product(LENGTHS, (3, 5)):
        rows = plan(num_frames, 25, sampling, views)
        assert rows[views // 2].tolist() == plan(num_frames, 25, sampling)[0].tolist()


def test_uniform_moments_are_in_their_segments() -> None:
    """The whole clip is covered, to the last frame of a two-hour film, without overflow or rounding."""
    for num_frames, views in product(LENGTHS, (1, 4)):
        rows = plan(num_frames, 25, uniform(16), views)
        steps = rows.shape[1]
        segments = np.arange(steps)
        assert (rows >= segments * num_frames // steps).all()
        assert (rows * steps < (segments + 1) * num_frames).all()


# A variable frame rate.


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_by_time_and_by_count_agree_at_an_even_rate(sampling: Sampling) -> None:
    for num_frames, fps, views in product([1, 2, 7, 100, 481], (10.0, 25.0), (1, 3)):
        times = np.arange(num_frames) / fps
        by_time = plan_by_time(times, num_frames / fps, sampling, views)
        assert by_time.tolist() == plan(num_frames, fps, sampling, views).tolist()


BURST = np.concatenate([np.arange(30) / 30, np.arange(1, 31)])
"""Thirty frames in the first second, then one per second for thirty seconds, like a screen recording."""


def test_moments_are_evenly_spaced_even_if_frames_are_not() -> None:
    assert plan_by_time(BURST, 31, uniform(4)).tolist() == [[32, 40, 48, 56]]
    assert BURST[plan_by_time(BURST, 31, uniform(4))[0]].tolist() == [3, 11, 19, 27]
    assert BURST[plan_by_time(BURST, 31, Sampling("fps", 16, rate=0.25))[0]].tolist() == [
        2, 6, 10, 14, 18, 22, 26, 30,
    ]  # fmt: skip
    assert plan_by_time(BURST, 31, dense(3, 2)).tolist() == plan(60, 30, dense(3, 2)).tolist()


def test_by_time_is_strictly_increasing_even_with_few_frames() -> None:
    rng = np.random.default_rng(0)
    for num_frames in (1, 2, 5, 17, 60):
        times = np.concatenate([[0], np.cumsum(rng.choice([0.03, 0.04, 8.0], num_frames - 1))])
        for sampling, views in product(SAMPLINGS, (1, 3)):
            rows = plan_by_time(times, times[-1] + 0.04, sampling, views)
            assert rows.min() >= 0
            assert rows.max() < num_frames
            assert (np.diff(rows, axis=1) > 0).all()


def test_rounded_times_are_even_and_bursts_are_not() -> None:
    assert is_even(np.round(np.arange(500) / 29.97, 3))
    assert is_even(np.delete(np.arange(500) / 25, 250)), "one frame was dropped"
    assert not is_even(BURST)


@pytest.mark.parametrize(("jitter", "by_time"), [(0.001, False), (1.0, True)])
def test_times_matter_only_if_the_rate_varies(jitter: float, by_time: bool) -> None:
    sampling = Sampling("uniform", 8)
    times = np.arange(100) / 25 + jitter * (np.arange(100) >= 50)
    expected = plan_by_time(times, times[-1] + 1 / 25, sampling) if by_time else plan(100, 25, sampling)
    assert plan_at(times, 25, sampling).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, 2),  # the first frame that is late enough
        (7, 9),
        (8, 6),  # at the end, the best earlier frame
        (9, 7),
    ],
)
def test_the_neighbour_of_a_frame(index: int, expected: int) -> None:
    assert neighbour(np.arange(10) / 25, index, 1 / 15, 25) == expected


@pytest.mark.parametrize("fps", [1.0, 2.0, 3.75, 5.0])
def test_at_a_low_rate_the_neighbour_is_the_next_frame_and_never_the_frame_itself(fps: float) -> None:
    times = np.arange(5) / fps
    assert [neighbour(times, index, 1 / 15, fps) for index in range(5)] == [1, 2, 3, 4, 3]


def test_the_neighbour_in_a_short_clip_is_as_far_as_possible() -> None:
    assert neighbour(np.array([0.0, 0.01, 0.02]), 0, 1 / 15, 25) == 2
    assert neighbour(np.array([0.0]), 0, 1 / 15, 25) == 0


def test_a_neighbour_may_be_a_quarter_of_a_frame_early() -> None:
    assert neighbour(np.array([0.0, 0.058, 0.1]), 0, 1 / 15, 25) == 1
    assert neighbour(np.array([0.0, 0.056, 0.1]), 0, 1 / 15, 25) == 2
