"""Follow people through a clip: who is where, with which key points, at each moment.

A person is looked for where the key points of the moment before say (as BlazePose does), and the
detector, which costs as much as a person, looks for others every few moments only, or as soon as fewer
are seen than are wanted. Two tracks that land on one body become one again.
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
"""Moments from one look of the detector to the next while everybody wanted is seen."""

_MIN_PRESENCE = 0.5
_MOST = 4
"""People that are followed at once."""

_FOLLOWED = 3
"""Moments for which somebody lost is still looked for where they were."""

_REMEMBERED = 8
"""Moments after which a person who comes back is somebody new."""

_BRIGHTNESS, _CONTRAST, _MAX_GAIN = 120.0, 60.0, 4.0
"""Mean and standard deviation, in grey levels, that pictures are brought to, by so much gain at most."""

_MIN_SIDE, _MAX_SIDE = 16, 4
"""Of a region: in pixels, and in sides of the picture; others hold nothing that can be read."""

_SAME_PLACE = 0.2
"""Distance of two regions' middles, in sides, below which they are the same person's."""

_CAME_BACK = 0.5
_SAME_BODY = 0.35
"""Mean distance of two bodies' joints, in lengths of the trunk, below which they are one."""

_SHOULDERS, _HIPS = [11, 12], [23, 24]
_JOINTS = [11, 12, 13, 14, 23, 24, 25, 26]

Floats = NDArray[np.float32]

Detector = Callable[[Image], tuple[Floats, Floats]]
"""From `(224, 224, 3)` RGB to the answers `(2254, 12)` and their logits `(2254,)`."""

Landmarker = Callable[[Image], tuple[Floats, float]]
"""From `(256, 256, 3)` RGB to points `(39, 3)`, x and y in its pixels and how likely each is seen, and
how likely a person is there."""


@dataclass(frozen=True)
class _Sight:
    """A person at one moment.

    Args:
        points: float32 `(33, 3)`: x and y in pixels of the picture, and how sure each is, 0 to 1.
        presence: How sure it is that this is a person, 0 to 1.
        region: Where they will be looked for next.
    """

    points: Floats
    presence: float
    region: Region


@dataclass(eq=False)
class _Track:
    start: Region  # where they are looked for before they were detected
    region: Region  # where they are looked for next
    last: int  # moment at which they were seen
    bodies: dict[int, Floats] = field(default_factory=dict)


def follow(
    pictures: Sequence[Image],
    detect: Detector,
    find_points: Landmarker,
    *,
    wanted: int = 2,
    detect_every: int = DETECT_EVERY,
) -> list[dict[int, Floats]]:
    """Follow the people of a clip.

    Args:
        pictures: RGB `(H, W, 3)`, in time order.
        detect: The detector.
        find_points: The landmark network.
        wanted: People; with fewer in sight the detector looks at every moment.
        detect_every: Moments between its looks otherwise.

    Returns:
        Of every person who was seen, by moment, the key points: float32 `(33, 3)`, x and y in pixels
        of the picture, and how sure each is, 0 to 1.
    """
    tracks: list[_Track] = []
    pictures = _evened(pictures)
    for moment, picture in enumerate(pictures):
        seen = _followed(tracks, moment, picture, find_points)
        if moment % detect_every == 0 or len(seen) < wanted:
            seen += _found(tracks, seen, moment, picture, detect, find_points)
        for track, sight in _without_doubles(seen):
            if track not in tracks:
                track.start = sight.region
                tracks.append(track)
            track.region, track.last = sight.region, moment
            track.bodies[moment] = sight.points
    for track in tracks:
        _follow_back(track, tracks, pictures, find_points)
    return [track.bodies for track in tracks]


def _evened(pictures: Sequence[Image]) -> list[Image]:
    """Bring a clip to a middle brightness and contrast, the same way in all of its pictures.

    The networks know well-lit people: on UT-Interaction's darker clips 1.66 of 2 people were found so, and
    1.59 without.
    """
    some = np.stack([picture[::4, ::4] for picture in pictures]).astype(np.float32)
    gain = min(_CONTRAST / max(float(some.std()), 1.0), _MAX_GAIN)
    levels = np.clip((np.arange(256) - some.mean()) * gain + _BRIGHTNESS, 0, 255).astype(np.uint8)
    return [levels[picture] for picture in pictures]


def _followed(
    tracks: list[_Track], moment: int, picture: Image, find_points: Landmarker
) -> list[tuple[_Track, _Sight]]:
    """Look for everybody near where they were seen last."""
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
    """Let the detector look for people who are not followed."""
    square, scale, shift = letterbox(picture)
    new: list[tuple[_Track, _Sight]] = []
    for person in decode(*detect(square), scale, shift)[:_MOST]:
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
    """Go back from where somebody was first detected: they were there before, but less plain to see."""
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
    """Look for a body in a region; None where there is none."""
    if not _MIN_SIDE <= region.side <= _MAX_SIDE * max(picture.shape):
        return None
    points, presence = find_points(cut(picture, region))
    if presence < _MIN_PRESENCE:
        return None
    placed = place(points[:, :2], region)
    sure = points[:NUM_POINTS, 2] * presence
    return _Sight(np.column_stack([placed[:NUM_POINTS], sure]), presence, next_region(placed))


def _returning(
    tracks: list[_Track], seen: list[tuple[_Track, _Sight]], region: Region, moment: int
) -> _Track | None:
    """Return the track of somebody who was lost near a region not long ago."""
    busy = [track for track, _ in seen]
    lost = [track for track in tracks if track not in busy and moment - track.last <= _REMEMBERED]
    near = [track for track in lost if track.region.distance(region) < _CAME_BACK]
    return min(near, key=lambda track: track.region.distance(region), default=None)


def _without_doubles(seen: list[tuple[_Track, _Sight]]) -> list[tuple[_Track, _Sight]]:
    """Leave one track, the surest, of those that landed on the same body."""
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
