"""Read items ahead in a thread, so that waiting for the next item does not delay results."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

_GLANCE = 0.1  # seconds between checks whether the run has ended


class Reader(Generic[T]):
    """Reads items ahead.

    Args:
        items: Consumed in a separate thread, so it may block.
        ahead: Number of items read ahead.
    """

    def __init__(self, items: Iterable[T], ahead: int) -> None:
        self._queue: queue.Queue[T] = queue.Queue(ahead)
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._over = threading.Event()
        self._num_taken = 0
        threading.Thread(target=self._read, args=(items,), daemon=True).start()

    def is_over(self) -> bool:
        """Tell whether all items have been taken.

        Raises:
            BaseException: Whatever the iterable raised.
        """
        if not (self._over.is_set() and self._queue.empty()):
            return False
        if self._error is not None:
            raise self._error
        return True

    def take(self, most: int) -> list[T]:
        """Return the items that are ready; few at first, so that the first results come early."""
        most = min(most, 1 + self._num_taken // 4)
        items: list[T] = []
        with contextlib.suppress(queue.Empty):
            while len(items) < most:
                items.append(self._queue.get_nowait())
        self._num_taken += len(items)
        return items

    def stop(self) -> None:
        """Stop reading."""
        self._stopped.set()

    def _read(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                while not self._stopped.is_set():
                    with contextlib.suppress(queue.Full):
                        self._queue.put(item, timeout=_GLANCE)
                        break
                if self._stopped.is_set():
                    return
        except BaseException as error:
            self._error = error
        finally:
            self._over.set()
