"""A film as a stream: the frames of one time grid, in order, a few at a time.

The grid has a moment every `1 / rate` seconds of the film's own presentation times. The frame of a moment
is the first that is shown then or later, as is right for any frame rate, a variable one too; where frames
are rarer than moments, one frame serves several. Every frame is decoded once, and what is held does not
grow with the length of the film.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.clips import Clip, clip_info
from vidlstm.media.file_types import Limits
from vidlstm.media.frame_pairs import PairSpec, resize, square
from vidlstm.media.opencv import cv2
from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import Image, Video
from vidlstm.media.video.h264_reader import DoubtError
from vidlstm.media.video.open import open_video

CHUNK = 64
"""Moments that come together."""
_MOST_GAP = 600.0  # seconds from one frame to the next beyond which times are not believed
_RECENT = 8  # frames kept for the moments at the end of a film, which have no later neighbour


@dataclass(frozen=True)
class FilmSpec:
    """What of a film is wanted.

    Args:
        rate: Moments a second.
        size: Side of the square frames, in pixels; None when no frames are wanted.
        pairs: Pairs of neighbouring frames wanted of every moment.
        every: Square frames are wanted of every so many moments only.
    """

    rate: float
    size: int | None = 224
    pairs: PairSpec | None = None
    every: int = 2


@dataclass
class _Moment:
    """One moment of the grid, while its neighbour is awaited."""

    number: int
    seconds: float
    frame: Image | None
    grey: Image | None
    pair: tuple[Image, Image] | None = None
    pair_seconds: float = 0.0


def read_film(path: Path, spec: FilmSpec, limits: Limits | None = None) -> Iterator[Clip]:
    """Yield the moments of a film's grid, `CHUNK` at a time and the rest at the end.

    Each part is a `Clip` of one view: `table` numbers its moments, `frame_table` its square frames. The
    film's moment 0 is the first of the first part. `info` is what is known so far; the last part's holds
    for the whole film.

    Raises:
        InputError: The film cannot be used, with the reason's code.
    """
    limits = limits or Limits()
    done = 0
    try:
        for part in _read(path, spec, limits, 0, selective=True):
            done += len(part.times)
            yield part
    except DoubtError:  # the frames so far are those of a full decode, and stand
        yield from _read(path, spec, limits, done, selective=False)


def _read(path: Path, spec: FilmSpec, limits: Limits, first: int, *, selective: bool) -> Iterator[Clip]:
    with open_video(path, limits, seek=False, selective=selective) as video:
        grid = _Grid(spec, video, first)
        targets = grid.targets()
        while True:
            grid.see()
            while grid.num_ready() > CHUNK:
                yield grid.take(CHUNK, is_last=False)
            if not video.goto(next(targets)):
                break
        grid.end()
        while grid.num_ready() > CHUNK:
            yield grid.take(CHUNK, is_last=False)
        yield grid.take(grid.num_ready(), is_last=True)


class _Grid:
    """Collects the moments of a film."""

    def __init__(self, spec: FilmSpec, video: Video, first: int) -> None:
        fps = known_fps(video.info.fps)
        self.spec = spec
        self.video = video
        self._first = first
        # Times are rounded in files: a quarter of a frame early is on time.
        self._slack = 0.25 / fps
        self._gap = math.inf if spec.pairs is None else spec.pairs.seconds - self._slack
        height, width = video.image().shape[:2]
        scale = min(1.0, spec.pairs.side / max(height, width)) if spec.pairs else 1.0
        self._shape = max(1, round(width * scale)), max(1, round(height * scale))
        self._next = 0
        self._last_seconds = 0.0
        self._moments: deque[_Moment] = deque()
        self._recent: deque[tuple[float, Image]] = deque(maxlen=_RECENT)

    def targets(self) -> Iterator[int]:
        """Yield the frames to go to: all, or where their times are known those that will be looked at."""
        times = self.video.times
        if times is None:
            while True:
                yield self.video.index + 1
        grid = np.arange(math.floor((times[-1] + self._slack) * self.spec.rate) + 1) / self.spec.rate
        shown = np.searchsorted(times, grid - self._slack)
        wanted = [shown, np.arange(max(0, len(times) - _RECENT), len(times))]
        if self.spec.pairs is not None:
            wanted.append(np.searchsorted(times, times[shown] + self._gap))
        stops = np.unique(np.concatenate(wanted))
        stops = stops[stops < len(times)]
        self.video.expect(stops[::-1].tolist())
        yield from stops[stops > 0].tolist()
        yield len(times)

    def see(self) -> None:
        """Look at the frame that the film stands on."""
        video = self.video
        seconds = video.seconds
        if seconds - self._last_seconds > _MOST_GAP:
            gap = seconds - self._last_seconds
            raise InputError(video.path, FailureCode.READ_ERROR, f"its times jump by {gap:.0f} s")
        self._last_seconds = seconds
        due = [m for m in self._moments if m.pair is None and seconds - m.seconds >= self._gap]
        numbers = []
        while self._next / self.spec.rate <= seconds + self._slack:
            if self._next >= self._first:
                numbers.append(self._next)
            self._next += 1
        if not due and not numbers and self._is_far_from_end():
            return
        image = video.image()
        grey = self._reduced(image)
        for moment in due:
            if moment.grey is not None and grey is not None:
                moment.pair, moment.pair_seconds = (moment.grey, grey), seconds - moment.seconds
        size = self.spec.size
        frame: Image | None = None
        for number in numbers:
            wanted = size is not None and number % self.spec.every == 0
            if wanted and frame is None:
                frame = square(image, size or 0)
            self._moments.append(_Moment(number, seconds, frame if wanted else None, grey))
        if grey is not None:
            self._recent.append((seconds, grey))

    def end(self) -> None:
        """Give the last moments an earlier neighbour, as there is no later one."""
        for moment in self._moments:
            if moment.pair is not None or moment.grey is None:
                continue
            others = [r for r in self._recent if r[0] != moment.seconds] or [(moment.seconds, moment.grey)]
            near = [r for r in others if abs(r[0] - moment.seconds) >= self._gap]
            if near:
                seconds, grey = min(near, key=lambda r: abs(r[0] - moment.seconds))
            else:
                seconds, grey = max(others, key=lambda r: abs(r[0] - moment.seconds))
            earlier = seconds < moment.seconds
            moment.pair = (grey, moment.grey) if earlier else (moment.grey, grey)
            moment.pair_seconds = abs(seconds - moment.seconds)

    def num_ready(self) -> int:
        """Return how many moments, from the first that is held, await nothing."""
        if self.spec.pairs is None:
            return len(self._moments)
        return next((n for n, m in enumerate(self._moments) if m.pair is None), len(self._moments))

    def take(self, number: int, *, is_last: bool) -> Clip:
        """Hand over some moments, from the first that is held."""
        moments = [self._moments.popleft() for _ in range(number)]
        info = clip_info(self.video, self.video.index + 1)
        size = self.spec.size or 0
        frames = [m.frame for m in moments if m.frame is not None]
        pairs = [m.pair for m in moments if m.pair is not None]
        has_pairs = self.spec.pairs is not None
        return Clip(
            frames=np.stack(frames) if frames else np.zeros((0, size, size, 3), np.uint8),
            frame_table=np.arange(len(frames), dtype=np.int64)[None],
            times=np.array([m.seconds for m in moments]),
            table=np.arange(len(moments), dtype=np.int64)[None],
            pairs=np.array(pairs, np.uint8).reshape(-1, 2, *self._shape[::-1]) if has_pairs else None,
            pair_seconds=np.array([m.pair_seconds for m in moments]) if has_pairs else None,
            info=info if is_last else replace(info, problem=None),
        )

    def _is_far_from_end(self) -> bool:
        """Tell whether a frame is not among the last ones, which the last moments may need."""
        video = self.video
        return video.times is None or video.index < len(video.times) - _RECENT

    def _reduced(self, image: Image) -> Image | None:
        if self.spec.pairs is None:
            return None
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        return resize(grey, *self._shape)
