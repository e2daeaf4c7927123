"""The newest frame of a source: a thread reads it, and opens it again when it is lost.

Whoever takes frames gets the newest one. There is room for one: those that come while nobody takes any are
dropped, and counted. What happens to the source itself is never dropped.
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
"""Seconds before a lost source is opened again, and how they grow: a source that was away for 13 s at most is
tried again within 5 s of its return."""
_GLANCE = 0.1  # seconds between looks at whether it shall end


@dataclass(frozen=True)
class Opened:
    """The source was opened; `fps` is what it claims, 0 for nothing."""

    fps: float


@dataclass(frozen=True)
class Lost:
    """The source was lost, and why."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """Nothing comes any more: the source has ended, or `end` was called.

    Args:
        error: Why the source could not be opened at all, or that something else went wrong.
    """

    error: VidlstmError | None = None


Item = LiveFrame | Opened | Lost | Ended


class Feed:
    """Reads a source in a thread.

    Args:
        open_source: Opens it.
        reopens: Open it again when it is lost.
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
        """Frames that nobody took."""

    def end(self) -> None:
        """Let it end; also for a signal's handler to call."""
        self._ending.set()

    def sleep(self, seconds: float) -> None:
        """Wait, unless it ends meanwhile; for a source that plays by its times."""
        self._ending.wait(seconds)

    def take(self, timeout: float) -> Item | None:
        """Return the next thing that happened, the newest frame among them; None if nothing does in time."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, daemon=True).start()
        while not self._ending.is_set():
            with self._there:
                if self._items or self._there.wait(min(timeout, _GLANCE)):
                    return self._items.popleft()
            timeout -= _GLANCE
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
        except Exception as error:  # of a decoder: whoever waits for frames shall know
            self._put(Ended(SourceError(f"the source cannot be read: {type(error).__name__}: {error}")))

    def _read(self) -> VidlstmError | None:
        """Read until it ends; return why, unless it ends by itself."""
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
    """Yield the seconds to wait before each attempt."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
