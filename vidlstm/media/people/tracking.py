"""Track people through a clip or film: their key points at each moment.

As in BlazePose, a person's key points at one moment give the region for the next. The detector, which costs
as much as the landmarks of one person, runs only every few moments, or at every moment while fewer people
than wanted are seen. Two tracks on one body are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.people.detection import decode, letterbox
from vidlstm.media.people.regions import NUM_POINTS, Region, cut, next_region, place
from vidlstm.media.video.base import Image

DETECT_EVERY = 4
"""Moments between two runs of the detector while all wanted people are seen."""

_MIN_PRESENCE = 0.5
_MAX_TRACKS = 4
"""Maximum number of detected people per moment."""

_FOLLOWED = 3
"""Moments for which a lost person is still searched for at the last position."""

_REMEMBERED = 8
"""Moments after which a person who returns counts as a new one."""

_BRIGHTNESS, _CONTRAST, _MAX_GAIN = 120.0, 60.0, 4.0
"""Target mean and standard deviation of pictures, in grey levels, and the maximum gain."""

_MIN_SIDE, _MAX_SIDE = 16, 4
"""Minimum side of a region in pixels, and maximum as a multiple of the picture's longest side."""

_SAME_PLACE = 0.2
"""Maximum distance of the centres of two regions of the same person, in sides."""

_CAME_BACK = 0.5
"""The same, for a lost person who is detected again."""
_SAME_BODY = 0.35
"""Maximum mean distance of the joints of two tracks on one body, in lengths of the trunk."""

_SHOULDERS, _HIPS = [11, 12], [23, 24]
_JOINTS = [11, 12, 13, 14, 23, 24, 25, 26]

Floats = NDArray[np.float32]

Detector = Callable[[Image], tuple[Floats, Floats]]
"""Maps an RGB image `(224, 224, 3)` to outputs `(2254, 12)` and logits `(2254,)`, see `decode`."""

Landmarker = Callable[[Image], tuple[Floats, float]]
"""Maps an RGB image `(256, 256, 3)` to points `(39, 3)`, x and y in its pixels and the visibility of each,
and to the probability of a person."""


@dataclass(frozen=True)
class _Sight:
    """A person at one moment.

    Args:
        points: Key points, float32 `(33, 3)`: x and y in pixels of the picture, and confidence, 0 to 1.
        presence: Probability of a person, 0 to 1.
        region: Region for the next moment.
    """

    points: Floats
    presence: float
    region: Region


@dataclass(eq=False)
class _Track:
    start: Region  # region at the first moment, for tracking backwards
    region: Region  # region for the next moment
    last: int  # last moment at which they were seen
    number: int = -1
    bodies: dict[int, Floats] = field(default_factory=dict)  # of the newest part


def follow(
    pictures: Sequence[Image],
    detect: Detector,
    find_points: Landmarker,
    *,
    wanted: int = 2,
    detect_every: int = DETECT_EVERY,
) -> list[dict[int, Floats]]:
    """Track the people of a clip.

    Args:
        pictures: RGB `(H, W, 3)`, in time order.
        detect: The detector.
        find_points: The landmark network.
        wanted: Number of people; while fewer are seen, the detector runs at every moment.
        detect_every: Moments between two runs of the detector otherwise.

    Returns:
        For each person, key points by moment: float32 `(33, 3)`, x and y in pixels of the picture, and
        confidence, 0 to 1.
    """
    tracker = Tracker(detect, find_points, wanted=wanted, detect_every=detect_every)
    return list(tracker.follow(pictures).values())


class Tracker:
    """Tracks the people of a film, whose pictures come in parts.

    Args:
        detect: The detector.
        find_points: The landmark network.
        wanted: Number of people; while fewer are seen, the detector runs at every moment.
        detect_every: Moments between two runs of the detector otherwise.
    """

    def __init__(
        self,
        detect: Detector,
        find_points: Landmarker,
        *,
        wanted: int = 2,
        detect_every: int = DETECT_EVERY,
    ) -> None:
        self._detect = detect
        self._find_points = find_points
        self._wanted = wanted
        self._detect_every = detect_every
        self._tracks: list[_Track] = []
        self._num_tracks = 0
        self._num_moments = 0

    def follow(self, pictures: Sequence[Image]) -> dict[int, dict[int, Floats]]:
        """Track people through the next part.

        Args:
            pictures: RGB `(H, W, 3)`, in time order.

        Returns:
            By the number of each person who is seen, counted from the start of the film, and by moment of
            this part: key points as in `follow`.
        """
        pictures, start = _normalised(pictures), self._num_moments
        self._tracks = [track for track in self._tracks if start - track.last <= _REMEMBERED]
        for track in self._tracks:
            track.bodies = {}
        new: list[_Track] = []
        for moment, picture in enumerate(pictures, start):
            for track, sight in self._seen(moment, picture):
                if track not in self._tracks:
                    track.start, track.number = sight.region, self._num_tracks
                    self._num_tracks += 1
                    self._tracks.append(track)
                    new.append(track)
                track.region, track.last = sight.region, moment
                track.bodies[moment - start] = sight.points
        for track in new:
            _follow_back(track, self._tracks, pictures, self._find_points)
        self._num_moments += len(pictures)
        return {track.number: track.bodies for track in self._tracks if track.bodies}

    def _seen(self, moment: int, picture: Image) -> list[tuple[_Track, _Sight]]:
        """Return the people at one moment: those who are tracked, and those who are detected."""
        seen = _followed(self._tracks, moment, picture, self._find_points)
        if moment % self._detect_every == 0 or len(seen) < self._wanted:
            seen += _found(self._tracks, seen, moment, picture, self._detect, self._find_points)
        return _without_doubles(seen)


