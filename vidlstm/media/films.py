"""Read a film as a stream: the frames at the moments of a time grid, in order, a few at a time.

The grid has a moment every `1 / rate` seconds of presentation time. The frame of a moment is the first one
shown at or after it, for constant and variable frame rates alike. If there are fewer frames than moments,
one frame serves several. Every frame is decoded once, and memory does not grow with the length of the film.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.errors import FailureCode, InputError
from vidlstm.media.clips import Clip, clip_info
from vidlstm.media.descriptors.motion import small_grey, small_size
from vidlstm.media.file_types import Limits
from vidlstm.media.frame_pairs import PairSpec
from vidlstm.media.resize import WholePictures, square
from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import Image, Video
from vidlstm.media.video.open import ATTEMPTS, DoubtError, open_video
from vidlstm.records import ClipInfo

CHUNK = 64
"""Maximum number of moments in a part."""
_PICTURE_CHUNK = 32
"""The same for whole pictures: up to three parts are in memory, and a picture of 640x360 takes 0.7 MB."""
_MAX_GAP = 600.0  # maximum plausible gap between two frames, in seconds
_RECENT = 8  # frames kept for the last moments of a film, which have no later neighbour


@dataclass(frozen=True)
class FilmSpec:
    """What to read from a film.

    Args:
        rate: Moments per second.
        size: Side of the square frames, in pixels; None: no square frames.
        pairs: Frame pairs to read at every moment; None: no pairs.
        every: Read square frames only at every n-th moment.
        picture_side: Longest side of the whole pictures read at every moment, in pixels; None: no pictures.
    """

    rate: float
    size: int | None = 224
    pairs: PairSpec | None = None
    every: int = 2
    picture_side: int | None = None


@dataclass
class _Moment:
    """One moment of the grid, waiting for its neighbour."""

    number: int
    seconds: float
    frame: Image | None
    grey: Image | None
    picture: Image | None
    pair: tuple[Image, Image] | None = None
    pair_seconds: float = 0.0


def read_film(path: Path, spec: FilmSpec, limits: Limits | None = None) -> Iterator[Clip]:
    """Yield the moments of a film's grid, in parts of `CHUNK` and the rest at the end.

    Each part is a `Clip` of one view. `info` describes the film so far; in the last part, the whole film.

    Raises:
        InputError: The film cannot be used; the code gives the reason.
    """
    limits = limits or Limits()
    done = 0
    for selective, num_threads in ATTEMPTS:
        try:
            for part in _read(path, spec, limits, done, selective, num_threads):
                done += len(part.times)
                yield part
            return
        except DoubtError:  # concerns only moments not yielded yet
            continue


def _read(
    path: Path, spec: FilmSpec, limits: Limits, first: int, selective: bool, num_threads: int | None
) -> Iterator[Clip]:
    with open_video(path, limits, seek=False, selective=selective, num_threads=num_threads) as video:
        if video.times is not None:
            _check_gap(path, float(np.diff(video.times, prepend=0).max()))
        grid = MomentGrid(spec, video.info.fps, video.image().shape[:2], first)
        targets = _targets(grid, video)
        last_seconds = 0.0
        chunk = CHUNK if spec.picture_side is None else _PICTURE_CHUNK
        while True:
            _check_gap(path, video.seconds - last_seconds)
            last_seconds = video.seconds
            may_be_last = video.times is None or video.index >= len(video.times) - _RECENT
            grid.see(video.seconds, video.image, may_be_last=may_be_last)
            # Keep one part back: with several threads, damage may be reported some frames late.
            while grid.num_ready() > 2 * chunk:
                yield grid.take(chunk, replace(clip_info(video, video.index + 1), problem=None))
            if not video.goto(next(targets)):
                break
        grid.end()
        while grid.num_ready() > chunk:
            yield grid.take(chunk, replace(clip_info(video, video.index + 1), problem=None))
        yield grid.take(grid.num_ready(), clip_info(video, video.index + 1))


def _check_gap(path: Path, seconds: float) -> None:
    if seconds > _MAX_GAP:
        raise InputError(path, FailureCode.READ_ERROR, f"its times jump by {seconds:.0f} s")


def _targets(grid: MomentGrid, video: Video) -> Iterator[int]:
    """Yield the frames to read: all, or, if their times are known, only those that are needed."""
    if video.times is not None:
        yield from _looked_at(grid, video, video.times)
    while True:
        yield video.index + 1


def _looked_at(grid: MomentGrid, video: Video, times: NDArray[np.float64]) -> Iterator[int]:
    moments = np.arange(math.floor((times[-1] + grid.slack) * grid.spec.rate) + 1) / grid.spec.rate
    shown = np.searchsorted(times, moments - grid.slack)
    wanted = [shown, np.arange(max(0, len(times) - _RECENT), len(times))]
    if grid.spec.pairs is not None:
        wanted.append(np.searchsorted(times, times[shown] + grid.gap))
    stops = np.unique(np.concatenate(wanted))
    stops = stops[stops < len(times)]
    video.expect(stops[::-1].tolist())
    yield from stops[stops > 0].tolist()


class MomentGrid:
    """Collects the moments of a film or live stream from its frames in order.

    Args:
        spec: What to read.
        fps: Frames per second according to the header.
        shape: Height and width of the first frame.
        first: Number of the first moment to collect.
    """

    def __init__(self, spec: FilmSpec, fps: float, shape: Sequence[int], first: int = 0) -> None:
        self.spec = spec
        self._first = first
        # Times in files are rounded, so a frame may be up to a quarter of a frame early.
        self.slack = 0.25 / max(known_fps(fps), spec.rate)
        self.gap = math.inf if spec.pairs is None else spec.pairs.seconds - self.slack
        self._size = small_size(shape, spec.pairs.side) if spec.pairs else (1, 1)
        self._to_picture = None if spec.picture_side is None else WholePictures(spec.picture_side)
        self._next = 0
        self._moments: deque[_Moment] = deque()
        self._recent: deque[tuple[float, Image]] = deque(maxlen=_RECENT)

    def see(self, seconds: float, image: Callable[[], Image], *, may_be_last: bool = True) -> None:
        """Take the next frame.

        Args:
            seconds: Its time since the first frame.
            image: Returns the frame, uint8 BGR `(H, W, 3)`; called only if it is needed.
            may_be_last: Whether it may be one of the last frames, which the last moments need as neighbours.
        """
        due = [m for m in self._moments if m.pair is None and seconds - m.seconds >= self.gap]
        numbers = []
        while self._next / self.spec.rate <= seconds + self.slack:
            if self._next >= self._first:
                numbers.append(self._next)
            self._next += 1
        if not due and not numbers and not may_be_last:
            return
        whole_image = image()
        grey = self._reduced(whole_image)
        for moment in due:
            if moment.grey is not None and grey is not None:
                moment.pair, moment.pair_seconds = (moment.grey, grey), seconds - moment.seconds
        size = self.spec.size
        frame: Image | None = None
        picture: Image | None = None
        if numbers and self._to_picture is not None:
            picture = self._to_picture(whole_image)
        for number in numbers:
            wanted = size is not None and number % self.spec.every == 0
            if wanted and frame is None:
                frame = square(whole_image, size or 0)
            self._moments.append(_Moment(number, seconds, frame if wanted else None, grey, picture))
        if grey is not None:
            self._recent.append((seconds, grey))

    def end(self) -> None:
        """Pair the last moments with an earlier neighbour, as there is no later one."""
        for moment in self._moments:
            if moment.pair is not None or moment.grey is None:
                continue
            others = [r for r in self._recent if r[0] != moment.seconds] or [(moment.seconds, moment.grey)]
            near = [r for r in others if abs(r[0] - moment.seconds) >= self.gap]
            if near:
                seconds, grey = min(near, key=lambda r: abs(r[0] - moment.seconds))
            else:
                seconds, grey = max(others, key=lambda r: abs(r[0] - moment.seconds))
            earlier = seconds < moment.seconds
            moment.pair = (grey, moment.grey) if earlier else (moment.grey, grey)
            moment.pair_seconds = abs(seconds - moment.seconds)

    def num_ready(self) -> int:
        """Return the number of complete moments before the first incomplete one."""
        if self.spec.pairs is None:
            return len(self._moments)
        return next((n for n, m in enumerate(self._moments) if m.pair is None), len(self._moments))

    def take(self, number: int, info: ClipInfo) -> Clip:
        """Remove and return the first moments.

        Args:
            number: Number of moments, at most `num_ready`.
            info: Facts about the film so far.
        """
        moments = [self._moments.popleft() for _ in range(number)]
        size = self.spec.size or 0
        frames = [m.frame for m in moments if m.frame is not None]
        pairs = [m.pair for m in moments if m.pair is not None]
        pictures = [m.picture for m in moments if m.picture is not None]
        has_pairs = self.spec.pairs is not None
        return Clip(
            frames=np.stack(frames) if frames else np.zeros((0, size, size, 3), np.uint8),
            frame_table=np.arange(len(frames), dtype=np.int64)[None],
            times=np.array([m.seconds for m in moments]),
            table=np.arange(len(moments), dtype=np.int64)[None],
            pairs=np.array(pairs, np.uint8).reshape(-1, 2, *self._size[::-1]) if has_pairs else None,
            pair_seconds=np.array([m.pair_seconds for m in moments]) if has_pairs else None,
            info=info,
            pictures=np.stack(pictures) if pictures else None,
        )

    def _reduced(self, image: Image) -> Image | None:
        if self.spec.pairs is None:
            return None
        return small_grey(image, *self._size)
