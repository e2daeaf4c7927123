"""Which frames of N: pure functions.

Every row of a plan increases strictly, so that no step of a sequence is a repeat: a clip with too few
frames has fewer steps. `plan` counts frames. `plan_by_time` is for a variable frame rate, where frame
numbers say nothing about time: it divides the seconds of the clip instead. `plan_at` chooses between the two.
Nothing here opens a file; whether N is true is `vidlstm.media.clips`' worry.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # an exported model takes this module along, without the others
    from vidlstm.config import Sampling

DEFAULT_FPS = 25.0
"""Taken when a file does not say how fast it plays."""
MAX_FPS = 1000.0
"""Above it a header's rate is a clock's resolution, not a rate."""

EVEN_FRAMES = 2.0
"""Times count as even while none is off an even spacing by more frames than this: headers round."""

EARLY = 0.25
"""A frame this part of a frame early is on time: times are rounded in files."""

Indices = NDArray[np.int64]
Seconds = NDArray[np.float64]


def known_fps(fps: float) -> float:
    """Return `fps`, or 25 when it is not a rate that a video can have."""
    return fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else DEFAULT_FPS


def plan(num_frames: int, fps: float, sampling: Sampling, views: int = 1) -> Indices:
    """Choose the frames that every view of a clip reads.

    The middle view of an odd number of views is the plan of a single view.

    Args:
        num_frames: Frames in the clip, at least 1.
        fps: Frames a second; anything that cannot be a rate counts as 25.
        sampling: How to choose.
        views: Rows, each with its own places in the same segments, or its own window.

    Returns:
        Frame indices, `(V, T)` int64; every row increases strictly.
    """
    middle = (2 * np.arange(views, dtype=np.int64) + 1)[:, None]  # in units of 1 / (2 views)
    if sampling.method == "dense":
        steps, room = _dense_room(num_frames, sampling)
        return room * middle // (2 * views) + sampling.stride * np.arange(steps, dtype=np.int64)
    if sampling.method == "uniform":
        return _segments(num_frames, min(sampling.num_frames, num_frames), middle, 2 * views)
    steps, interval = _fps_steps(num_frames, fps, sampling)
    order = np.arange(steps, dtype=np.int64)
    # The small addend keeps 3.9999999 from becoming frame 3 where the exact product is 4.
    chosen = np.floor((order + middle / (2 * views)) * interval + 1e-9).astype(np.int64)
    # A late view's last moment can lie behind the end of the clip.
    latest: Indices = num_frames - steps + order
    return np.minimum(chosen, latest)


def plan_at(times: Seconds, fps: float, sampling: Sampling, views: int = 1) -> Indices:
    """Choose frames of a clip whose frames' times are known; by time only if the frame rate varies.

    Args:
        times: When each frame is shown, `(N,)`, in seconds from the first one, increasing strictly.
        fps: As for `plan`.
        sampling: How to choose.
        views: As for `plan`.

    Returns:
        Frame indices, `(V, T)` int64; every row increases strictly.
    """
    if is_even(times):
        return plan(len(times), fps, sampling, views)
    return plan_by_time(times, float(times[-1]) + 1 / known_fps(fps), sampling, views)


def is_even(times: Seconds) -> bool:
    """Tell whether frames follow each other at one rate.

    Args:
        times: When each frame is shown, `(N,)`, in seconds, increasing strictly.
    """
    if len(times) < 3:
        return True
    spacing = (times[-1] - times[0]) / (len(times) - 1)
    off = times - times[0] - spacing * np.arange(len(times))
    return bool(np.abs(off).max() <= EVEN_FRAMES * spacing)


def plan_by_time(times: Seconds, end: float, sampling: Sampling, views: int = 1) -> Indices:
    """Choose frames of a clip with a variable frame rate: those that are shown at even moments.

    Where few frames are shown for a long time, the nearest ones that are free are taken in addition, so
    that there are as many steps as in a clip with an even rate. With even times it is `plan`.

    Args:
        times: When each frame is shown, `(N,)`, in seconds from the first one, increasing strictly.
        end: When the last one ends.
        sampling: How to choose. `dense` counts frames here as well.
        views: As for `plan`.

    Returns:
        Frame indices, `(V, T)` int64; every row increases strictly.
    """
    num_frames = len(times)
    if sampling.method == "dense":
        return plan(num_frames, 0, sampling, views)
    steps, interval = min(sampling.num_frames, num_frames), end / min(sampling.num_frames, num_frames)
    if sampling.method == "fps":
        wanted = max(1, math.floor(end * sampling.rate + 0.5 + 1e-9))
        if wanted <= steps:
            steps, interval = wanted, 1 / sampling.rate
    order = np.arange(steps, dtype=np.int64)
    middle = (2 * np.arange(views) + 1)[:, None] / (2 * views)
    chosen = np.searchsorted(times, (order + middle) * interval + 1e-9, side="right") - 1
    for step in range(1, steps):
        chosen[:, step] = np.maximum(chosen[:, step], chosen[:, step - 1] + 1)
    latest: Indices = num_frames - steps + order
    return np.minimum(chosen, latest)


def every_second(table: Indices) -> Indices:
    """Take every second moment of each view, for the stream that needs no more.

    Later views begin with their second moment, so that all views together lie evenly about the
    middle of each pair of segments.

    Args:
        table: `(V, T)`.

    Returns:
        `(V, T // 2)`, and at least one moment.
    """
    views, steps = table.shape
    if steps == 1:
        return table
    late = 2 * np.arange(views) + 1 > views
    order = 2 * np.arange(steps // 2) + late[:, None]
    taken: Indices = np.take_along_axis(table, order, axis=1)
    return taken


def neighbour(times: Seconds, index: int, seconds: float, fps: float) -> int:
    """Choose the frame that forms a pair with another one, for optical flow.

    It is the first that is shown `seconds` later or after. At the end of a clip it is the frame before it
    whose distance is nearest to that, or else the farthest one.

    Args:
        times: When each frame is shown, `(N,)`, in seconds, increasing strictly.
        index: The other frame; returned if it is the only one.
        seconds: How far apart the two should be.
        fps: Frames a second.
    """
    enough = seconds - EARLY / fps
    later = np.flatnonzero(times - times[index] >= enough)
    if len(later):
        return int(later[0])
    distances = np.abs(times - times[index])
    others = [i for i in range(len(times)) if i != index] or [index]
    return min(others, key=lambda i: (distances[i] < enough, abs(distances[i] - seconds)))


def _segments(num_frames: int, steps: int, numerator: Indices, denominator: int) -> Indices:
    """Return `floor((s + numerator / denominator) * num_frames / steps)` in exact arithmetic."""
    segments = np.arange(steps, dtype=np.int64)
    return (segments * denominator + numerator) * num_frames // (denominator * steps)


def _dense_room(num_frames: int, sampling: Sampling) -> tuple[int, int]:
    """Return how many steps fit, and how far the run can be shifted."""
    steps = max(1, min(sampling.num_frames, (num_frames - 1) // sampling.stride + 1))
    return steps, num_frames - 1 - (steps - 1) * sampling.stride


def _fps_steps(num_frames: int, fps: float, sampling: Sampling) -> tuple[int, float]:
    """Return the number of steps at the wished rate, and the frames from one to the next."""
    interval = max(1.0, known_fps(fps) / sampling.rate)  # never more moments than frames
    steps = max(1, math.floor(num_frames / interval + 0.5 + 1e-9))  # centres inside the clip
    if steps > sampling.num_frames:
        return sampling.num_frames, num_frames / sampling.num_frames
    return steps, interval