def _normalised(pictures: Sequence[Image]) -> list[Image]:
    """Normalise the brightness and contrast of a clip, in the same way in all pictures.

    The networks were trained on well-lit people. On UT-Interaction's darker clips they find 1.66 of 2
    people with it, 1.59 without.
    """
    some = np.stack([picture[::4, ::4] for picture in pictures]).astype(np.float32)
    gain = min(_CONTRAST / max(float(some.std()), 1.0), _MAX_GAIN)
    levels = np.clip((np.arange(256) - some.mean()) * gain + _BRIGHTNESS, 0, 255).astype(np.uint8)
    return [levels[picture] for picture in pictures]


def _followed(
    tracks: list[_Track], moment: int, picture: Image, find_points: Landmarker
) -> list[tuple[_Track, _Sight]]:
    """Find tracked people near their last region."""
    near = [track for track in tracks if moment - track.last <= _FOLLOWED]
    looks = [(track, _look(picture, track.region, find_points)) for track in near]
    return [(track, sight) for track, sight in looks if sight is not None]


def _found(
    tracks: list[_Track],
    seen: list[tuple[_Track, _Sight]],
    moment: int,
    picture: Image,
    detect: Detector,
    find_points: Landmarker,
) -> list[tuple[_Track, _Sight]]:
    """Detect people who are not tracked yet."""
    square, scale, shift = letterbox(picture)
    new: list[tuple[_Track, _Sight]] = []
    for person in decode(*detect(square), scale, shift)[:_MAX_TRACKS]:
        if any(person.region.distance(sight.region) < _SAME_PLACE for _, sight in seen + new):
            continue
        sight = _look(picture, person.region, find_points)
        if sight is not None:
            track = _returning(tracks, seen + new, person.region, moment)
            new.append((track or _Track(person.region, person.region, moment), sight))
    return new


def _follow_back(
    track: _Track, tracks: list[_Track], pictures: Sequence[Image], find_points: Landmarker
) -> None:
    """Track a person backwards from the first detection in a part, as they may have been visible before."""
    first = min(track.bodies)
    region = track.start
    for moment in range(first - 1, -1, -1):
        sight = _look(pictures[moment], region, find_points)
        others = [t.bodies[moment] for t in tracks if t is not track and moment in t.bodies]
        if sight is None or any(_same_body(sight.points, other) for other in others):
            return
        track.bodies[moment] = sight.points
        region = sight.region


def _look(picture: Image, region: Region, find_points: Landmarker) -> _Sight | None:
    """Find a body in a region; None if there is none."""
    if not _MIN_SIDE <= region.side <= _MAX_SIDE * max(picture.shape):
        return None
    points, presence = find_points(cut(picture, region))
    if presence < _MIN_PRESENCE:
        return None
    placed = place(points[:, :2], region)
    confidence = points[:NUM_POINTS, 2] * presence
    return _Sight(np.column_stack([placed[:NUM_POINTS], confidence]), presence, next_region(placed))


def _returning(
    tracks: list[_Track], seen: list[tuple[_Track, _Sight]], region: Region, moment: int
) -> _Track | None:
    """Return the track of a person who was lost near a region recently."""
    busy = [track for track, _ in seen]
    lost = [track for track in tracks if track not in busy and moment - track.last <= _REMEMBERED]
    near = [track for track in lost if track.region.distance(region) < _CAME_BACK]
    return min(near, key=lambda track: track.region.distance(region), default=None)


def _without_doubles(seen: list[tuple[_Track, _Sight]]) -> list[tuple[_Track, _Sight]]:
    """Keep only the most confident of several tracks on the same body."""
    kept: list[tuple[_Track, _Sight]] = []
    for track, sight in sorted(seen, key=lambda pair: -pair[1].presence):
        if not any(_same_body(sight.points, other.points) for _, other in kept):
            kept.append((track, sight))
    return kept


def _same_body(one: Floats, other: Floats) -> bool:
    first, second = one[:, :2], other[:, :2]
    trunk = float(np.linalg.norm(first[_SHOULDERS].mean(0) - first[_HIPS].mean(0)))
    apart = float(np.linalg.norm(first[_JOINTS] - second[_JOINTS], axis=1).mean())
    return apart < _SAME_BODY * max(trunk, 1.0)
