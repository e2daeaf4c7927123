"""What a pool of processes is asked to do with a file, and what comes of it in parts."""

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
"""Seconds between looks at whether the run shall end."""
_PARTS = 2  # of one film that wait to be taken

R = TypeVar("R")


@dataclass(frozen=True)
class Job(Generic[R]):
    """Something to do with one file, in another process.

    Args:
        path: The file.
        work: Does it; must be picklable, such as a `functools.partial` of a module's function.
        in_parts: `work` gives an iterator, and what `DecodePool.run` gives is a `Parts` of its items, each
            of which may take the time limit.
    """

    path: Path
    work: Callable[[], R]
    in_parts: bool = False


class Parts(Generic[R]):
    """What a job gives in parts, as they come: an iterator, which an `InputError` may end.

    Args:
        abandoned: Ends it early.
    """

    def __init__(self, abandoned: threading.Event) -> None:
        self._queue: queue.Queue[R | InputError | None] = queue.Queue(_PARTS)
        self._abandoned = abandoned
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[R]:
        """Yield the parts, in order.

        Raises:
            InputError: The file cannot be used, from here on.
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
        finally:
            self.close()

    def close(self) -> None:
        """Take no more."""
        self._closed.set()

    def fill(self, parts: Iterable[R | InputError]) -> bool:
        """Hand over parts; return False when they are no longer wanted."""
        return all(self._put(part) for part in parts) and self._put(None)

    def _put(self, part: R | InputError | None) -> bool:
        while not (self._closed.is_set() or self._abandoned.is_set()):
            with contextlib.suppress(queue.Full):
                self._queue.put(part, timeout=GLANCE)
                return True
        return False
