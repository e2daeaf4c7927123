"""Read moments of a clip, and pairs of frames for optical flow, in one pass.

Every frame is reduced as soon as it is decoded, and only the reduced frame is kept.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.descriptors.motion import small_grey, small_size
from vidlstm.media.opencv import decoding_threads
from vidlstm.media.resize import WholePictures, square
from vidlstm.media.sampling import EARLY, known_fps, neighbour
from vidlstm.media.video.base import Image, Video

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class PairSpec:
    """Pairs of neighbouring frames, for optical flow.

    Args:
        seconds: Time from a frame to its neighbour.
        side: Longest side of the reduced frames, in pixels; they are never enlarged.
    """

    seconds: float
    side: int


@dataclass(frozen=True)
class Moments:
    """What was read at U moments; shapes as in `vidlstm.media.clips.Clip`."""

    frames: Image
    times: NDArray[np.float64]
    pairs: Image | None
    pair_seconds: NDArray[np.float64] | None
    pictures: Image | None


def read_moments(
    video: Video,
    moments: NDArray[np.int64],
    pictured: NDArray[np.bool_],
    size: int | None,
    pair_spec: PairSpec | None,
    num_frames: int,
    picture_side: int | None = None,
) -> Moments | None:
    """Read moments of a clip, and move to its end, unless frames were skipped.

    Args:
        video: The clip, at its first frame.
        moments: Frame indices, `(U,)`, strictly increasing.
        pictured: Whether to read the square frame of each moment, bool `(U,)`.
        size: Side of the square frames, in pixels; None: no square frames.
        pair_spec: The frame pairs to read at every moment; None: no pairs.
        num_frames: Number of frames in the clip, as far as known.
        picture_side: Longest side of the whole pictures of the moments, in pixels; None: no pictures.

    Returns:
        What was read; None if the clip ended before the last moment.
    """
    slots = {int(index): slot for slot, index in enumerate(moments)}
    times = np.zeros(len(moments))
    pictures: list[Image] = []
    to_picture = None if picture_side is None else WholePictures(picture_side)
    pairs = None if pair_spec is None else _Pairs(pair_spec, video)
    chosen = set(slots)
    if pairs is not None:
        chosen |= pairs.spare_frames(slots, num_frames)
        if video.times is not None:
            chosen |= pairs.neighbours(slots, video.times)
    stops = sorted(chosen, reverse=True)
    video.expect(stops)
    with _Squares(int(pictured.sum()), size) as squares:
        while stops or (pairs is not None and pairs.searching):
            target = stops[-1] if stops else video.index + 1
            if pairs is not None and pairs.searching:
                target = min(target, video.index + 1)
            if not video.goto(target):
                break
            stopped = bool(stops) and stops[-1] == target
            if stopped:
                stops.pop()
            if not stopped and not (pairs is not None and pairs.is_due(video.seconds)):
                continue
            image = video.image()
            slot = slots.get(target)
            if slot is not None:
                times[slot] = video.seconds
                if pictured[slot]:
                    squares.take(image)
                if to_picture is not None:
                    pictures.append(to_picture(image))
            if pairs is not None:
                pairs.see(video.seconds, image, slot)
        if not video.jumped:  # the frames must be counted anyway; meanwhile the last one is reduced
            video.read_to_end()
    if any(index in slots for index in stops):
        return None
    stacked = None if picture_side is None else np.stack(pictures)
    if pairs is None:
        return Moments(squares.frames, times, None, None, stacked)
    return Moments(squares.frames, times, *pairs.stack(len(moments)), stacked)


class _Squares:
    """Reduces frames while the next are decoded, unless decoding is limited to one thread.

    Two frames may be pending: with one, 16 frames of a clip of UT-Interaction took 6 to 9 % more time.

    Attributes:
        frames: `(F, S, S, 3)` RGB, complete at the end of the `with` block.
    """

    def __init__(self, count: int, size: int | None) -> None:
        self.frames = np.empty((count, size or 0, size or 0, 3), dtype=np.uint8)
        self._size = size
        self._taken = 0
        self._thread = ThreadPoolExecutor(1) if size is not None and decoding_threads() != 1 else None
        self._pending: deque[Future[None]] = deque()

    def take(self, image: Image) -> None:
        """Take the next frame. Wait until only one other is pending, to keep few in memory."""
        if self._size is None:
            return
        place, self._taken = self._taken, self._taken + 1
        if self._thread is None:
            self._reduce(place, image)
            return
        self._wait(1)
        self._pending.append(self._thread.submit(self._reduce, place, image))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()
            self._wait(0)

    def _reduce(self, place: int, image: Image) -> None:
        self.frames[place] = square(image, self._size or 0)

    def _wait(self, most: int) -> None:
        while len(self._pending) > most:
            self._pending.popleft().result()


class _Pairs:
    """Finds, for each moment, the first frame that is shown at least `seconds` later."""

    def __init__(self, spec: PairSpec, video: Video) -> None:
        self._gap = spec.seconds
        self._fps = known_fps(video.info.fps)
        self._gap_at_least = spec.seconds - EARLY / self._fps
        self._size = small_size(video.image().shape, spec.side)
        self._seen: list[tuple[float, Image]] = []
        self._own: dict[int, int] = {}  # slot -> place in `_seen`
        self._other: dict[int, int] = {}
        self._waiting: list[int] = []
        self._is_told = video.times is not None

    @property
    def searching(self) -> bool:
        """Whether every frame must be visited, because only its time shows that it is a neighbour."""
        return bool(self._waiting) and not self._is_told

    def neighbours(self, moments: Iterable[int], times: NDArray[np.float64]) -> set[int]:
        """Return the frames for which `is_due` will be true; the times of all frames must be known."""
        found: set[int] = set()
        for index in moments:
            late = np.flatnonzero(times[index + 1 :] - times[index] >= self._gap_at_least)
            found.update((index + 1 + late[:1]).tolist())
        return found

    def spare_frames(self, moments: Iterable[int], num_frames: int) -> set[int]:
        """Return the frames to keep in case the clip ends before a moment's neighbour."""
        span = math.ceil(self._gap * self._fps) + 1
        spare: set[int] = set()
        for index in moments:
            if index + span >= num_frames:
                spare.update(range(max(0, index - span), index if index >= span else index + span))
        return spare

    def is_due(self, seconds: float) -> bool:
        """Tell whether a frame shown at this time is the neighbour of a moment."""
        return any(seconds - self._time(slot) >= self._gap_at_least for slot in self._waiting)

    def see(self, seconds: float, image: Image, slot: int | None) -> None:
        """Take a frame; it is the moment `slot`, unless that is None."""
        place = len(self._seen)
        for waiting in [w for w in self._waiting if seconds - self._time(w) >= self._gap_at_least]:
            self._other[waiting] = place
            self._waiting.remove(waiting)
        self._seen.append((seconds, small_grey(image, *self._size)))
        if slot is not None:
            self._own[slot] = place
            self._waiting.append(slot)

    def stack(self, num_moments: int) -> tuple[Image, NDArray[np.float64]]:
        """Return all pairs, each in time order, and the time between the two frames in seconds."""
        pairs = np.zeros((num_moments, 2, *self._size[::-1]), dtype=np.uint8)
        seconds = np.zeros(num_moments)
        for slot in range(num_moments):
            other = self._other[slot] if slot in self._other else self._best_place(slot)
            places = sorted((self._own[slot], other))
            (begin, first), (end, second) = (self._seen[place] for place in places)
            pairs[slot] = first, second
            seconds[slot] = end - begin
        return pairs, seconds

    def _best_place(self, slot: int) -> int:
        """Return the neighbour of a moment so near the end that no later frame is far enough away."""
        times = np.array([seconds for seconds, _ in self._seen])
        return neighbour(times, self._own[slot], self._gap, self._fps)

    def _time(self, slot: int) -> float:
        return self._seen[self._own[slot]][0]
