"""The newest frame of a source: a thread reads the source and reopens it when it is lost.

The consumer always gets the newest frame. Only one frame is buffered: frames that arrive while the consumer
is busy are dropped and counted. Events of the source itself are never dropped.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vidlstm.errors import SourceError, VidlstmError
from vidlstm.media.live.sources import LiveFrame, Source

FIRST_PAUSE, LONGEST_PAUSE, PAUSE_GROWTH = 1.0, 30.0, 1.5
"""Seconds to wait before reopening a lost source, and the growth factor (exponential backoff). A source that
was away for at most 13 s is retried within 5 s of its return."""
_POLL_SECONDS = 0.1  # between checks whether `end` was called


@dataclass(frozen=True)
class Opened:
    """The source was opened; `fps` is the rate it claims, 0 if it claims none."""

    fps: float


@dataclass(frozen=True)
class Lost:
    """The source was lost, with the reason."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """There are no more frames: the source has ended, or `end` was called.

    Args:
        error: Why the source could not be opened, or any other error that stopped reading.
    """

    error: VidlstmError | None = None


Item = LiveFrame | Opened | Lost | Ended


class Feed:
    """Reads a source in a thread.

    Args:
        open_source: Opens the source.
        reopens: Whether to reopen the source when it is lost.
    """

    def __init__(
        self, open_source: Callable[[], contextlib.AbstractContextManager[Source]], *, reopens: bool
    ) -> None:
        self._open = open_source
        self._reopens = reopens
        self._items: deque[Item] = deque()
        self._there = threading.Condition()
        self._ending = threading.Event()
        self._started = False
        self.num_dropped = 0
        """Frames that the consumer did not take."""

    def end(self) -> None:
        """Stop reading; may be called from a signal handler."""
        self._ending.set()

    def sleep(self, seconds: float) -> None:
        """Sleep, or return early once `end` is called; for sources played back by their timestamps."""
        self._ending.wait(seconds)

    def take(self, timeout: float) -> Item | None:
        """Return the next item, which may be the newest frame; None after `timeout` seconds."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, daemon=True).start()
        while not self._ending.is_set():
            with self._there:
                if self._items or self._there.wait(min(timeout, _POLL_SECONDS)):
                    return self._items.popleft()
            timeout -= _POLL_SECONDS
            if timeout <= 0:
                return None
        return Ended()

    def _put(self, item: Item) -> None:
        with self._there:
            if isinstance(item, LiveFrame) and self._items and isinstance(self._items[-1], LiveFrame):
                self._items[-1] = item
                self.num_dropped += 1
            else:
                self._items.append(item)
            self._there.notify()

    def _run(self) -> None:
        try:
            self._put(Ended(self._read()))
        except Exception as error:  # from a decoder: pass it on to the consumer
            self._put(Ended(SourceError(f"the source cannot be read: {type(error).__name__}: {error}")))

    def _read(self) -> VidlstmError | None:
        """Read until the source ends; return the error that ended it, or None for a normal end."""
        has_worked, is_there, pauses = False, False, _pauses()
        while not self._ending.is_set():
            try:
                with self._open() as source:
                    self._put(Opened(source.fps))
                    for frame in source.frames:
                        if self._ending.is_set():
                            return None
                        if not is_there:
                            has_worked, is_there, pauses = True, True, _pauses()
                        self._put(frame)
                return None
            except VidlstmError as error:
                if not (self._reopens and has_worked):
                    return error
                if is_there:
                    self._put(Lost(str(error)))
                is_there = False
            self._ending.wait(next(pauses))
        return None


def _pauses() -> Iterator[float]:
    """Yield the seconds to wait before each attempt to reopen."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
