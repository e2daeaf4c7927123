"""Choose which of a clip's N frames to read: pure functions.

Every row of a plan is strictly increasing, so no frame is repeated; a clip with too few frames has fewer
steps. `plan` divides the clip by frames. `plan_by_time` divides it by time, for variable frame rates, where
frame numbers do not correspond to times. `plan_at` chooses between the two. Nothing here opens a file;
`vidlstm.media.clips` determines N.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # exported models include this module without the others
    from vidlstm.config import Sampling

DEFAULT_FPS = 25.0
"""Frames per second assumed for a file that does not give its rate."""
MAX_FPS = 1000.0
"""Frames per second above which a header's value is the resolution of a clock, not a frame rate."""

EVEN_FRAMES = 2.0
"""Maximum deviation of times from even spacing, in frames, at a constant rate; times in files are rounded."""

EARLY = 0.25
"""Share of a frame by which a frame may be early and still count as on time; times in files are rounded."""

Indices = NDArray[np.int64]
Seconds = NDArray[np.float64]


def known_fps(fps: float) -> float:
    """Return `fps`, or 25 if it is not a possible frame rate."""
    return fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else DEFAULT_FPS


def plan(num_frames: int, fps: float, sampling: Sampling, views: int = 1) -> Indices:
    """Choose the frames of each view of a clip.

    If the number of views is odd, the middle view equals the plan of a single view.

    Args:
        num_frames: Number of frames in the clip, at least 1.
        fps: Frames per second; impossible values count as 25.
        sampling: How to choose.
        views: Number of views, V. Each has its own positions in the same segments, or its own window.

    Returns:
        Frame indices, int64 `(V, T)`; every row is strictly increasing.
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
    # The last moment of a late view can be after the end of the clip.
    latest: Indices = num_frames - steps + order
    return np.minimum(chosen, latest)


def plan_at(times: Seconds, fps: float, sampling: Sampling, views: int = 1) -> Indices:
    """Choose the frames of a clip whose times are known: by time only if the frame rate varies.

    Args:
        times: Time of each frame since the first, in seconds, `(N,)`, strictly increasing.
        fps: As for `plan`.
        sampling: How to choose.
        views: As for `plan`.

    Returns:
        Frame indices, int64 `(V, T)`; every row is strictly increasing.
    """
    if is_even(times):
        return plan(len(times), fps, sampling, views)
    return plan_by_time(times, float(times[-1]) + 1 / known_fps(fps), sampling, views)


def is_even(times: Seconds) -> bool:
    """Tell whether the frame rate is constant.

    Args:
        times: Time of each frame, in seconds, `(N,)`, strictly increasing.
    """
    if len(times) < 3:
        return True
    spacing = (times[-1] - times[0]) / (len(times) - 1)
    off = times - times[0] - spacing * np.arange(len(times))
    return bool(np.abs(off).max() <= EVEN_FRAMES * spacing)


def plan_by_time(times: Seconds, end: float, sampling: Sampling, views: int = 1) -> Indices:
    """Choose the frames of a clip with a variable frame rate: those shown at evenly spaced times.

    Where few frames are shown for a long time, the nearest unused frames are taken in addition, so that
    there are as many steps as in a clip with a constant rate. For a constant rate this equals `plan`.

    Args:
        times: Time of each frame since the first, in seconds, `(N,)`, strictly increasing.
        end: End of the last frame, in seconds.
        sampling: How to choose. `dense` counts frames here, too.
        views: As for `plan`.

    Returns:
        Frame indices, int64 `(V, T)`; every row is strictly increasing.
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

    Later views start at their second moment, so that all views together are evenly spread around the
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

    It is the first frame that is shown at least `seconds` later. At the end of a clip it is the earlier
    frame whose distance is nearest to that, or else the farthest one.

    Args:
        times: Time of each frame, in seconds, `(N,)`, strictly increasing.
        index: The other frame; returned if it is the only one.
        seconds: Target time between the two.
        fps: Frames per second.
    """
    enough = seconds - EARLY / fps
    later = np.flatnonzero(times[index + 1 :] - times[index] >= enough)
    if len(later):
        return index + 1 + int(later[0])
    distances = np.abs(times - times[index])
    others = [i for i in range(len(times)) if i != index] or [index]
    return min(others, key=lambda i: (distances[i] < enough, abs(distances[i] - seconds)))


def _segments(num_frames: int, steps: int, numerator: Indices, denominator: int) -> Indices:
    """Return `floor((s + numerator / denominator) * num_frames / steps)` in exact arithmetic."""
    segments = np.arange(steps, dtype=np.int64)
    return (segments * denominator + numerator) * num_frames // (denominator * steps)


def _dense_room(num_frames: int, sampling: Sampling) -> tuple[int, int]:
    """Return the number of steps that fit, and the number of frames by which they can be shifted."""
    steps = max(1, min(sampling.num_frames, (num_frames - 1) // sampling.stride + 1))
    return steps, num_frames - 1 - (steps - 1) * sampling.stride


def _fps_steps(num_frames: int, fps: float, sampling: Sampling) -> tuple[int, float]:
    """Return the number of steps at the requested rate, and the number of frames between them."""
    interval = max(1.0, known_fps(fps) / sampling.rate)  # never more moments than frames
    steps = max(1, math.floor(num_frames / interval + 0.5 + 1e-9))  # centres inside the clip
    if steps > sampling.num_frames:
        return sampling.num_frames, num_frames / sampling.num_frames
    return steps, interval
