"""Jobs for a pool of processes, and results that arrive in parts."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from vidlstm.errors import InputError

GLANCE = 0.1
"""Interval for checking whether the run should end, in seconds."""
_PARTS = 2  # maximum number of waiting parts per film

R = TypeVar("R")


@dataclass(frozen=True)
class Job(Generic[R]):
    """A task on one file, for another process.

    Args:
        path: The file.
        work: The task; must be picklable, such as a `functools.partial` of a module's function.
        in_parts: `work` returns an iterator, and `DecodePool.run` yields a `Parts` of its items; the time
            limit applies to each item.
    """

    path: Path
    work: Callable[[], R]
    in_parts: bool = False


class AbandonedError(Exception):
    """Nobody waits for a result any more, so what has arrived of it is incomplete."""


class Parts(Generic[R]):
    """The result of a job in parts, as they arrive: an iterator, which an `InputError` may end.

    Args:
        abandoned: Event that ends it early.
    """

    def __init__(self, abandoned: threading.Event) -> None:
        self._queue: queue.Queue[R | InputError | None] = queue.Queue(_PARTS)
        self._abandoned = abandoned
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[R]:
        """Yield the parts, in order.

        Raises:
            InputError: The file cannot be used beyond this point.
            AbandonedError: The event was set before the last part.
        """
        try:
            while not self._abandoned.is_set():
                try:
                    part = self._queue.get(timeout=GLANCE)
                except queue.Empty:
                    continue
                if part is None:
                    return
                if isinstance(part, InputError):
                    raise part
                yield part
            raise AbandonedError
        finally:
            self.close()

    def close(self) -> None:
        """Accept no more parts."""
        self._closed.set()

    def fill(self, parts: Iterable[R | InputError]) -> bool:
        """Add parts; return False if they are no longer needed."""
        return all(self._put(part) for part in parts) and self._put(None)

    def _put(self, part: R | InputError | None) -> bool:
        while not (self._closed.is_set() or self._abandoned.is_set()):
            with contextlib.suppress(queue.Full):
                self._queue.put(part, timeout=GLANCE)
                return True
        return False
