"""The loop, on a fake clock: the same events as `spans`, each reported once, at the right time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.films import write_film
from vidlstm.config import ModelConfig, SpanConfig
from vidlstm.engine.extraction import people
from vidlstm.engine.extraction.films.reading import FilmDescriber, FilmEncoder, film_spec
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.live import watch as watch_module
from vidlstm.engine.live.events import LiveEvent, LiveState
from vidlstm.engine.live.feed import Ended, Item, Lost, Opened
from vidlstm.engine.live.watch import WatchSettings, watch
from vidlstm.engine.prediction.films import FilmScores
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.engine.spans.smoothing import SpanRules, Timeline, find_spans
from vidlstm.engine.spans.windows import CellScorer, WindowGrid
from vidlstm.errors import SourceError
from vidlstm.features.batches import ClipFeatures
from vidlstm.media.descriptors import pose
from vidlstm.media.films import read_film
from vidlstm.media.live.sources import LiveFrame
from vidlstm.media.people.packing import pack
from vidlstm.media.video.open import open_video
from vidlstm.models.backends.protocol import ClipScores
from vidlstm.records import Span

CONFIG = ModelConfig(
    "video",
    ("background", "rise", "sink"),
    ("motion",),
    views=1,
    mirror=False,
    members=1,
    spans=SpanConfig((2.0, 4.0), "background", 2.0),
)
WALL = 1_764_101_000.0  # seconds since 1970 when the fake clock is at 0


def score(clips: Sequence[ClipFeatures]) -> ClipScores:
    """Distinguish rising from sinking by the directions of the flow."""
    rows = []
    for clip in clips:
        flow = clip.sequences["motion"][0, 0].astype(np.float64).reshape(-1, 16, 8).mean(axis=(0, 1))
        weights = np.exp(np.array([0.5, 6 * flow[6], 6 * flow[2]]))
        rows.append(weights / weights.sum())
    return np.array(rows), np.zeros(len(clips))


LABELLER = Labeller(CONFIG, None, score)


class Script:
    """Returns items when they are due, and moves the clock to that time."""

    def __init__(self, items: Sequence[tuple[float, Item]], takes: float = 0.0) -> None:
        self.now = 0.0
        self.num_dropped = 0
        self._items = deque(items)
        self._takes = takes

    def take(self, timeout: float) -> Item | None:
        self.now += self._takes
        if self._items[0][0] > self.now + timeout:
            self.now += timeout
            return None
        due, item = self._items.popleft()
        while isinstance(item, LiveFrame) and self._items and self._items[0][0] < self.now:
            if not isinstance(self._items[0][1], LiveFrame):
                break
            due, item = self._items.popleft()
            self.num_dropped += 1
        self.now = max(self.now, due)
        return item

    def run(self, settings: WatchSettings) -> Iterator[Any]:
        return watch(LABELLER, self, settings, clock=lambda: self.now, wall=lambda: WALL + self.now)


def frames_of(path: Path, begin: float = 0.0) -> list[tuple[float, LiveFrame]]:
    found = []
    with open_video(path) as video:
        while True:
            shown = begin + video.seconds
            found.append((shown, LiveFrame(video.seconds, shown, video.image().copy())))
            if not video.step():
                return found


def spans_of(path: Path, rules: SpanRules) -> list[Span]:
    """Return the spans that `spans` finds in the film."""
    request = ReadRequest.of(CONFIG, views=1)
    grid, scores = WindowGrid.of(CONFIG), FilmScores(LABELLER)
    scorer, encode = CellScorer(CONFIG, grid, scores.of_windows), FilmEncoder(request, None)
    seconds, describe = 0.0, FilmDescriber(request)
    for clip in read_film(path, film_spec(request, grid.rate)):
        scorer.add(encode(describe(clip)))
        seconds = clip.info.seconds or 0.0
    timeline = Timeline(scorer.finish(scores.of_clips), grid.cell, seconds)
    return find_spans(timeline, scores.classes, scores.idle, 2.0, rules)


def events_of(items: Iterator[Any]) -> list[LiveEvent]:
    return [item for item in items if isinstance(item, LiveEvent)]


def shape(spans: Sequence[Span | LiveEvent], shift: float = 0.0) -> list[tuple[Any, ...]]:
    assert all(s.start is not None and s.end is not None for s in spans)
    return [(s.label, pytest.approx(s.start + shift), pytest.approx(s.end + shift)) for s in spans]  # type: ignore[operator]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.avi"
    write_film(path, 1)  # 27 s, four actions
    return path


@pytest.mark.parametrize("every", [0.1, 0.5, 3.0])
@pytest.mark.parametrize("rules", [SpanRules(), SpanRules(min_duration=2.6, max_gap=1.0)])
def test_a_film_gives_the_events_of_its_spans(film: Path, every: float, rules: SpanRules) -> None:
    expected = spans_of(film, rules)
    assert len(expected) >= 2
    script = Script([(0.0, Opened(8.0)), *frames_of(film), (27.0, Ended())])
    events = events_of(script.run(WatchSettings(every=every, rules=rules)))
    assert shape([e for e in events if e.event == "end"]) == shape(expected)
    assert [e.event for e in events] == ["start", "end"] * len(expected)
    assert all(
        a.label == b.label and a.start == b.start for a, b in zip(events[::2], events[1::2], strict=True)
    )


def test_people_are_followed_live(film: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The `pose` stream reads the same key points as in a film, even if moments arrive in small parts."""

    class Walker:
        def __init__(self, networks: Path, people: int) -> None:
            assert (networks, people) == (tmp_path, 2)
            self.moment = 0

        def find(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            assert pictures.shape[1:] == (48, 64, 3)
            start, self.moment = self.moment, self.moment + len(pictures)
            points = np.random.default_rng(0).uniform(0, 40, (33, 3)).astype(np.float32)
            track = {m: points + np.float32(start + m) / 8 for m in range(len(pictures))}
            return pack({0: track}, len(pictures), (0, 0))

    seen: list[NDArray[Any]] = []

    def score_and_keep(clips: Sequence[ClipFeatures]) -> ClipScores:
        seen.extend(clip.sequences["pose"] for clip in clips)
        return score(clips)

    monkeypatch.setattr(people, "FilmPeople", Walker)
    monkeypatch.setattr(watch_module, "write_networks", lambda _: tmp_path)
    labeller = Labeller(replace(CONFIG, streams=("motion", "pose")), None, score_and_keep)
    script = Script([(0.0, Opened(8.0)), *frames_of(film), (27.0, Ended())])
    settings = WatchSettings(every=0.5)
    events = events_of(watch(labeller, script, settings, clock=lambda: script.now, wall=lambda: WALL))
    assert [e.label for e in events] == [
        e.label
        for e in events_of(Script([(0.0, Opened(8.0)), *frames_of(film), (27.0, Ended())]).run(settings))
    ]
    assert {steps.shape for steps in seen} >= {(1, 1, 16, pose.width(2))}
    middle = [steps[0, 0, 8, :26] for steps in seen if steps.shape[2] == 16]
    assert len(middle) > 40
    assert np.allclose(middle, middle[0], atol=0.02)  # posture is constant for a walking person


def test_a_row_comes_as_soon_as_it_is_certain(film: Path) -> None:
    script = Script([(0.0, Opened(8.0)), *frames_of(film), (27.0, Ended())])
    for item in script.run(WatchSettings(every=0.5)):
        if isinstance(item, LiveEvent):
            moment = item.start if item.event == "start" else item.end
            assert moment is not None
            assert item.time == pytest.approx(WALL + moment)
            assert item.delay == pytest.approx(script.now - moment)
            assert item.lag <= 0.5 + 1e-6  # no computing time here, so at most `every`


def test_with_a_delay_a_row_comes_sooner(film: Path) -> None:
    def delays(delay: float | None) -> list[float]:
        script = Script([(0.0, Opened(8.0)), *frames_of(film), (27.0, Ended())])
        events = events_of(script.run(WatchSettings(every=0.5, delay=delay)))
        assert [e.event for e in events] == ["start", "end"] * (len(events) // 2)
        return [e.delay for e in events if e.event == "start"]

    assert np.median(delays(1.0)) < np.median(delays(None)) - 0.5
    assert max(delays(1.0)) <= 1.0 + 2 * 0.5 + 0.5 + 1e-6


def test_every_frame_is_passed_on_and_the_state_at_each_tick(film: Path) -> None:
    frames = frames_of(film)
    script = Script([(0.0, Opened(8.0)), *frames, (27.0, Ended())])
    items = list(script.run(WatchSettings(every=0.5, preview=True)))
    assert sum(isinstance(item, LiveFrame) for item in items) == len(frames)
    states = [item for item in items if isinstance(item, LiveState)]
    assert len(states) == pytest.approx(27 / 0.5, abs=2)
    assert all(state.fps == pytest.approx(8) for state in states[2:])
    assert all(0 <= state.lag <= 1 / 8 + 1e-6 for state in states)
    assert {s.label for s in states[20].top} == set(CONFIG.classes)
    assert sum(s.score for s in states[20].top) == pytest.approx(1)
    assert {"rise", "sink", None} == {state.label for state in states}
    script = Script([(0.0, Opened(8.0)), *frames, (27.0, Ended())])
    assert all(not i.top for i in script.run(WatchSettings()) if isinstance(i, LiveState))


def test_every_moment_is_encoded_once_however_often_the_heads_run(film: Path) -> None:
    class Encoder:
        digest = "none"
        num_frames = 0

        def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
            self.num_frames += len(pictures)
            return pictures.reshape(len(pictures), -1)[:, :5].astype(np.float16)

    encoder = Encoder()
    labeller = replace(LABELLER, config=replace(CONFIG, streams=("rgb", "motion")), encoder=encoder)
    script = Script([(0.0, Opened(8.0)), *frames_of(film), (27.0, Ended())])
    settings = WatchSettings(every=0.1, delay=0.0, preview=True)
    for _ in watch(labeller, script, settings, clock=lambda: script.now, wall=lambda: script.now):
        pass
    assert encoder.num_frames == 27 * 4  # every second moment of 8 per second


def test_a_slow_loop_drops_frames_and_counts_them(film: Path) -> None:
    script = Script([(0.0, Opened(8.0)), *frames_of(film), (27.0, Ended())], takes=0.2)
    items = list(script.run(WatchSettings()))
    dropped = [item.dropped for item in items if isinstance(item, LiveEvent)]
    assert dropped[-1] > 50
    assert dropped == sorted(dropped)
    assert max(item.lag for item in items if isinstance(item, LiveState)) < 0.5  # the lag does not grow


def test_a_lost_source_ends_open_spans_and_starts_again(film: Path) -> None:
    frames = frames_of(film)
    cut = next(n for n, (due, _) in enumerate(frames) if due > 4.9)  # in the first action
    again = frames_of(film, begin=20.0)
    items: list[tuple[float, Item]] = [(0.0, Opened(8.0)), *frames[:cut]]
    items += [(7.0, Lost("cable out")), (20.0, Opened(8.0)), *again]
    script = Script([*items, (47.0, Ended())])
    events = events_of(script.run(WatchSettings()))
    kinds = [e.event for e in events]
    lost, back = kinds.index("lost"), kinds.index("back")
    assert kinds[:lost] == ["start", "end"] * (lost // 2)
    assert lost >= 2
    assert back == lost + 1
    assert events[lost].reason == "cable out"
    assert events[lost].time == pytest.approx(WALL + frames[cut - 1][0])
    assert events[back].time == pytest.approx(WALL + 20)
    ended = [e for e in events[back:] if e.event == "end"]
    assert shape(ended) == shape(spans_of(film, SpanRules()), shift=20)


def test_jumping_times_start_a_new_film(film: Path) -> None:
    frames = frames_of(film)
    later = [(due + 27.0, LiveFrame(f.seconds + 1000, f.shown + 27.0, f.image)) for due, f in frames]
    script = Script([(0.0, Opened(8.0)), *frames, *later, (54.0, Ended())])
    ended = [e for e in events_of(script.run(WatchSettings())) if e.event == "end"]
    once = spans_of(film, SpanRules())
    assert shape(ended) == shape(once) + shape(once, shift=27.0)


def test_open_spans_end_before_an_error_is_raised(film: Path) -> None:
    frames = [f for f in frames_of(film) if f[0] < 5.5]
    script = Script([(0.0, Opened(8.0)), *frames, (5.5, Ended(SourceError("damaged")))])
    found: list[LiveEvent] = []
    with pytest.raises(SourceError, match="damaged"):
        found.extend(item for item in script.run(WatchSettings()) if isinstance(item, LiveEvent))
    assert [e.event for e in found][-1] == "end"
    assert found[-1].end == pytest.approx(5.5, abs=0.13)


def test_a_source_that_cannot_be_opened_gives_only_the_reason() -> None:
    script = Script([(0.1, Ended(SourceError("refused")))])
    with pytest.raises(SourceError, match="refused"):
        list(script.run(WatchSettings()))
