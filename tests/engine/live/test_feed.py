"""The feed returns the newest frame, and never loses an event of the source."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest

from vidlstm.engine.live import feed as module
from vidlstm.engine.live.feed import Ended, Feed, Item, Lost, Opened
from vidlstm.errors import SourceError
from vidlstm.media.live.sources import LiveFrame, Source

IMAGE = np.zeros((2, 2, 3), np.uint8)


def frame(number: float) -> LiveFrame:
    return LiveFrame(float(number), float(number), IMAGE)


class Script:
    """A source that calls the next of some functions each time it is opened."""

    def __init__(self, *openings: Callable[[], Iterator[LiveFrame]]) -> None:
        self.openings = iter(openings)
        self.num_open = 0

    @contextlib.contextmanager
    def open(self) -> Iterator[Source]:
        self.num_open += 1
        yield Source(25.0, next(self.openings)())
        self.num_open -= 1


def taken(feed: Feed) -> list[Item]:
    """Return all items up to the end."""
    items: list[Item] = []
    while not (items and isinstance(items[-1], Ended)):
        item = feed.take(5.0)
        assert item is not None
        items.append(item)
    return items


def fails(reason: str) -> Callable[[], Iterator[LiveFrame]]:
    def frames() -> Iterator[LiveFrame]:
        yield from ()
        raise SourceError(reason)

    return frames


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)


def test_unused_frames_are_replaced_by_the_newest() -> None:
    go_on = threading.Event()

    def frames() -> Iterator[LiveFrame]:
        yield from map(frame, range(10))
        go_on.set()

    feed = Feed(Script(frames).open, reopens=False)
    assert feed.take(5.0) == Opened(25.0)
    assert go_on.wait(5.0)
    items = taken(feed)
    assert [i.seconds for i in items if isinstance(i, LiveFrame)][-1] == 9
    assert feed.num_dropped == 10 - (len(items) - 1)
    assert items[-1] == Ended()


def test_a_lost_source_is_reopened_and_reported_once() -> None:
    def once() -> Iterator[LiveFrame]:
        yield frame(1)
        raise SourceError("cable out")

    def back() -> Iterator[LiveFrame]:
        yield frame(2)

    script = Script(once, fails("no route"), fails("no route"), back)
    items = taken(Feed(script.open, reopens=True))
    assert [type(i) for i in items] == [Opened, LiveFrame, Lost, Opened, Opened, Opened, LiveFrame, Ended]
    assert items[2] == Lost("cable out")


def test_a_source_that_never_opened_is_not_retried() -> None:
    (first, ended) = taken(Feed(Script(fails("refused")).open, reopens=True))
    assert isinstance(first, Opened)
    assert isinstance(ended, Ended)
    assert str(ended.error) == "refused"


def test_a_source_that_cannot_be_reopened_ends_with_its_reason() -> None:
    def frames() -> Iterator[LiveFrame]:
        yield frame(1)
        raise SourceError("damaged")

    ended = taken(Feed(Script(frames).open, reopens=False))[-1]
    assert isinstance(ended, Ended)
    assert str(ended.error) == "damaged"


def test_other_decoder_failures_are_reported() -> None:
    def frames() -> Iterator[LiveFrame]:
        yield frame(1)
        raise ZeroDivisionError("by nought")

    ended = taken(Feed(Script(frames).open, reopens=True))[-1]
    assert isinstance(ended, Ended)
    assert str(ended.error) == "the source cannot be read: ZeroDivisionError: by nought"


def test_closing_does_not_wait() -> None:
    never = threading.Event()

    def frames() -> Iterator[LiveFrame]:
        yield frame(1)
        never.wait(60)

    feed = Feed(Script(frames).open, reopens=True)
    assert feed.take(5.0) == Opened(25.0)
    assert feed.take(5.0) == frame(1)
    assert feed.take(0.0) is None
    feed.end()
    assert feed.take(60.0) == Ended()
    never.set()


def test_pauses_grow_to_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 1.0)
    pauses = list(islice(module._pauses(), 12))
    assert pauses[:3] == [1.0, 1.5, 2.25]
    assert pauses[-1] == 30.0
    assert max(p for p, total in zip(pauses, np.cumsum(pauses), strict=True) if total < 13.2) <= 5.1
