"""The loop behind `watch`: turns the frames of a live source into events.

Every processed frame passes once through the moment grid, the encoder and the windows of `spans`. Features of
recent moments are kept for no longer than the longest window; at each tick the heads run on the complete
windows. When the source is lost or its timestamps jump, the open span ends, and the frames that follow are
treated as a new film.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from vidlstm.engine.extraction.films.reading import FilmDescriber, FilmEncoder, film_spec
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.live.events import LiveEvent, LiveState
from vidlstm.engine.live.feed import Ended, Item, Lost, Opened
from vidlstm.engine.prediction.films import FilmScores
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.engine.spans.online import OnlineSpans, SpanEdge
from vidlstm.engine.spans.smoothing import SpanRules
from vidlstm.engine.spans.windows import CellScorer, WindowGrid
from vidlstm.media.films import MomentGrid
from vidlstm.media.live.sources import LiveFrame
from vidlstm.media.sampling import known_fps
from vidlstm.records import NOVELTY_RATE, ClipInfo, Score

GAP = 2.0
"""A gap of more than this many seconds between two frames starts a new film."""
_TOP = 3
_RATE_SECONDS = 5.0  # over which the frame rate is measured


class Frames(Protocol):
    """Interface of `Feed`: where the frames come from."""

    num_dropped: int

    def take(self, timeout: float) -> Item | None:
        """Return the next item; None after `timeout` seconds."""


@dataclass(frozen=True)
class WatchSettings:
    """Settings for `watch`.

    Args:
        every: Seconds between runs of the heads.
        delay: Maximum seconds until the label of a moment is decided; None: when it is certain, as in
            `spans`.
        rules: Which spans are reported.
        novelty_rate: Share of known clips that may be called unknown; 0 disables `unknown`.
        preview: Also score the windows that end now, for `LiveState.top`.
    """

    every: float = 0.5
    delay: float | None = None
    rules: SpanRules = field(default_factory=SpanRules)
    novelty_rate: float = NOVELTY_RATE
    preview: bool = False


def watch(
    labeller: Labeller,
    feed: Frames,
    settings: WatchSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> Iterator[LiveFrame | LiveEvent | LiveState]:
    """Watch a live source.

    Args:
        labeller: Labels the windows.
        feed: Provides the frames.
        settings: How to watch the source.
        clock: Current time on the clock of `LiveFrame.shown`.
        wall: Current time in seconds since the epoch (1970).

    Raises:
        UsageError: The model does not support films.
        SourceError: The source cannot be opened, or is damaged.

    Yields:
        Every processed frame, every event, and the status at each tick.
    """
    model = _Model.of(labeller, settings)
    return _Watch(model, feed, settings, clock, wall).run()


@dataclass(frozen=True)
class _Model:
    """Everything that the films of one source share."""

    labeller: Labeller
    grid: WindowGrid
    request: ReadRequest
    encode: FilmEncoder
    scores: FilmScores

    @staticmethod
    def of(labeller: Labeller, settings: WatchSettings) -> _Model:
        config = labeller.config
        networks = write_networks(labeller.pose)
        request = ReadRequest.of(config, views=config.views, pose_networks=networks)
        scores = FilmScores(labeller, settings.novelty_rate)
        return _Model(
            labeller, WindowGrid.of(config), request, FilmEncoder(request, labeller.encoder), scores
        )


@dataclass(frozen=True)
class _Edge:
    """A span started or ended; `shown` is when the frame that decided it was shown."""

    edge: SpanEdge
    shown: float


class _Film:
    """The frames of a source since it was opened, or since its timestamps last jumped.

    Args:
        model: Model that reads the film.
        settings: How to watch the source.
        first: First frame of the film.
        fps: Frame rate that the source claims.
        begin: Start of the film, in seconds since the very first frame of the source.
    """

    def __init__(
        self, model: _Model, settings: WatchSettings, first: LiveFrame, fps: float, begin: float
    ) -> None:
        config = model.labeller.config
        assert config.spans is not None
        self.begin = begin
        self.newest = first
        self.label: str | None = None
        self._model = model
        self._delay = settings.delay
        self._zero = first.seconds
        self._fps = known_fps(fps)
        spec = film_spec(model.request, model.grid.rate)
        self._describe = FilmDescriber(model.request)
        self._moments = MomentGrid(spec, self._fps, first.image.shape[:2])
        self._scorer = CellScorer(config, model.grid, model.scores.of_windows)
        self._spans = OnlineSpans(
            model.scores.classes,
            model.scores.idle,
            config.spans.switch_cost,
            settings.rules,
            model.grid.cell,
            settings.delay,
        )
        height, width = first.image.shape[:2]
        self._info = ClipInfo(0, None, width, height)
        self._num_cells = 0  # scored so far, including by truncated windows
        self._completed: deque[float] = deque()  # `shown` of the frame that completed each waiting cell

    @property
    def seconds(self) -> float:
        """Time of the newest frame, in seconds since the first one."""
        return self.newest.seconds - self._zero

    def follows(self, frame: LiveFrame) -> bool:
        """Return whether a frame belongs to the same film."""
        return 0 <= frame.seconds - self.newest.seconds <= GAP

    def see(self, frame: LiveFrame) -> None:
        """Process the next frame."""
        self.newest = frame
        self._moments.see(self.seconds, lambda: frame.image)
        self._encode()

    def tick(self) -> list[_Edge]:
        """Run the heads on the complete windows; return the spans that started or ended."""
        rows = self._scorer.take()
        edges: list[_Edge] = []
        for row in rows:
            shown = self._completed.popleft()
            edges += [_Edge(edge, shown) for edge in self._spans.add(row[None])]
        num_cells = self._scorer.num_moments // self._model.grid.step
        if self._delay is not None and num_cells > self._num_cells:
            self._num_cells = num_cells
            provisional = self._scorer.provisional()
            found = self._spans.add(provisional[:0], provisional)
            edges += [_Edge(edge, self.newest.shown) for edge in found]
        self._note(edges)
        return edges

    def finish(self) -> list[_Edge]:
        """End the film; return the spans that started or ended."""
        self._moments.end()
        self._encode()
        found = self._spans.add(self._scorer.finish(self._model.scores.of_clips))
        found += self._spans.finish(self.seconds + 1 / self._fps)
        edges = [_Edge(edge, self.newest.shown) for edge in found]
        self._note(edges)
        return edges

    def top(self) -> tuple[Score, ...]:
        """Return the best classes of the windows that end now; empty before the first moment."""
        if not self._scorer.num_moments:
            return ()
        scores = self._scorer.newest()
        best = np.argsort(-scores, kind="stable")[:_TOP]
        return tuple(Score(self._model.scores.classes[i], float(scores[i])) for i in best)

    def _encode(self) -> None:
        number = self._moments.num_ready()
        if not number:
            return
        clip = self._moments.take(number, self._info)
        before = self._scorer.num_complete
        self._scorer.add(self._model.encode(self._describe(clip)))
        self._completed += [self.newest.shown] * (self._scorer.num_complete - before)

    def _note(self, edges: list[_Edge]) -> None:
        for edge in edges:
            self.label = edge.edge.span.label if edge.edge.kind == "start" else None


class _Watch:
    """One source, from start to end."""

    def __init__(
        self,
        model: _Model,
        feed: Frames,
        settings: WatchSettings,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._model = model
        self._feed = feed
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._film: _Film | None = None
        self._fps = 0.0
        self._first_shown: float | None = None
        self._last_shown = 0.0
        self._is_lost = False
        self._times: deque[float] = deque()  # of the frames in the last `_RATE_SECONDS`

    def run(self) -> Iterator[LiveFrame | LiveEvent | LiveState]:
        tick = self._clock() + self._settings.every
        while True:
            item = self._feed.take(max(0.0, tick - self._clock()))
            if isinstance(item, LiveFrame):
                yield from self._see(item)
                yield item
            elif isinstance(item, Opened):
                self._fps = item.fps
            elif isinstance(item, Lost):
                yield from self._end_film()
                self._is_lost = True
                yield self._source_event("lost", item.reason)
            elif isinstance(item, Ended):
                yield from self._end_film()
                if item.error is not None:
                    raise item.error
                return
            if self._clock() >= tick:
                if self._film is not None:
                    yield from self._events(self._film, self._film.tick())
                if self._first_shown is not None:
                    yield self._state()
                tick = max(tick + self._settings.every, self._clock())

    def _see(self, frame: LiveFrame) -> Iterator[LiveEvent]:
        if self._film is not None and not self._film.follows(frame):
            yield from self._end_film()
        if self._first_shown is None:
            self._first_shown = frame.shown
        self._last_shown = frame.shown
        if self._is_lost:
            self._is_lost = False
            yield self._source_event("back")
        if self._film is None:
            begin = frame.shown - self._first_shown
            self._film = _Film(self._model, self._settings, frame, self._fps, begin)
        self._film.see(frame)
        self._times.append(self._clock())
        while self._times[-1] - self._times[0] > _RATE_SECONDS:
            self._times.popleft()

    def _end_film(self) -> Iterator[LiveEvent]:
        film, self._film = self._film, None
        if film is not None:
            yield from self._events(film, film.finish())

    def _events(self, film: _Film, edges: list[_Edge]) -> Iterator[LiveEvent]:
        for found in edges:
            kind, span = found.edge.kind, found.edge.span
            moment = span.start if kind == "start" else span.end
            ago = self._clock() - film.newest.shown + film.seconds - moment
            yield LiveEvent(
                event=kind,
                time=self._wall() - ago,
                label=span.label,
                score=span.score,
                start=film.begin + span.start,
                end=None if kind == "start" else film.begin + span.end,
                lag=self._clock() - found.shown,
                delay=ago,
                dropped=self._feed.num_dropped,
            )

    def _source_event(self, kind: Literal["lost", "back"], reason: str | None = None) -> LiveEvent:
        ago = self._clock() - self._last_shown
        time = self._wall() - ago
        return LiveEvent(kind, time, None, None, None, None, ago, ago, self._feed.num_dropped, reason)

    def _state(self) -> LiveState:
        film, times = self._film, self._times
        long = times[-1] - times[0] if len(times) > 1 else 0.0
        return LiveState(
            fps=(len(times) - 1) / long if long and not self._is_lost else 0.0,
            lag=self._clock() - self._last_shown,
            dropped=self._feed.num_dropped,
            top=film.top() if film is not None and self._settings.preview else (),
            label=None if film is None else film.label,
            is_lost=self._is_lost,
        )
